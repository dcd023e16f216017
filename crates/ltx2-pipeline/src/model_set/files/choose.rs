//! Choice among several files for the same role, in a documented order of preference.

use std::cmp::Reverse;
use std::path::{Path, PathBuf};

use ltx2_models::checkpoint::{CheckpointPart, Component};

use super::scan::{Content, Entry};

/// Files of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CheckpointFiles {
    /// Files of the published names; the first has the transformer.
    Parts(Vec<CheckpointPart>),
    /// A diffusers folder, and a file that replaces some of its networks.
    Diffusers { folder: PathBuf, other: Option<CheckpointPart> },
}

/// A choice and the remarks that the user should read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Choice<T> {
    pub value: T,
    pub notes: Vec<String>,
}

impl Entry {
    fn components(&self) -> &[Component] {
        match &self.content {
            Content::Checkpoint { components, .. } => components,
            _ => &[],
        }
    }

    fn has(&self, component: Component) -> bool {
        self.components().contains(&component)
    }

    fn is_complete(&self) -> bool {
        self.components().len() == Component::ALL.len()
    }

    pub(super) fn name(&self) -> String {
        self.path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default()
    }

    pub(super) fn is_distilled(&self) -> bool {
        self.name().contains("distill")
    }

    /// Returns the generation of the model, such as `2.3`, by its metadata or its name; empty if neither says it.
    pub(super) fn generation(&self) -> String {
        let name = self.name();
        match &self.content {
            Content::Checkpoint { version, .. } if !version.is_empty() => {
                version.split(['.', '-']).take(2).collect::<Vec<_>>().join(".")
            }
            _ if ["ltx-2.3", "ltx2.3", "ltx23", "ltxv2.3"].iter().any(|part| name.contains(part)) => "2.3".into(),
            _ if ["ltx-2", "ltx2", "ltxv2"].iter().any(|part| name.contains(part)) => "2.0".into(),
            _ => String::new(),
        }
    }
}

/// Chooses the files of the checkpoint: those in `named`, which the user chose, then those in `found`.
///
/// # Errors
/// Names the missing networks.
pub(super) fn checkpoint(found: &[Entry], named: &[Entry]) -> Result<Choice<CheckpointFiles>, String> {
    let mut notes = Vec::new();
    let Some(main) = main_file(named, &mut notes).or_else(|| main_file(found, &mut notes)) else {
        return Err("an LTX-2 checkpoint (*.safetensors, *.gguf or model_index.json)".into());
    };
    if main.content == Content::Diffusers {
        return Ok(Choice { value: CheckpointFiles::Diffusers { folder: folder_of(&main.path), other: None }, notes });
    }
    let mut parts = vec![CheckpointPart { path: main.path.clone(), components: main.components().to_vec() }];
    let mut missing = Vec::new();
    for component in Component::ALL.into_iter().filter(|component| !main.has(*component)) {
        let complete = best(found.iter().filter(|entry| entry.is_complete()), by_quality);
        let diffusers = found.iter().find(|entry| entry.content == Content::Diffusers);
        let alone = |entries| part_with(entries, component, main);
        let source = alone(named).or(complete);
        match (source, diffusers) {
            (None, Some(index)) => {
                let value = CheckpointFiles::Diffusers { folder: folder_of(&index.path), other: parts.pop() };
                return Ok(Choice { value, notes });
            }
            (source, _) => match source.or_else(|| {
                let chosen = alone(found)?;
                let others = found.iter().filter(|entry| entry.has(component) && entry.path != chosen.path);
                notes.extend(several(component.name(), chosen, others, "--checkpoint"));
                Some(chosen)
            }) {
                Some(entry) => add(&mut parts, entry, component),
                None => missing.push(component),
            },
        }
    }
    let names: Vec<String> = missing.iter().map(|component| format!("the {}", component.name())).collect();
    // A file with transformer and VAE is meant to be complete: opening it names the first missing tensor.
    if !missing.is_empty() && main.has(Component::VideoVae) {
        notes.push(format!("{} lacks {}", main.path.display(), names.join(", ")));
        parts[0].components.append(&mut missing);
    }
    match missing.is_empty() {
        true => Ok(Choice { value: CheckpointFiles::Parts(parts), notes }),
        false => Err(format!("{} of the checkpoint {}", names.join(", "), main.path.display())),
    }
}

