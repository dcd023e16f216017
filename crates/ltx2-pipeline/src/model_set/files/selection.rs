//! Choice of a file for each role of a model set.

use std::path::{Path, PathBuf};

use ltx2_models::lora::{Lora, LoraKind};
use ltx2_models::upsampler::{SpatialScale, UpsamplerConfig};
use ltx2_models::{Checkpoint, CheckpointError, Section};
use ltx2_types::{CameraMotion, VariantArray};

use super::choose::{self, CheckpointFiles, Choice};
use super::scan::{self, Content, Entry, LORAS};
use crate::error::PipelineError;

const TOKENIZER: &str = "tokenizer.json";
/// Files seen that an error lists.
const MAX_LISTED: usize = 20;

/// Files that the user chose for a model set, instead of those that would be taken from its folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelChoice {
    /// Files of the checkpoint; networks that they lack come from the folder.
    pub checkpoint: Vec<PathBuf>,
    /// Spatial upscaler.
    pub upscaler: Option<PathBuf>,
    /// Folder or file of the text encoder.
    pub text_encoder: Option<PathBuf>,
    /// LoRA that distils the second stage.
    pub distilled_lora: Option<PathBuf>,
}

/// Chosen files of a folder, complete or not.
#[derive(Debug)]
pub(super) struct Selection {
    pub folder: PathBuf,
    /// All files seen, those that the user named last.
    pub entries: Vec<Entry>,
    pub checkpoint: Result<CheckpointFiles, String>,
    pub text_encoder: Result<PathBuf, String>,
    pub tokenizer: Result<PathBuf, String>,
    pub upscaler: Option<PathBuf>,
    pub loras: Vec<PathBuf>,
    pub distilled_lora: Option<PathBuf>,
    pub camera_loras: Vec<(CameraMotion, PathBuf)>,
    /// Remarks that the user should read.
    pub notes: Vec<String>,
}

impl Selection {
    /// Scans `folder` and chooses a file for each role.
    pub(super) fn of(folder: &Path, choice: &ModelChoice) -> Result<Self, PipelineError> {
        let mut entries = scan::scan(folder)?;
        let named = choice.checkpoint.iter().map(|path| named_entry(folder, path, "--checkpoint"));
        let named = named.collect::<Result<Vec<Entry>, _>>()?;
        let mut notes = Vec::new();
        let checkpoint = note(choose::checkpoint(&entries, &named), &mut notes);
        let text_encoder = match &choice.text_encoder {
            Some(path) => Ok(named_entry(folder, path, "--text-encoder")?.path),
            None => note(choose::text_encoder(&entries), &mut notes),
        };
        let tokenizer = text_encoder.clone().and_then(|encoder| tokenizer_folder(folder, &encoder));
        let generation = generation_of(&checkpoint, entries.iter().chain(&named));
        let upscaler = match &choice.upscaler {
            Some(path) => Some(named_entry(folder, path, "--upscaler")?.path),
            None => upscaler(&entries, &generation, &mut notes)?,
        };
        let loras: Vec<&Entry> = entries.iter().filter(|entry| entry.content == Content::Lora).collect();
        let (camera_loras, others) = camera_loras(&loras);
        let distilled_lora = match &choice.distilled_lora {
            Some(path) => Some(named_entry(folder, path, "--distilled-lora")?.path),
            None => note(choose::distilled_lora(&others, &generation).ok_or(()), &mut notes).ok(),
        };
        let loras = in_root_first(folder, &loras);
        notes.extend(duplicate_names(&loras));
        entries.extend(named);
        Ok(Self {
            folder: folder.into(),
            checkpoint,
            text_encoder,
            tokenizer,
            upscaler,
            loras,
            distilled_lora,
            camera_loras,
            notes,
            entries,
        })
    }

