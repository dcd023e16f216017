//! Scan of a folder for model files.

use std::path::{Path, PathBuf};

use ltx2_models::checkpoint::{Component, FileKind, file_kind, has_extension, is_hidden, read_json};
use serde_json::Value;

use crate::error::PipelineError;

/// File that marks the layout of diffusers.
pub(super) const MODEL_INDEX: &str = "model_index.json";
/// Name of the folder for LoRAs.
pub(super) const LORAS: &str = "loras";
/// Folders of ComfyUI and of repositories for it, which are searched for all kinds of files.
const SEARCHED: [&str; 10] = [
    "checkpoints",
    "diffusion_models",
    "unet",
    "text_encoders",
    "clip",
    "vae",
    "latent_upscale_models",
    "upscale_models",
    "split_files",
    "models",
];
/// Depth of folders below the model set's that are searched.
const MAX_DEPTH: usize = 3;
const MODEL_FILES: [&str; 3] = ["safetensors", "sft", "gguf"];
/// Other files that people take for model files.
const OTHER_FORMATS: [&str; 9] = ["ckpt", "pt", "pth", "bin", "part", "incomplete", "crdownload", "aria2", "zip"];

/// A file or folder of a model set and its content.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub path: PathBuf,
    pub content: Content,
    /// Size on disk.
    pub bytes: u64,
}

/// Content of a file or folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// A checkpoint or a part of one.
    Checkpoint {
        components: Vec<Component>,
        version: String,
    },
    /// The layout of diffusers; the path is that of its `model_index.json`.
    Diffusers,
    TextEncoder,
    Upscaler,
    Lora,
    /// Nothing of use, with a description.
    Other(String),
    /// Damaged, with the error.
    Broken(String),
}

impl Content {
    /// Describes the content as a noun.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Checkpoint { components, version } => {
                let version = if version.is_empty() { String::new() } else { format!(" {version}") };
                match components.len() {
                    6 => format!("a complete LTX checkpoint{version}"),
                    _ => {
                        let names: Vec<&str> = components.iter().map(|component| component.name()).collect();
                        format!("a part of an LTX checkpoint{version}: {}", names.join(", "))
                    }
                }
            }
            Self::Diffusers => "a checkpoint in diffusers' folders".into(),
            Self::TextEncoder => "a Gemma 3 text encoder".into(),
            Self::Upscaler => "a latent upscaler".into(),
            Self::Lora => "a LoRA".into(),
            Self::Other(description) => description.clone(),
            Self::Broken(error) => format!("not usable: {error}"),
        }
    }
}

/// Kinds of files that are taken from a folder.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    All,
    TextEncoders,
    Loras,
}

/// Lists the model files in `folder` and in its known subfolders, sorted by path.
///
/// # Errors
/// The folder cannot be listed.
pub(super) fn scan(folder: &Path) -> Result<Vec<Entry>, PipelineError> {
    let mut found = Vec::new();
    visit(folder, Scope::All, 0, &mut found)
        .map_err(|error| PipelineError::ModelSet { folder: folder.into(), reason: error.to_string() })?;
    Ok(found)
}

/// Determines the content of one file or folder that a user names.
pub(super) fn entry(path: &Path) -> Entry {
    let content = match path {
        _ if path.is_dir() && path.join(MODEL_INDEX).is_file() => return entry(&path.join(MODEL_INDEX)),
        _ if path.is_dir() => folder_content(path).unwrap_or(Content::Other("a folder".into())),
        _ if path.ends_with(MODEL_INDEX) => Content::Diffusers,
        _ => file_content(path),
    };
    Entry { path: path.into(), content, bytes: bytes_of(path) }
}

fn visit(folder: &Path, scope: Scope, depth: usize, found: &mut Vec<Entry>) -> std::io::Result<()> {
    let mut paths = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    paths.sort();
    for path in paths.into_iter().filter(|path| !is_hidden(path)) {
        if path.is_dir() {
            visit_folder(&path, scope, depth, found);
        } else if path.ends_with(MODEL_INDEX) && scope == Scope::All {
            found.push(Entry { path, content: Content::Diffusers, bytes: 0 });
        } else if has_extension(&path, &MODEL_FILES) {
            let content = file_content(&path);
            let is_wanted = match scope {
                Scope::All | Scope::Loras => true,
                Scope::TextEncoders => matches!(content, Content::TextEncoder | Content::Broken(_)),
            };
            if is_wanted {
                found.push(Entry { bytes: bytes_of(&path), path, content });
            }
        } else if has_extension(&path, &OTHER_FORMATS) && scope == Scope::All {
            let content = Content::Other("not a safetensors or GGUF file".into());
            found.push(Entry { bytes: bytes_of(&path), path, content });
        }
    }
    Ok(())
}

