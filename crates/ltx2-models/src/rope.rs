//! Rotary tables from positions in pixels and seconds (`rope.py`, paper section 3.2).

use candle_core::{DType, Device, Result, Tensor};
use half::bf16;
use ltx2_kernels::{Rope, RopeTable};
use rayon::prelude::*;

use crate::config::{ConfigError, Section};

/// How a network turns positions into angles.
#[derive(Debug, Clone, PartialEq)]
pub struct RopeConfig {
    /// Which channels pair up.
    pub kind: Rope,
    /// Largest frequency over smallest.
    pub theta: f64,
    /// Whether the frequency grid is computed in float64 (then rounded) or in float32.
    pub double_precision: bool,
}

impl RopeConfig {
    /// Reads `rope_type`, `frequencies_precision` and `positional_embedding_theta`.
    pub fn new(transformer: &Section) -> std::result::Result<Self, ConfigError> {
        let kind = match transformer.get("rope_type", "interleaved".to_string())?.as_str() {
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

    /// Cosines and sines for `positions`, for `heads` heads that share `dim` channels.
    ///
    /// A position in each of the `max_pos.len()` dimensions is a share of `max_pos`; frequencies run over dimensions
    /// first. Channels that do not divide evenly stay unturned, at the front.
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
                let turn = positions.turn(axis, token, *max as f32);
                for (i, frequency) in frequencies.iter().enumerate() {
                    row[pad + i * axes + axis] = frequency * turn;
                }
            }
        });
        let side = |f: fn(f32) -> f32| -> Result<Tensor> {
            let values: Vec<f32> = angles.par_iter().map(|angle| f(*angle)).collect();
            Tensor::from_vec(values, (tokens, heads, per_head), &Device::Cpu)?
                .transpose(0, 1)?
                .contiguous()?
                .to_device(to.1)?
                .to_dtype(to.0)
        };
        Ok(RopeTable { cos: side(f32::cos)?, sin: side(f32::sin)? })
    }

    /// `count` frequencies from π/2 to θπ/2, evenly spaced in their logarithm.
    fn frequencies(&self, count: usize) -> Vec<f32> {
        let share = |i: usize| if count > 1 { i as f64 / (count - 1) as f64 } else { 0.0 };
        (0..count)
            .map(|i| match self.double_precision {
                true => (self.theta.powf(share(i)) * std::f64::consts::FRAC_PI_2) as f32,
                false => (self.theta as f32).powf(share(i) as f32) * std::f32::consts::PI / 2.0,
            })
            .collect()
    }
}

/// Where tokens begin and end along each axis: time in seconds, then height and width in pixels. Sound has time only.
#[derive(Debug, Clone, PartialEq)]
pub struct Positions {
    /// One entry per axis, each with a (start, end) per token.
    axes: Vec<Vec<(f32, f32)>>,
    /// The official bf16 pipeline rounds video positions to bfloat16 and computes with them so.
    rounded: bool,
}

impl Positions {
    /// From (start, end) per token, for each axis.
    pub fn new(axes: Vec<Vec<(f32, f32)>>) -> Self {
        Self { axes, rounded: false }
    }

    /// The same, as the official bf16 pipeline has them.
    pub fn rounded_to_bf16(self) -> Self {
        Self { rounded: true, ..self }
    }

    /// The time axis alone, for cross-attention between picture and sound.
    pub fn time(&self) -> Self {
        Self { axes: self.axes[..1].to_vec(), rounded: self.rounded }
    }

    /// Number of tokens.
    pub fn tokens(&self) -> usize {
        self.axes[0].len()
    }

    /// Tokens of `other` after those of this one.
    pub fn append(&self, other: &Positions) -> Self {
        let axes = self.axes.iter().zip(&other.axes).map(|(a, b)| [a.as_slice(), b].concat()).collect();
        // torch's cat of bfloat16 and float32 is float32 arithmetic on the rounded values.
        let joined = Self { axes, rounded: self.rounded && other.rounded };
        if self.rounded && !other.rounded { joined.with_rounded_values(self.tokens()) } else { joined }
    }

    fn with_rounded_values(mut self, tokens: usize) -> Self {
        for axis in &mut self.axes {
            for (start, end) in &mut axis[..tokens] {
                (*start, *end) = (round(*start), round(*end));
            }
        }
        self
    }

    /// The middle of a token as a share of `max`, mapped from [0, 1] to [-1, 1], with the rounding of the run's dtype
    /// after each operation.
    fn turn(&self, axis: usize, token: usize, max: f32) -> f32 {
        let (start, end) = self.axes[axis][token];
        let step = if self.rounded { round } else { |x: f32| x };
        let middle = step(step(step(start) + step(end)) / 2.0);
        let share = step(middle / max);
        step(step(share * 2.0) - 1.0)
    }
}

fn round(x: f32) -> f32 {
    bf16::from_f32(x).to_f32()
}