    /// Returns descriptions of the missing files.
    pub(super) fn missing(&self) -> Vec<String> {
        let [checkpoint, text_encoder, tokenizer] =
            [self.checkpoint.as_ref().err(), self.text_encoder.as_ref().err(), self.tokenizer.as_ref().err()];
        let tokenizer = tokenizer.filter(|_| text_encoder.is_none());
        [checkpoint, text_encoder, tokenizer].into_iter().flatten().cloned().collect()
    }

    /// Returns the files of the folder for LoRAs that are none, with the reason.
    pub(super) fn unusable_loras(&self) -> Vec<(PathBuf, String)> {
        let in_loras = |entry: &&Entry| entry.path.parent().is_some_and(|parent| parent.ends_with(LORAS));
        let reason = |entry: &Entry| match &entry.content {
            Content::Lora => None,
            Content::Broken(reason) => Some((entry.path.clone(), reason.clone())),
            other => Some((entry.path.clone(), format!("it is {}", other.describe()))),
        };
        self.entries.iter().filter(in_loras).filter_map(reason).collect()
    }

    /// Returns the error about missing files, which lists the files seen.
    pub(super) fn error(&self) -> PipelineError {
        let mut reason = format!("it lacks {}", self.missing().join(", and "));
        let listed = self.entries.iter().take(MAX_LISTED).map(|entry| {
            let path = entry.path.strip_prefix(&self.folder).unwrap_or(&entry.path).display();
            format!("\n  {path}: {}", entry.content.describe())
        });
        match self.entries.len() {
            0 => reason.push_str("; it has no model files"),
            count => {
                reason.push_str("; files seen:");
                reason.extend(listed);
                if count > MAX_LISTED {
                    reason.push_str(&format!("\n  and {} more", count - MAX_LISTED));
                }
            }
        }
        PipelineError::ModelSet { folder: self.folder.clone(), reason }
    }
}

/// Keeps the remarks of a choice and returns its value.
fn note<T, E>(choice: Result<Choice<T>, E>, notes: &mut Vec<String>) -> Result<T, E> {
    choice.map(|Choice { value, notes: remarks }| {
        notes.extend(remarks);
        value
    })
}

/// Returns the file that the user named with `option`: a path, or a path below the model set's folder.
fn named_entry(folder: &Path, path: &Path, option: &str) -> Result<Entry, PipelineError> {
    let paths = [path.to_path_buf(), folder.join(path)];
    let refuse = |reason| PipelineError::ModelSet { folder: folder.into(), reason };
    let found = paths.iter().find(|path| path.exists());
    let found = found.ok_or_else(|| refuse(format!("{option} is {}, which does not exist", path.display())))?;
    let entry = scan::entry(found);
    let fits = match (&entry.content, option) {
        (Content::Broken(error), _) => return Err(refuse(format!("{option} cannot be used: {error}"))),
        (Content::Checkpoint { .. } | Content::Diffusers, "--checkpoint") => true,
        (Content::TextEncoder, "--text-encoder") => true,
        (Content::Upscaler, "--upscaler") => true,
        (Content::Lora, "--distilled-lora") => true,
        _ => false,
    };
    let description = entry.content.describe();
    if fits { Ok(entry) } else { Err(refuse(format!("{option} is {}, which is {description}", found.display()))) }
}

/// Returns the folder of the tokenizer: that of the text encoder, `tokenizer/` beside it, or the model set's.
fn tokenizer_folder(folder: &Path, encoder: &Path) -> Result<PathBuf, String> {
    let own = if encoder.is_dir() { encoder.to_path_buf() } else { encoder.parent().unwrap_or(folder).into() };
    let folders = [
        own.clone(),
        encoder.with_file_name("tokenizer"),
        own.join("tokenizer"),
        folder.into(),
        folder.join("tokenizer"),
    ];
    folders.into_iter().find(|folder| folder.join(TOKENIZER).is_file()).ok_or_else(|| {
        format!("{TOKENIZER} beside the text encoder {}: download that of google/gemma-3-12b-it", encoder.display())
    })
}

