//! The trained demo model: a small LTX-2 that draws simple shapes from a prompt, in the published file format. Its files are
//! part of the binary, so that the first command of an installation needs no network. They are stored as they are used:
//! bfloat16 weights compress by a fifth only, and the same folder serves as a model set in a checkout.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

macro_rules! file {
    ($name:literal) => {
        ($name, include_bytes!(concat!("../../../models/demo/trained/", $name)).as_slice())
    };
}

/// Names below the model's folder, with contents. The checkpoint is last.
const FILES: [(&str, &[u8]); 9] = [
    file!("gemma/config.json"),
    file!("gemma/preprocessor_config.json"),
    file!("gemma/processor_config.json"),
    file!("gemma/tokenizer.json"),
    file!("gemma/tokenizer.model"),
    file!("gemma/tokenizer_config.json"),
    file!("gemma/model.safetensors"),
    file!("defaults.json"),
    file!("ltx.safetensors"),
];

/// Writes the trained demo model into `folder`, which is created if missing.
///
/// # Errors
/// A file cannot be written; the error names it.
pub fn write(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder.join("gemma")).with_context(|| format!("cannot create {}", folder.display()))?;
    for (name, bytes) in FILES {
        let path = folder.join(name);
        // Renamed when complete, so that an incomplete file is never taken for a model.
        let temporary = path.with_extension("part");
        fs::write(&temporary, bytes)
            .and_then(|()| fs::rename(&temporary, &path))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