fn visit_folder(path: &Path, scope: Scope, depth: usize, found: &mut Vec<Entry>) {
    if depth == MAX_DEPTH || scope == Scope::Loras {
        return;
    }
    let content = folder_content(path);
    // The weights of a diffusers component and of a folder with another configuration are not files by themselves.
    let is_closed = is_diffusers_component(path)
        || matches!(&content, Some(Content::Upscaler | Content::Other(_) | Content::Broken(_)));
    if let Some(content) = content {
        found.push(Entry { path: path.into(), bytes: bytes_of(path), content });
    }
    let is_named = |names: &[&str]| {
        path.file_name().is_some_and(|name| names.iter().any(|other| name.eq_ignore_ascii_case(other)))
    };
    let inner = match scope {
        Scope::All if is_named(&[LORAS]) => Scope::Loras,
        Scope::All if is_named(&SEARCHED) && !is_diffusers_component(path) => Scope::All,
        _ if is_closed => return,
        // Folders that cannot be listed, such as `lost+found`, are skipped.
        _ => Scope::TextEncoders,
    };
    let before = found.len();
    drop(visit(path, inner, depth + 1, found));
    // The weights of a text encoder's folder belong to the folder.
    let is_text_encoder =
        found[..before].last().is_some_and(|entry| entry.path == path && entry.content == Content::TextEncoder);
    if is_text_encoder {
        let is_shard = |entry: &Entry| entry.path.parent() == Some(path) && !has_extension(&entry.path, &["gguf"]);
        let mut index = 0;
        found.retain(|entry| {
            index += 1;
            index <= before || !is_shard(entry)
        });
    }
}

fn file_content(path: &Path) -> Content {
    match file_kind(path) {
        Ok(FileKind::Checkpoint { components, version }) => Content::Checkpoint { components, version },
        Ok(FileKind::TextEncoder) => Content::TextEncoder,
        Ok(FileKind::Upscaler) => Content::Upscaler,
        Ok(FileKind::Lora) => Content::Lora,
        Ok(FileKind::Other(description)) => Content::Other(description),
        Err(error) => Content::Broken(error.to_string()),
    }
}

/// Returns the content of a folder with a `config.json`; `None` if it has none, or if it is a component of diffusers.
fn folder_content(path: &Path) -> Option<Content> {
    let config = path.join("config.json");
    if !config.is_file() {
        return None;
    }
    let config = match read_json(&config) {
        Ok(config) => config,
        Err(error) => return Some(Content::Broken(error.to_string())),
    };
    let text = |key: &str| config.get(key).and_then(Value::as_str);
    match (text("model_type"), text("_class_name")) {
        (Some("gemma3" | "gemma3_text"), _) if has_shards(path) => Some(Content::TextEncoder),
        (Some("gemma3" | "gemma3_text"), _) => None,
        (Some(other), _) => Some(Content::Other(format!("a model of the type {other}, not gemma3"))),
        (None, Some("LTX2LatentUpsamplerModel")) => Some(Content::Upscaler),
        (None, _) => None,
    }
}

fn is_diffusers_component(path: &Path) -> bool {
    read_json(&path.join("config.json")).is_ok_and(|config| config.get("_class_name").is_some())
}

fn has_shards(folder: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    let is_shard = |path: &Path| {
        !is_hidden(path) && (has_extension(path, &["safetensors"]) || path.to_string_lossy().ends_with(".index.json"))
    };
    entries.flatten().any(|entry| is_shard(&entry.path()))
}

/// Size of a file, or of the model files in a folder.
fn bytes_of(path: &Path) -> u64 {
    if !path.is_dir() {
        return std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    }
    let Ok(entries) = std::fs::read_dir(path) else { return 0 };
    let files = entries.flatten().map(|entry| entry.path());
    files.filter(|file| has_extension(file, &MODEL_FILES) && !is_hidden(file)).map(|file| bytes_of(&file)).sum()
}
