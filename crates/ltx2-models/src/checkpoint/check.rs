//! Check of a checkpoint's headers against the tensors that the networks read.

use super::Checkpoint;
use crate::weight_files::tensor_files::TensorFiles;
use crate::weight_files::tensor_index::{TensorProblem, has_no_effect};
use crate::weight_files::{CheckpointError, TensorShapes};

/// Endings of tensors that published files have and no network reads: further statistics of the training data, the
/// inverse of a Fourier transform, and constants of rotary embeddings.
const UNUSED: [&str; 5] = [
    "per_channel_statistics.channel",
    "per_channel_statistics.mean-of-stds",
    "per_channel_statistics.mean-of-stds_over_std-of-means",
    "stft_fn.inverse_basis",
    "rotary_emb.inv_freq",
];

impl Checkpoint {
    /// Checks that the files have all tensors `requested`, in shapes and encodings that can be read, and no other tensor
    /// whose name starts with one of `namespaces`: a tensor that is not read would change the result. Synthetic weights
    /// have every tensor.
    ///
    /// # Errors
    /// Names the file, the first tensor and the number of such tensors.
    pub fn check(&self, requested: &TensorShapes, namespaces: &[&str]) -> Result<(), CheckpointError> {
        let Some(files) = self.files() else { return Ok(()) };
        if let Some((path, layer)) = files.unmatched_format() {
            let reason = format!("`_quantization_metadata` describes the layer {layer}, which it does not have");
            return Err(CheckpointError::Safetensors { path: path.into(), reason });
        }
        self.check_requested(files, requested)?;
        let owned = |name: &&str| namespaces.iter().any(|namespace| name.starts_with(namespace));
        let is_known = |name: &str| {
            requested.contains_key(name)
                || files.index().is_beside_any(name, requested)
                || is_unused(name)
                || has_no_effect(name)
        };
        let unknown: Vec<&str> = files.index().names().filter(owned).filter(|name| !is_known(name)).collect();
        match unknown.first() {
            None => Ok(()),
            Some(name) => {
                let count = unknown.len();
                Err(self.weight_error(
                    files,
                    name,
                    "is not part of the networks that the configuration describes",
                    count,
                ))
            }
        }
    }

    fn check_requested(&self, files: &TensorFiles, requested: &TensorShapes) -> Result<(), CheckpointError> {
        let problems =
            requested.iter().filter_map(|(name, shape)| Some((name, files.index().check(name, shape).err()?)));
        let (missing, invalid): (Vec<_>, Vec<_>) =
            problems.partition(|(_, problem)| *problem == TensorProblem::Missing);
        if let Some((name, TensorProblem::Invalid(reason))) = invalid.first() {
            return Err(self.weight_error(files, name, reason, invalid.len()));
        }
        match missing.first() {
            None => Ok(()),
            Some((name, _)) => {
                let reason = "is missing: the file is incomplete, or of another model";
                Err(self.weight_error(files, name, reason, missing.len()))
            }
        }
    }

    /// Error about `count` tensors, of which `name` is the first.
    fn weight_error(&self, files: &TensorFiles, name: &str, reason: &str, count: usize) -> CheckpointError {
        let others = match count {
            0 | 1 => String::new(),
            2 => " (1 more tensor is affected)".into(),
            count => format!(" ({} more tensors are affected)", count - 1),
        };
        CheckpointError::Weight {
            path: files.path_of(name).unwrap_or(self.path()).into(),
            tensor: name.into(),
            reason: format!("{reason}{others}"),
        }
    }

    /// Whether the files have a tensor whose name starts with `prefix`.
    pub fn has_tensors(&self, prefix: &str) -> bool {
        self.files().is_some_and(|files| files.index().names().any(|name| name.starts_with(prefix)))
    }

    /// Shape of the tensor `name`, if the files have it.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.files().and_then(|files| files.shape(name))
    }
}

fn is_unused(name: &str) -> bool {
    UNUSED.iter().any(|unused| name.ends_with(unused))
}
