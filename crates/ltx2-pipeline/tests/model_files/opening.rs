//! Files that do not belong together, are incomplete or are quantised in an unknown way are named when they are opened.

use safetensors::Dtype;

use crate::Demo;
use crate::edit::{Contents, Stored, e4m3, to_e4m3};

const LAYER: &str = "model.diffusion_model.transformer_blocks.0.attn1.to_q";
const GEMMA_LAYER: &str = "language_model.model.layers.0.mlp.up_proj";

fn one() -> Stored {
    Stored::floats(&[], &[1.0])
}

/// Changes a file of a demo model and returns the error of opening it.
fn error_with(file: &str, change: impl FnOnce(&mut Contents)) -> String {
    let demo = Demo::new();
    let mut contents = Contents::read(&demo.path(file));
    change(&mut contents);
    contents.write(&demo.path(file));
    demo.open_error()
}

#[test]
fn missing_and_foreign_tensors_of_each_part_are_named() {
    for (file, prefix) in [
        ("ltx.safetensors", "vocoder."),
        ("ltx.safetensors", "vae.encoder."),
        ("ltx.safetensors", "vae.decoder."),
        ("ltx.safetensors", "audio_vae.decoder."),
        ("ltx.safetensors", "text_embedding_projection."),
        ("ltx.safetensors", "model.diffusion_model.audio_embeddings_connector."),
        ("ltx.safetensors", "model.diffusion_model.transformer_blocks.1."),
        ("gemma/model.safetensors", "language_model.model.layers.3."),
        ("spatial_upscaler.safetensors", "res_blocks."),
    ] {
        let error = error_with(file, |contents| contents.tensors.retain(|name, _| !name.starts_with(prefix)));
        assert!(error.contains(file) && error.contains(&format!("tensor {prefix}")), "{prefix}: {error}");
        assert!(error.contains("is missing: the file is incomplete"), "{error}");
    }
    let error = error_with("ltx.safetensors", |contents| {
        let gate = Stored::floats(&[4, 64], &[0.0; 256]);
        contents.tensors.insert("model.diffusion_model.transformer_blocks.0.attn1.to_gate_logits.weight".into(), gate);
    });
    assert!(error.contains("to_gate_logits.weight is not part of the networks"), "{error}");
}

#[test]
fn quantized_weights_that_are_not_understood_are_named() {
    for (file, layer, suffix, expected) in [
        ("ltx.safetensors", LAYER, "weight_scale", "not quantised"),
        ("ltx.safetensors", LAYER, "weight_scale_2", "NVFP4"),
        ("ltx.safetensors", LAYER, "pre_quant_scale", "pre_quant_scale"),
        ("ltx.safetensors", LAYER, "weight_scale_inv", "weight_scale_inv"),
        ("gemma/model.safetensors", GEMMA_LAYER, "weight.quant_state.bitsandbytes__nf4", "bitsandbytes"),
        ("gemma/model.safetensors", GEMMA_LAYER, "anything", "no known meaning"),
    ] {
        let error = error_with(file, |contents| drop(contents.tensors.insert(format!("{layer}.{suffix}"), one())));
        assert!(error.contains(&format!("{layer}.weight")) && error.contains(expected), "{error}");
    }
    // NVFP4 packs two values into a byte.
    let error = error_with("ltx.safetensors", |contents| {
        let packed = Stored { dtype: Dtype::U8, shape: vec![64, 32], bytes: vec![0; 2048] };
        contents.tensors.insert(format!("{LAYER}.weight"), packed);
        contents.tensors.insert(format!("{LAYER}.weight_scale_2"), one());
    });
    assert!(error.contains("NVFP4"), "{error}");
    let error = error_with("ltx.safetensors", |contents| {
        contents.tensors.get_mut(&format!("{LAYER}.weight")).unwrap().dtype = Dtype::U16;
    });
    assert!(error.contains(LAYER) && error.contains("U16"), "{error}");
}

#[test]
fn a_text_encoder_of_another_size_or_quantisation_is_named() {
    let demo = Demo::new();
    let path = demo.path("gemma/config.json");
    let config = std::fs::read_to_string(&path).unwrap();
    let mut json: serde_json::Value = serde_json::from_str(&config).unwrap();
    json["quantization_config"] = serde_json::json!({"quant_method": "bitsandbytes", "load_in_4bit": true});
    std::fs::write(&path, json.to_string()).unwrap();
    let error = demo.open_error();
    assert!(error.contains("gemma") && error.contains("quant_method is bitsandbytes"), "{error}");

    json["quantization_config"] = serde_json::Value::Null;
    json["text_config"]["num_hidden_layers"] = 6.into();
    std::fs::write(&path, json.to_string()).unwrap();
    let gemma = demo.path("gemma/model.safetensors");
    let mut contents = Contents::read(&gemma);
    contents.tensors.retain(|name, _| !name.starts_with("language_model.model.layers.6."));
    contents.write(&gemma);
    let error = demo.open_error();
    for expected in ["with width 64 and 6 layers", "ltx.safetensors needs the", "(layers + 1) = 512", "aggregate_embed"]
    {
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

#[test]
fn files_of_failed_downloads_are_recognised() {
    for (name, content, expected) in [
        ("ltx.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 1\n", "git lfs pull"),
        ("gemma/model.safetensors", "<!DOCTYPE html><html></html>", "HTML page"),
        ("gemma/tokenizer.json", "<!DOCTYPE html><html></html>", "HTML page"),
        ("gemma/config.json", "version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    ] {
        let demo = Demo::new();
        std::fs::write(demo.path(name), content).unwrap();
        let error = demo.open_error();
        assert!(error.contains(expected), "{name}: {error}");
    }
}

#[test]
fn scaled_float8_models_give_the_video_of_their_dequantized_weights() {
    // Each file in its spelling of scales, and the same values in bfloat16.
    let (quantized, dense) = (Demo::new(), Demo::new());
    for (file, [scale, input], is_quantized) in [
        ("ltx.safetensors", ["scale_weight", "scale_input"], ".attn1.to_q.weight"),
        ("gemma/model.safetensors", ["weight_scale", "input_scale"], ".mlp.up_proj.weight"),
    ] {
        let contents = Contents::read(&dense.path(file));
        let (mut codes, mut values) = (contents.clone(), contents.clone());
        let marker = Stored { dtype: Dtype::F8_E4M3, shape: vec![0], bytes: Vec::new() };
        codes.tensors.insert("model.diffusion_model.scaled_fp8".into(), marker);
        for (name, stored) in contents.tensors.iter().filter(|(name, _)| name.ends_with(is_quantized)) {
            // A power of two, so that the scaled values are exact in bfloat16.
            let scaled: Vec<f32> = stored.values().iter().map(|value| value * 64.0).collect();
            let bytes = to_e4m3(&scaled);
            let decoded: Vec<f32> = bytes.iter().map(|code| e4m3(*code) / 64.0).collect();
            let layer = name.strip_suffix(".weight").unwrap();
            codes.tensors.insert(name.clone(), Stored { dtype: Dtype::F8_E4M3, shape: stored.shape.clone(), bytes });
            codes.tensors.insert(format!("{layer}.{scale}"), Stored::floats(&[], &[1.0 / 64.0]));
            codes.tensors.insert(format!("{layer}.{input}"), Stored::floats(&[], &[0.1]));
            values.tensors.insert(name.clone(), Stored::bf16(&stored.shape, &decoded));
        }
        codes.write(&quantized.path(file));
        values.write(&dense.path(file));
    }
    assert!(quantized.run() == dense.run());
    assert!(dense.run() != Demo::new().run());
}