fn generation_of<'a>(
    checkpoint: &Result<CheckpointFiles, String>,
    mut entries: impl Iterator<Item = &'a Entry>,
) -> String {
    match checkpoint {
        Ok(CheckpointFiles::Parts(parts)) => {
            entries.find(|entry| entry.path == parts[0].path).map(Entry::generation).unwrap_or_default()
        }
        _ => String::new(),
    }
}

/// Opens an upscaler, a file or a diffusers folder.
pub(super) fn open_upscaler(path: &Path) -> Result<Checkpoint, CheckpointError> {
    if path.is_dir() { Checkpoint::open_diffusers_upsampler(path) } else { Checkpoint::open(path) }
}

/// Chooses the spatial upscaler: with the factor 2, of the checkpoint's generation, then the last name. Temporal upscalers
/// are omitted; files with an unknown configuration stay, so that they are refused by name when they are used.
fn upscaler(entries: &[Entry], generation: &str, notes: &mut Vec<String>) -> Result<Option<PathBuf>, CheckpointError> {
    let (mut twofold, mut others) = (Vec::new(), Vec::new());
    for entry in entries.iter().filter(|entry| entry.content == Content::Upscaler) {
        match UpsamplerConfig::new(&Section::root(open_upscaler(&entry.path)?.config())) {
            Ok(config) if config.doubles_time() => {}
            Ok(config) if config.spatial_scale() == SpatialScale::TWO => twofold.push(entry),
            _ => others.push(entry),
        }
    }
    let candidates = if twofold.is_empty() { others } else { twofold };
    let suits = |entry: &Entry| entry.generation().is_empty() || entry.generation() == generation;
    let Some(chosen) = choose::best(candidates.iter().copied(), |entry| (suits(entry), entry.name())) else {
        return Ok(None);
    };
    let rest = candidates.iter().copied().filter(|entry| entry.path != chosen.path);
    notes.extend(choose::several("spatial upscaler", chosen, rest, "--upscaler"));
    Ok(Some(chosen.path.clone()))
}

/// Returns the paths of LoRAs, those in the model set's folder first.
fn in_root_first(folder: &Path, loras: &[&Entry]) -> Vec<PathBuf> {
    let (root, others): (Vec<&Entry>, Vec<&Entry>) =
        loras.iter().partition(|entry| entry.path.parent() == Some(folder));
    root.into_iter().chain(others).map(|entry| entry.path.clone()).collect()
}

/// Returns a remark for each LoRA whose file name another LoRA has too.
fn duplicate_names(loras: &[PathBuf]) -> Vec<String> {
    let names = crate::plan::lora_names(loras);
    let is_renamed =
        |(name, path): &(String, &Path)| path.file_stem().is_some_and(|stem| stem.to_string_lossy() != *name);
    let note = |(name, path): (String, &Path)| {
        format!("two LoRAs have the file name of {}; requests refer to this one as {name:?}", path.display())
    };
    names.into_iter().filter(is_renamed).map(note).collect()
}

/// Splits LoRAs into those named after a camera motion, as published, and the others that need no reference video.
fn camera_loras<'a>(loras: &[&'a Entry]) -> (Vec<(CameraMotion, PathBuf)>, Vec<&'a Entry>) {
    let motion_of = |path: &Path| {
        let name = path.file_stem()?.to_string_lossy().to_lowercase();
        CameraMotion::VARIANTS
            .iter()
            .copied()
            .find(|motion| name.ends_with(&format!("camera-control-{}", motion.name().replace('_', "-"))))
    };
    let (mut camera, mut others) = (Vec::new(), Vec::new());
    for entry in loras {
        match motion_of(&entry.path) {
            Some(motion) => camera.push((motion, entry.path.clone())),
            None if Lora::open(&entry.path).is_ok_and(|lora| lora.kind() == LoraKind::Ordinary) => others.push(*entry),
            None => {}
        }
    }
    (camera, others)
}
