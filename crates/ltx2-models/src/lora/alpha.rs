//! Alpha of LoRA layers in the metadata of a file.
//!
//! diffusers stores the configuration of peft as JSON under `lora_adapter_metadata`, with the name of the component
//! before each key (`transformer.lora_alpha`). peft itself stores it in `adapter_config.json` beside the file. Other
//! trainers store `lora_alpha` or `network_alpha` as plain metadata.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};

/// Keys of alpha in plain metadata.
const PLAIN_KEYS: [&str; 2] = ["lora_alpha", "network_alpha"];

/// Alpha of the layers that have no tensor `alpha`, by component (`transformer`; empty without one).
#[derive(Debug, Clone, Default)]
pub(super) struct HeaderAlpha(BTreeMap<String, ComponentAlpha>);

/// Configuration of the layers of a component.
#[derive(Debug, Clone, Default, PartialEq)]
struct ComponentAlpha {
    alpha: Option<f64>,
    /// Alpha of the layers whose names end with the key.
    patterns: BTreeMap<String, f64>,
    /// Whether the scale is `alpha / sqrt(rank)`.
    rank_stabilized: bool,
}

impl HeaderAlpha {
    /// Reads the metadata of a file and the content of an `adapter_config.json` beside it.
    ///
    /// # Errors
    /// A message about a value that cannot be applied.
    pub(super) fn new(metadata: &HashMap<String, String>, config: Option<&Value>) -> Result<Self, String> {
        let mut header = Self::default();
        for (key, text) in metadata {
            let (component, last) = key.rsplit_once('.').unwrap_or(("", key));
            if PLAIN_KEYS.contains(&last) {
                let alpha: f64 = text
                    .trim()
                    .parse()
                    .map_err(|_| format!("{key} is {text:?} in its metadata, which is not a number"))?;
                header.set(component, "lora_alpha", &Value::from(alpha))?;
            }
        }
        if let Some(text) = metadata.get("lora_adapter_metadata") {
            let json: Map<String, Value> = serde_json::from_str(text)
                .map_err(|error| format!("lora_adapter_metadata in its metadata is not a JSON object: {error}"))?;
            for (key, value) in &json {
                let (component, last) = key.split_once('.').unwrap_or(("", key));
                header.set(component, last, value)?;
            }
        }
        for (key, value) in config.and_then(Value::as_object).into_iter().flatten() {
            header.set("", key, value)?;
        }
        Ok(header)
    }

    fn set(&mut self, component: &str, key: &str, value: &Value) -> Result<(), String> {
        let entry = self.0.entry(component.into()).or_default();
        let refuse = || format!("{key} is {value} in its metadata, which is not supported");
        match key {
            "lora_alpha" => {
                let alpha = value.as_f64().ok_or_else(refuse)?;
                if entry.alpha.is_some_and(|other| other != alpha) {
                    return Err(format!("its metadata has two values of {key}"));
                }
                entry.alpha = Some(alpha);
            }
            "alpha_pattern" => {
                for (pattern, alpha) in value.as_object().into_iter().flatten() {
                    if pattern.contains(|c: char| !(c.is_alphanumeric() || "._-".contains(c))) {
                        return Err(format!("alpha_pattern has the expression {pattern:?}; only layer names work"));
                    }
                    entry.patterns.insert(pattern.clone(), alpha.as_f64().ok_or_else(refuse)?);
                }
            }
            "use_rslora" => entry.rank_stabilized = value == true,
            "use_dora" if value == true => return Err("DoRA (use_dora) is not supported".into()),
            _ => {}
        }
        Ok(())
    }

    /// Returns the scale of a layer without a tensor `alpha`, by its name in the file.
    ///
    /// # Errors
    /// The metadata describes several components, none of which is that of the layer.
    pub(super) fn scale(&self, layer: &str, rank: usize) -> Result<f64, String> {
        let Some(component) = self.component(layer)? else { return Ok(1.0) };
        let has_name = |pattern: &str| layer == pattern || layer.ends_with(&format!(".{pattern}"));
        let pattern = component.patterns.iter().find(|(pattern, _)| has_name(pattern)).map(|(_, alpha)| *alpha);
        let rank = rank as f64;
        Ok(match pattern.or(component.alpha) {
            Some(alpha) if component.rank_stabilized => alpha / rank.sqrt(),
            Some(alpha) => alpha / rank,
            None => 1.0,
        })
    }

    /// Returns the component of a layer: the one that its name starts with, or the only one.
    fn component(&self, layer: &str) -> Result<Option<&ComponentAlpha>, String> {
        let named = layer.split_once('.').and_then(|(first, _)| self.0.get(first));
        let only = if self.0.len() == 1 { self.0.values().next() } else { self.0.get("") };
        match named.or(only) {
            None if !self.0.is_empty() => {
                let components: Vec<&String> = self.0.keys().collect();
                Err(format!("its metadata has alpha for {components:?}, but not for the layer {layer}"))
            }
            component => Ok(component),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(metadata: &[(&str, &str)], config: Option<Value>) -> Result<HeaderAlpha, String> {
        let metadata = metadata.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        HeaderAlpha::new(&metadata, config.as_ref())
    }

    #[test]
    fn scale_is_alpha_over_rank_per_component_and_layer() {
        let json = json!({"transformer.r": 4, "transformer.lora_alpha": 16, "connectors.lora_alpha": 2,
            "transformer.alpha_pattern": {"attn1.to_q": 8}});
        let header = read(&[("lora_adapter_metadata", &json.to_string())], None).unwrap();
        assert_eq!(header.scale("transformer.blocks.0.attn1.to_k", 4), Ok(4.0));
        assert_eq!(header.scale("transformer.blocks.0.attn1.to_q", 4), Ok(2.0));
        assert_eq!(header.scale("transformer.blocks.0.audio_attn1.to_q", 4), Ok(4.0));
        assert_eq!(header.scale("connectors.a", 4), Ok(0.5));
        assert!(header.scale("diffusion_model.a", 4).unwrap_err().contains("not for the layer diffusion_model.a"));
        for header in [
            read(&[("lora_alpha", "16")], None),
            read(&[("transformer.lora_alpha", "16.0"), ("format", "pt")], None),
            read(&[], Some(json!({"lora_alpha": 16, "r": 4}))),
        ] {
            assert_eq!(header.unwrap().scale("diffusion_model.a", 4), Ok(4.0));
        }
        let stabilized = read(&[], Some(json!({"lora_alpha": 16, "use_rslora": true}))).unwrap();
        assert_eq!(stabilized.scale("a", 4), Ok(8.0));
        assert_eq!(read(&[("format", "pt")], None).unwrap().scale("a", 4), Ok(1.0));
    }

    #[test]
    fn values_that_cannot_be_applied_are_refused() {
        for metadata in [
            ("lora_alpha", "many"),
            ("lora_adapter_metadata", "{"),
            ("lora_adapter_metadata", r#"{"transformer.use_dora": true}"#),
            ("lora_adapter_metadata", r#"{"transformer.lora_alpha": "x"}"#),
            ("lora_adapter_metadata", r#"{"transformer.alpha_pattern": {"^a.*b$": 2}}"#),
        ] {
            assert!(read(&[metadata], None).is_err(), "{metadata:?}");
        }
    }
}