/// Returns the file with the transformer: a file without the other networks, then a complete checkpoint, then a
/// diffusers folder.
fn main_file<'a>(entries: &'a [Entry], notes: &mut Vec<String>) -> Option<&'a Entry> {
    let with_transformer = || entries.iter().filter(|entry| entry.has(Component::Transformer));
    let separate = best(with_transformer().filter(|entry| !entry.is_complete()), by_quality);
    let chosen = separate.or_else(|| best(with_transformer(), by_quality));
    let chosen = chosen.or_else(|| entries.iter().find(|entry| entry.content == Content::Diffusers))?;
    let is_alike = |entry: &&Entry| {
        entry.path != chosen.path
            && entry.is_complete() == chosen.is_complete()
            && (entry.has(Component::Transformer) || entry.content == Content::Diffusers)
    };
    let others =
        entries.iter().filter(|entry| is_alike(entry) || chosen.is_complete() && entry.content == Content::Diffusers);
    notes.extend(several("checkpoint", chosen, others, "--checkpoint"));
    Some(chosen)
}

/// Returns the file among `entries` for a network that the file `main` lacks: of the same generation, distilled or not
/// as `main`, then the largest.
fn part_with<'a>(entries: &'a [Entry], component: Component, main: &Entry) -> Option<&'a Entry> {
    let suits = |entry: &Entry| {
        let generation = entry.generation();
        (generation.is_empty() || generation == main.generation(), entry.is_distilled() == main.is_distilled())
    };
    best(entries.iter().filter(|entry| entry.has(component)), |entry| (suits(entry), entry.bytes, entry.name()))
}

fn add(parts: &mut Vec<CheckpointPart>, entry: &Entry, component: Component) {
    match parts.iter_mut().find(|part| part.path == entry.path) {
        Some(part) => part.components.push(component),
        None => parts.push(CheckpointPart { path: entry.path.clone(), components: vec![component] }),
    }
}

/// Chooses the text encoder: the largest.
pub(super) fn text_encoder(found: &[Entry]) -> Result<Choice<PathBuf>, String> {
    let candidates = || found.iter().filter(|entry| entry.content == Content::TextEncoder);
    let Some(chosen) = best(candidates(), |entry| (entry.bytes, entry.name())) else {
        return Err(
            "a Gemma 3 text encoder (a folder with config.json and *.safetensors, or a *.gguf or *.safetensors)".into(),
        );
    };
    let others = candidates().filter(|entry| entry.path != chosen.path);
    let notes = several("text encoder", chosen, others, "--text-encoder").into_iter().collect();
    Ok(Choice { value: chosen.path.clone(), notes })
}

/// Chooses the LoRA that distils the second stage: with `distill` in its name, of the checkpoint's generation, with
/// `distilled-lora` in its name, then the largest.
pub(super) fn distilled_lora(loras: &[&Entry], generation: &str) -> Option<Choice<PathBuf>> {
    let candidates = || loras.iter().copied().filter(|entry| entry.is_distilled());
    let is_published = |entry: &Entry| entry.name().replace('_', "-").contains("distilled-lora");
    let suits = |entry: &Entry| entry.generation().is_empty() || entry.generation() == generation;
    let chosen = best(candidates(), |entry| (suits(entry), is_published(entry), entry.bytes, entry.name()))?;
    let others = candidates().filter(|entry| entry.path != chosen.path);
    let notes = several("distilled LoRA", chosen, others, "--distilled-lora").into_iter().collect();
    Some(Choice { value: chosen.path.clone(), notes })
}

/// Order of complete checkpoints and transformers: the newest generation, not distilled, the largest, the last name.
fn by_quality(entry: &Entry) -> impl Ord + use<> {
    (entry.generation(), Reverse(entry.is_distilled()), entry.bytes, entry.name())
}

/// Returns the entry with the largest key.
pub(super) fn best<'a, K: Ord>(
    entries: impl Iterator<Item = &'a Entry>,
    key: impl Fn(&Entry) -> K,
) -> Option<&'a Entry> {
    entries.max_by_key(|entry| key(entry))
}

/// Returns a remark that `chosen` is used although there are others.
pub(super) fn several<'a>(
    what: &str,
    chosen: &Entry,
    others: impl Iterator<Item = &'a Entry>,
    option: &str,
) -> Option<String> {
    let others: Vec<String> = others.map(|entry| entry.path.display().to_string()).collect();
    let chosen = chosen.path.display();
    (!others.is_empty()).then(|| {
        format!("several files for the {what}: {chosen} is used, not {}; {option} chooses another", others.join(", "))
    })
}

fn folder_of(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new(".")).into()
}
