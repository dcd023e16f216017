//! Checkpoints in one or several files, each of which holds some of the networks.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::architecture::published;
use super::folder::has_extension;
use super::names::{Component, NameMap};
use crate::weight_files::gguf::GgufFile;
use crate::weight_files::tensor_files::{TensorFiles, TensorMapping};
use crate::weight_files::{CheckpointError, read_metadata, tensor_shapes};

/// A file of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointPart {
    /// A safetensors or GGUF file.
    pub path: PathBuf,
    /// Networks that are read from it.
    pub components: Vec<Component>,
}

impl CheckpointPart {
    fn prefixes(&self) -> impl Iterator<Item = &'static str> {
        self.components.iter().flat_map(|component| component.prefixes().iter().copied())
    }
}

/// Header values of a part that describe the architecture.
struct Description {
    config: Value,
    version: String,
}

/// Opens the files of a checkpoint whose networks are spread over `parts`. Returns its tensors, its configuration and its
/// `model_version`, as in a single file.
///
/// # Errors
/// A file cannot be read, or the architecture of a network is not known.
pub(super) fn open(parts: &[CheckpointPart]) -> Result<(TensorFiles, Value, String), CheckpointError> {
    let mut files = TensorFiles::default();
    let mut descriptions = Vec::new();
    for part in parts {
        descriptions.push(add_part(&mut files, part)?);
        part.prefixes().for_each(|prefix| files.expect_in(prefix, &part.path));
    }
    let (config, version) = architecture(parts, &descriptions, &files)?;
    Ok((files, config, version))
}

/// Adds the tensors of a part to `files`. Tensors of no network, such as markers of a quantisation, belong to the
/// transformer's file.
fn add_part(files: &mut TensorFiles, part: &CheckpointPart) -> Result<Description, CheckpointError> {
    let is_wanted = |name: &str| part.components.contains(&Component::of(name).unwrap_or(Component::Transformer));
    add_weights(files, &part.path, is_wanted)
}

/// Adds those tensors of a safetensors or GGUF file to `files` whose published name is wanted.
fn add_weights(
    files: &mut TensorFiles,
    path: &Path,
    is_wanted: impl Fn(&str) -> bool,
) -> Result<Description, CheckpointError> {
    if has_extension(path, &["gguf"]) {
        let file = GgufFile::open(path)?;
        let map = NameMap::of(&file.shapes());
        let text = |key: &str| file.metadata().get(key).and_then(Value::as_str).map(String::from);
        let description = describe(path, text("config"), text("model_version"))?;
        files
            .add_gguf(file, |name| Some(map.canonical(name)).filter(|name| is_wanted(name)).map(TensorMapping::from))?;
        return Ok(description);
    }
    let map = NameMap::of(&tensor_shapes(path)?);
    files.add_safetensors(path, |name| Some(map.canonical(name)).filter(|name| is_wanted(name)))?;
    let mut metadata = read_metadata(path)?;
    describe(path, metadata.remove("config"), metadata.remove("model_version"))
}

fn describe(path: &Path, config: Option<String>, version: Option<String>) -> Result<Description, CheckpointError> {
    let parse = |text: String| {
        serde_json::from_str(&text).map_err(|error| CheckpointError::Safetensors {
            path: path.into(),
            reason: format!("`config` in its metadata is not JSON: {error}"),
        })
    };
    Ok(Description {
        config: config.map(parse).transpose()?.unwrap_or(Value::Null),
        version: version.unwrap_or_default(),
    })
}

/// Replaces the components of `part` in `files` by those of its file.
pub(super) fn replace(files: &mut TensorFiles, part: &CheckpointPart) -> Result<(), CheckpointError> {
    files.remove(|name| Component::of(name).is_some_and(|component| part.components.contains(&component)));
    part.prefixes().for_each(|prefix| files.expect_in(prefix, &part.path));
    add_part(files, part).map(drop)
}

/// Returns configuration and `model_version` of a checkpoint.
fn architecture(
    parts: &[CheckpointPart],
    descriptions: &[Description],
    files: &TensorFiles,
) -> Result<(Value, String), CheckpointError> {
    let mut config = Map::new();
    let mut missing = Vec::new();
    for (part, component) in parts.iter().flat_map(|part| part.components.iter().map(move |one| (part, *one))) {
        let key = component.section();
        let owner = Component::ALL.into_iter().find(|first| first.section() == key).unwrap_or(component);
        let own = parts.iter().zip(descriptions).filter(|(part, _)| part.components.contains(&owner));
        let mut candidates = own.map(|(_, description)| description).chain(descriptions);
        match candidates.find_map(|description| description.config.get(key)) {
            Some(section) => drop(config.insert(key.into(), section.clone())),
            None => missing.push((part, component)),
        }
    }
    let version = descriptions.iter().map(|description| &description.version).find(|version| !version.is_empty());
    let mut version = version.cloned().unwrap_or_default();
    if let Some((part, component)) = missing.first() {
        let Some(published) = published(&files.shapes()) else {
            return Err(CheckpointError::UnknownArchitecture { path: part.path.clone(), component: component.name() });
        };
        for (part, component) in &missing {
            tracing::warn!(
                file = %part.path.display(),
                "the {} has no `config` in its metadata: that of the published LTX-{} is used, because the transformer is \
                 the same",
                component.name(),
                published.version
            );
            config.insert(component.section().into(), published.config[component.section()].clone());
        }
        if version.is_empty() {
            version = published.version;
        }
    }
    Ok((json!(config), version))
}
