//! Model folders in the layout of diffusers: `config.json` files, an index and tensor names, from one JSON object.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use ltx2_fuzz::{Folder, build_all, join, read_all};
use ltx2_models::Checkpoint;
use serde_json::{Map, Value, json};

const FOLDERS: [&str; 5] = ["transformer", "connectors", "vae", "audio_vae", "vocoder"];
const INDEX: &str = "vae/x.safetensors.index.json";

thread_local! {
    static FOLDER: Folder = Folder::default();
}

fuzz_target!(|input: &[u8]| -> Corpus {
    let Ok(Value::Object(input_json)) = serde_json::from_slice(input) else { return Corpus::Reject };
    FOLDER.with(|folder| {
        for name in FOLDERS {
            let config = input_json.get(name).unwrap_or(&Value::Null).to_string();
            folder.write(&format!("{name}/config.json"), config.as_bytes());
            let tensors = input_json.get("tensors").and_then(|tensors| tensors.get(name)).and_then(Value::as_array);
            let tensor = |name: &Value| (name.as_str().unwrap_or_default().to_string(), empty());
            let header: Map<String, Value> = tensors.into_iter().flatten().map(tensor).collect();
            folder.write(&format!("{name}/x.safetensors"), &join(Value::Object(header).to_string().as_bytes()));
        }
        let _ = std::fs::remove_file(folder.path().join(INDEX));
        if let Some(index) = input_json.get("index") {
            folder.write(INDEX, index.to_string().as_bytes());
        }
        if let Ok(checkpoint) = Checkpoint::open_diffusers(folder.path(), None) {
            read_all(&checkpoint, &[]);
            build_all(checkpoint.config());
        }
        let upsampler = input_json.get("upsampler").unwrap_or(&Value::Null).to_string();
        folder.write("latent_upsampler/config.json", upsampler.as_bytes());
        if let Ok(checkpoint) = Checkpoint::open_diffusers_upsampler(&folder.path().join("latent_upsampler")) {
            build_all(checkpoint.config());
        }
    });
    Corpus::Keep
});

/// Returns the header entry of an empty tensor.
fn empty() -> Value {
    json!({"dtype": "F32", "shape": [0], "data_offsets": [0, 0]})
}
