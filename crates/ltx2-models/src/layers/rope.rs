//! Rotary embedding tables from positions in seconds and pixels (`rope.py`, paper section 3.2).

use candle_core::{DType, Device, Result, Tensor};
use ltx2_kernels::{Rope, RopeTable};
use rayon::prelude::*;

use crate::config::{ConfigError, Section};

/// Rotary embedding parameters of a network.
#[derive(Debug, Clone, PartialEq)]
pub struct RopeConfig {
    /// Channel pairing.
    pub kind: Rope,
    /// Ratio of the largest to the smallest frequency.
    pub theta: f64,
    /// Whether the frequency grid is computed in float64 (and rounded to float32) or in float32.
    pub double_precision: bool,
}

impl RopeConfig {
    /// Reads `rope_type`, `frequencies_precision` and `positional_embedding_theta`.
    pub fn new(transformer: &Section) -> std::result::Result<Self, ConfigError> {
        let kind = match transformer.get("rope_type", "split".to_string())?.as_str() {
            "interleaved" => Rope::Interleaved,
            "split" => Rope::Split,
            other => return Err(transformer.unsupported("rope_type", other, "split or interleaved")),
        };
        let precision = transformer.get("frequencies_precision", serde_json::Value::Null)?;
        Ok(Self {
            kind,
            theta: transformer.get("positional_embedding_theta", 10000.0)?,
            double_precision: precision == "float64",
        })
    }

    /// Cosines and sines at `positions`, `(heads, tokens, dim / heads / 2)` each, for `heads` heads that share `dim`
    /// channels.
    ///
    /// `max_pos` has the largest position of each axis; positions are fractions of it. Frequencies vary slower than
    /// axes along the channels. If the channels do not divide evenly, the first ones have the angle 0.
    pub fn table(
        &self,
        positions: &Positions,
        dim: usize,
        heads: usize,
        max_pos: &[f64],
        to: (DType, &Device),
    ) -> Result<RopeTable> {
        let axes = max_pos.len();
        let frequencies = self.frequencies(dim / (2 * axes));
        let half = dim / 2;
        let pad = half - frequencies.len() * axes;
        let tokens = positions.tokens();
        let per_head = half / heads;
        let mut angles = vec![0f32; half * tokens];
        angles.par_chunks_mut(half).enumerate().for_each(|(token, row)| {
            for (axis, max) in max_pos.iter().enumerate() {
                let position = positions.normalized(axis, token, *max as f32);
                for (i, frequency) in frequencies.iter().enumerate() {
                    row[pad + i * axes + axis] = frequency * position;
                }
            }
        });
        let table = |f: fn(f32) -> f32| -> Result<Tensor> {
            let values: Vec<f32> = angles.par_iter().map(|angle| f(*angle)).collect();
            Tensor::from_vec(values, (tokens, heads, per_head), &Device::Cpu)?
                .transpose(0, 1)?
                .contiguous()?
                .to_device(to.1)?
                .to_dtype(to.0)
        };
        Ok(RopeTable { cos: table(f32::cos)?, sin: table(f32::sin)? })
    }

    /// `count` logarithmically spaced frequencies from π/2 to θπ/2.
    fn frequencies(&self, count: usize) -> Vec<f32> {
        let exponent = |i: usize| if count > 1 { i as f64 / (count - 1) as f64 } else { 0.0 };
        (0..count)
            .map(|i| match self.double_precision {
                true => (self.theta.powf(exponent(i)) * std::f64::consts::FRAC_PI_2) as f32,
                false => (self.theta as f32).powf(exponent(i) as f32) * std::f32::consts::PI / 2.0,
            })
            .collect()
    }
}

/// Start and end of each token along each axis: time in seconds, then height and width in pixels. Audio has only the
/// time axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Positions {
    /// `(start, end)` per token, for each axis.
    axes: Vec<Vec<(f32, f32)>>,
}

impl Positions {
    /// Creates positions from `(start, end)` per token, for each axis.
    pub fn new(axes: Vec<Vec<(f32, f32)>>) -> Self {
        Self { axes }
    }

    /// The time axis alone, for cross-attention between video and audio.
    pub fn time(&self) -> Self {
        Self { axes: self.axes[..1].to_vec() }
    }

    /// Start and end of each token, seconds.
    pub fn times(&self) -> &[(f32, f32)] {
        &self.axes[0]
    }

    /// Number of tokens.
    pub fn tokens(&self) -> usize {
        self.axes[0].len()
    }

    /// Returns the tokens of `self` followed by those of `other`.
    pub fn append(&self, other: &Positions) -> Self {
        Self { axes: self.axes.iter().zip(&other.axes).map(|(a, b)| [a.as_slice(), b].concat()).collect() }
    }

    /// Middle of a token as a fraction of `max`, mapped from [0, 1] to [-1, 1].
    fn normalized(&self, axis: usize, token: usize, max: f32) -> f32 {
        let (start, end) = self.axes[axis][token];
        (start + end) / 2.0 / max * 2.0 - 1.0
    }
}
