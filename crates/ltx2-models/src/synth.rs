//! Synthetic weights: each value is a pure function of (seed, tensor name, index), so a model of any size can be made
//! anywhere without a file.
//!
//! For a tensor `name`: `h = fnv1a64(name) ^ seed * GOLDEN`, `z(i) = splitmix64(h + i * GOLDEN)`, and the value is
//! `center + amplitude * s(i)` with `s(i)` the top 24 bits of `z(i)` mapped to [-1, 1), in float32, then rounded to
//! bfloat16 as the published checkpoints are. The anti-aliasing filters of LTX-2.3's vocoder are what they always are.

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::Init;
use candle_nn::var_builder::SimpleBackend;
use half::bf16;
use ltx2_kernels::Synth;
use ltx2_kernels::synth::GOLDEN;

use crate::filters::anti_aliasing_filter;

/// The values of tensor `name`, row by row.
pub fn synth(name: &str, shape: &[usize], seed: u64) -> Vec<bf16> {
    match Values::new(name, shape, seed) {
        Values::Known(values) => values,
        Values::Hashed(synth) => synth.values(shape.iter().product()),
    }
}

/// Where a tensor's values come from.
enum Values {
    Known(Vec<bf16>),
    Hashed(Synth),
}

impl Values {
    fn new(name: &str, shape: &[usize], seed: u64) -> Self {
        if name.ends_with(".filter") {
            return Self::Known(anti_aliasing_filter().map(bf16::from_f32).to_vec());
        }
        let (center, amplitude) = scale_rule(name, shape);
        Self::Hashed(Synth { hash: fnv1a64(name) ^ seed.wrapping_mul(GOLDEN), center, amplitude })
    }
}

fn fnv1a64(text: &str) -> u64 {
    text.bytes().fold(0xCBF2_9CE4_8422_2325, |h, byte| (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
}

/// (center, amplitude) of a tensor, chosen so that activations neither die nor explode.
fn scale_rule(name: &str, shape: &[usize]) -> (f32, f32) {
    if name.ends_with("mean-of-means") {
        return (0.0, 0.1);
    }
    if name.ends_with("std-of-means") {
        return (1.0, 0.2);
    }
    if name.ends_with("learnable_registers") {
        return (0.0, 1.0);
    }
    if shape.len() <= 1 {
        // Gemma's norms multiply by 1 + weight, so theirs sit around 0.
        let gemma = name.starts_with("language_model.") || name == "multi_modal_projector.mm_soft_emb_norm.weight";
        return match name {
            _ if name.ends_with("bias") => (0.0, 0.02),
            _ if name.ends_with(".alpha") || name.ends_with(".beta") || gemma => (0.0, 0.1),
            _ => (1.0, 0.1),
        };
    }
    let fan_in: usize = shape[1..].iter().product();
    // The 2.3 vocoder clips at +-1.
    let clipped = name.ends_with("conv_post.weight") && name.matches('.').count() == 3;
    let quiet = if clipped { 0.005 } else { 1.0 };
    (0.0, ((3.0 / fan_in as f64).sqrt() * quiet) as f32)
}

/// Hands out synthetic tensors of whatever name and shape a network asks for.
#[derive(Debug)]
pub struct SynthBackend {
    seed: u64,
}

impl SynthBackend {
    /// Weights of `seed`.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }
}

impl SimpleBackend for SynthBackend {
    fn get(&self, shape: Shape, name: &str, _: Init, dtype: DType, device: &Device) -> Result<Tensor> {
        let tensor = match Values::new(name, shape.dims(), self.seed) {
            Values::Known(values) => Tensor::from_vec(values, shape, device),
            Values::Hashed(synth) => synth.tensor(&shape, device),
        };
        tensor?.to_dtype(dtype)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> Result<Tensor> {
        candle_core::bail!("synthetic weights need a shape, and {name} was asked for without one")
    }

    fn contains_tensor(&self, _: &str) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_rule() {
        // FNV-1a's published test vectors.
        assert_eq!(fnv1a64(""), 0xCBF2_9CE4_8422_2325);
        assert_eq!(fnv1a64("a"), 0xAF63_DC4C_8601_EC8C);
        assert_ne!(synth("a.weight", &[4, 4], 0), synth("a.weight", &[4, 4], 1));
        assert!(synth("x.learnable_registers", &[64, 64], 0).iter().all(|v| v.to_f32().abs() <= 1.0));
    }
}
