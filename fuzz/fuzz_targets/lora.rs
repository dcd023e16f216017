//! LoRA files, merged into a small checkpoint.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ltx2_fuzz::{Folder, join, read_all};
use ltx2_models::Checkpoint;
use ltx2_models::lora::{Lora, LoraStrength};

/// Header of a checkpoint with two linear layers.
const BASE: &str = r#"{"__metadata__":{"config":"{}"},
"model.diffusion_model.a.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},
"model.diffusion_model.b.to_q.weight":{"dtype":"BF16","shape":[2,2],"data_offsets":[24,32]}}"#;

thread_local! {
    static FOLDER: Folder = Folder::default();
    static CHECKPOINT: Checkpoint = FOLDER.with(|folder| {
        let file = join(&[BASE.as_bytes(), &[0; 33]].concat());
        Checkpoint::open(&folder.write("base.safetensors", &file)).expect("a checkpoint")
    });
}

fuzz_target!(|input: &[u8]| {
    let path = FOLDER.with(|folder| folder.write("lora.safetensors", &join(input)));
    let Ok(lora) = Lora::open(&path) else { return };
    CHECKPOINT.with(|checkpoint| {
        let Ok(lora) = lora.fit(&checkpoint.shapes()) else { return };
        read_all(checkpoint, &[LoraStrength { lora, strength: 0.5 }]);
    });
});
