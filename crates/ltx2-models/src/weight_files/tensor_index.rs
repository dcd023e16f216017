//! Index of stored tensors, and the meaning of each from its dtype and the tensors beside it.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::{Error, Result};
use ltx2_kernels::CodeFormat;

use super::encoding::{StoredEncoding, format_with};
use super::range::TensorShapes;

/// An indexed tensor.
pub(super) struct TensorEntry {
    /// Index of its file.
    pub(super) file: usize,
    /// Constant that the converter added to every element.
    pub(super) offset: f64,
    pub(super) stored: StoredTensor,
}

/// Header facts of a tensor, the same for both file formats.
pub(super) struct StoredTensor {
    /// Name in the file.
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) encoding: StoredEncoding,
}

/// Why a tensor cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TensorProblem {
    Missing,
    /// A message that follows the name of the tensor.
    Invalid(String),
}

/// Encoding of a weight together with the tensors beside it.
pub(super) enum WeightEncoding {
    Dense,
    Blocks,
    Codes {
        format: CodeFormat,
        /// Name of the scale, if there is one.
        scale: Option<String>,
    },
}

/// Names of a weight's scale and of the scale of its inputs, below the layer. Inputs are not quantised here, so the
/// latter has no effect.
const SCALES: [&str; 2] = ["weight_scale", "scale_weight"];
const WITHOUT_EFFECT: [&str; 3] = ["input_scale", "scale_input", "comfy_quant"];
/// Name of the tensor by which a file says that its weights have scales.
const SCALED_MARKER: &str = "scaled_fp8";

/// Stored tensors by the names that the networks use.
#[derive(Default)]
pub(crate) struct TensorIndex {
    tensors: BTreeMap<String, TensorEntry>,
    /// Indices of the files in which weights have scales.
    scaled_files: BTreeSet<usize>,
}

impl TensorIndex {
    /// Adds a tensor. Returns the previous tensor of that name.
    pub(super) fn insert(&mut self, name: String, entry: TensorEntry) -> Option<TensorEntry> {
        if is_scale(&name) {
            self.scaled_files.insert(entry.file);
        }
        self.tensors.insert(name, entry)
    }

    /// Removes all tensors for which `unwanted` returns true.
    pub(super) fn remove(&mut self, unwanted: impl Fn(&str) -> bool) {
        self.tensors.retain(|name, _| !unwanted(name));
    }

