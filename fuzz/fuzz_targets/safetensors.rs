//! Safetensors files: a checkpoint's header and its tensors.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ltx2_fuzz::{Folder, join, read_all};
use ltx2_models::Checkpoint;
use ltx2_models::checkpoint::{read_metadata, tensor_shapes};

thread_local! {
    static FOLDER: Folder = Folder::default();
}

fuzz_target!(|input: &[u8]| {
    let path = FOLDER.with(|folder| folder.write("model.safetensors", &join(input)));
    let is_valid = read_metadata(&path).is_ok();
    assert_eq!(tensor_shapes(&path).is_ok(), is_valid);
    if let Ok(checkpoint) = Checkpoint::open(&path) {
        assert!(is_valid);
        read_all(&checkpoint, &[]);
    }
});
