//! GGUF files, as a transformer with a base checkpoint and as a text encoder.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ltx2_fuzz::{Folder, build_all, join, read_all};
use ltx2_models::Checkpoint;
use ltx2_models::checkpoint::{CheckpointPart, Component, GgufKind, gguf_kind};

/// Header of a checkpoint with one tensor.
const BASE: &str = r#"{"__metadata__":{"config":"{\"transformer\":{},\"vae\":{},\"audio_vae\":{},\"vocoder\":{}}"},"vae.x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;

thread_local! {
    static FOLDER: Folder = Folder::default();
}

fuzz_target!(|input: &[u8]| {
    FOLDER.with(|folder| {
        let path = folder.write("encoder/model.gguf", input);
        match gguf_kind(&path) {
            Ok(GgufKind::TextEncoder) => {
                if let Ok(checkpoint) = Checkpoint::open_folder(&folder.path().join("encoder")) {
                    read_all(&checkpoint, &[]);
                    build_all(checkpoint.config());
                }
            }
            Ok(GgufKind::Transformer) => {
                let base = folder.write("base.safetensors", &join(&[BASE.as_bytes(), &[0; 5]].concat()));
                let transformer = CheckpointPart { path, components: vec![Component::Transformer] };
                let others = CheckpointPart { path: base, components: Component::ALL[1..].to_vec() };
                if let Ok(checkpoint) = Checkpoint::open_parts(&[transformer, others]) {
                    read_all(&checkpoint, &[]);
                }
            }
            Ok(GgufKind::Other) | Err(_) => {}
        }
    });
});