    pub(super) fn get(&self, name: &str) -> Option<&TensorEntry> {
        self.tensors.get(name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &TensorEntry)> {
        self.tensors.iter()
    }

    /// Number of tensors.
    pub(super) fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Names of all tensors.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Checks that the tensor `name` can be read in `shape`.
    ///
    /// # Errors
    /// A message that follows the name of the tensor.
    pub(crate) fn check(&self, name: &str, shape: &[usize]) -> std::result::Result<(), TensorProblem> {
        let Some(entry) = self.tensors.get(name) else {
            let mut beside = self.below(name.strip_suffix(".weight").unwrap_or(name));
            return Err(match beside.find_map(|(other, suffix)| Some((other, format_with(suffix)?))) {
                Some((other, format)) => TensorProblem::Invalid(format!(
                    "is quantised with {format}, as {other} says, which is not supported"
                )),
                None => TensorProblem::Missing,
            });
        };
        self.encoding(name, entry).map_err(|reason| TensorProblem::Invalid(format!("cannot be read: {reason}")))?;
        let found = &entry.stored.shape;
        if found != shape {
            let reason = format!("has shape {found:?}, but the architecture requires {shape:?}");
            return Err(TensorProblem::Invalid(reason));
        }
        Ok(())
    }

    /// Encoding of the tensor `name`.
    ///
    /// # Errors
    /// The meaning of the tensor, or of one beside it, is not known.
    pub(super) fn readable(&self, name: &str, entry: &TensorEntry) -> Result<WeightEncoding> {
        self.encoding(name, entry).map_err(|reason| Error::Msg(format!("tensor {name}: {reason}")))
    }

    /// Determines the encoding of the tensor `name` from its dtype and the tensors beside it.
    ///
    /// # Errors
    /// A message if the meaning of the tensor, or of one beside it, is not known.
    fn encoding(&self, name: &str, entry: &TensorEntry) -> std::result::Result<WeightEncoding, String> {
        let (mut scale, mut has_input_scale) = (None, false);
        if let Some(layer) = name.strip_suffix(".weight") {
            for (other, suffix) in self.below(layer).filter(|(_, suffix)| !["weight", "bias"].contains(suffix)) {
                if SCALES.contains(&suffix) {
                    if let Some(first) = scale.replace(other) {
                        return Err(format!("it has two scales, {first} and {other}"));
                    }
                } else if WITHOUT_EFFECT.contains(&suffix) {
                    has_input_scale |= suffix != "comfy_quant";
                } else {
                    return Err(match format_with(suffix) {
                        Some(format) => {
                            format!("it is quantised with {format}, as {other} says, which is not supported")
                        }
                        None => format!("{other} beside it has no known meaning"),
                    });
                }
            }
        }
        let format = match &entry.stored.encoding {
            StoredEncoding::Unsupported(reason) => return Err(reason.clone()),
            StoredEncoding::Codes(format) => *format,
            dense_or_blocks => {
                return match scale {
                    Some(scale) => Err(format!("{scale} scales quantised weights, but the weight is not quantised")),
                    None if *dense_or_blocks == StoredEncoding::Dense => Ok(WeightEncoding::Dense),
                    None => Ok(WeightEncoding::Blocks),
                };
            }
        };
        match scale {
            None if format == CodeFormat::Int8 => Err("it is stored as I8 without a weight_scale".into()),
            None if name.ends_with(".weight") && (has_input_scale || self.scaled_files.contains(&entry.file)) => {
                Err("it is stored as float8 without a weight_scale, which other weights of the file have".into())
            }
            None => Ok(WeightEncoding::Codes { format, scale: None }),
            Some(scale) => {
                self.check_scale(scale, &entry.stored.shape)?;
                Ok(WeightEncoding::Codes { format, scale: Some(scale.into()) })
            }
        }
    }

    /// Checks that `scale` is a scalar or has a value per output channel of a weight of shape `weight`.
    fn check_scale(&self, scale: &str, weight: &[usize]) -> std::result::Result<(), String> {
        let StoredTensor { shape, encoding, .. } = &self.tensors[scale].stored;
        let elements: usize = shape.iter().product();
        let is_per_channel = shape.first() == weight.first() && Some(&elements) == weight.first();
        if *encoding != StoredEncoding::Dense {
            return Err(format!("its scale {scale} is not stored as a floating-point tensor (MXFP8?)"));
        }
        if elements != 1 && !is_per_channel {
            return Err(format!(
                "its scale {scale} has shape {shape:?}, but only a scalar or a value per output channel is supported \
                 (block-wise quantisation?)"
            ));
        }
        Ok(())
    }

    /// Whether the tensor `name` belongs to one of the weights `requested`, such as its scale.
    pub(crate) fn is_beside_any(&self, name: &str, requested: &TensorShapes) -> bool {
        name.rsplit_once('.').is_some_and(|(layer, suffix)| {
            (SCALES.contains(&suffix) || WITHOUT_EFFECT.contains(&suffix))
                && requested.contains_key(&format!("{layer}.weight"))
        })
    }

    /// Names of the tensors below `layer`, with and without the layer.
    fn below<'a>(&'a self, layer: &str) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let prefix = format!("{layer}.");
        let length = prefix.len();
        let names = self.tensors.range(prefix.clone()..).map(|(name, _)| name.as_str());
        names.take_while(move |name| name.starts_with(&prefix)).map(move |name| (name, &name[length..]))
    }
}

/// Whether the tensor `name` has no effect wherever it is.
pub(crate) fn has_no_effect(name: &str) -> bool {
    name.rsplit('.').next() == Some(SCALED_MARKER)
}

/// Whether the tensor `name` says that the weights of its file have scales.
fn is_scale(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    last == SCALED_MARKER || SCALES.contains(&last)
}
