//! Synthetic weights: every element is a pure function of (seed, tensor name, index), so that a model of any size can be
//! built without a file.
//!
//! For a tensor `name`: `h = fnv1a64(name) ^ seed * GOLDEN`, `z(i) = splitmix64(h + i * GOLDEN)`, and element `i` is
//! `center + amplitude * s(i)`, where `s(i)` is the top 24 bits of `z(i)` mapped to [-1, 1). The value is computed in
//! float32 and rounded to bfloat16, the dtype of the published checkpoints. The anti-aliasing filters of the LTX-2.3 vocoder
//! are constants and get their real values.

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::Init;
use candle_nn::var_builder::SimpleBackend;
use half::bf16;
use ltx2_kernels::Synth;
use ltx2_kernels::synth::GOLDEN;

use crate::filters::anti_aliasing_filter;

/// Returns the elements of the tensor `name` in row-major order.
pub fn synth(name: &str, shape: &[usize], seed: u64) -> Vec<bf16> {
    match SynthRule::new(name, shape, seed) {
        SynthRule::Constant(values) => values,
        SynthRule::Hashed(synth) => synth.values(shape.iter().product()),
    }
}

/// Rule for the elements of a tensor.
enum SynthRule {
    Constant(Vec<bf16>),
    Hashed(Synth),
}

impl SynthRule {
    fn new(name: &str, shape: &[usize], seed: u64) -> Self {
        if name.ends_with(".filter") {
            return Self::Constant(anti_aliasing_filter().map(bf16::from_f32).to_vec());
        }
        let (center, amplitude) = scale_rule(name, shape);
        Self::Hashed(Synth { hash: fnv1a64(name) ^ seed.wrapping_mul(GOLDEN), center, amplitude })
    }
}

fn fnv1a64(text: &str) -> u64 {
    text.bytes().fold(0xCBF2_9CE4_8422_2325, |h, byte| (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
}

/// Center and amplitude of a tensor, chosen so that activations neither vanish nor explode.
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
        // The norms of Gemma multiply by 1 + weight.
        let gemma = name.starts_with("language_model.") || name == "multi_modal_projector.mm_soft_emb_norm.weight";
        return match name {
            _ if name.ends_with("bias") => (0.0, 0.02),
            _ if name.ends_with(".alpha") || name.ends_with(".beta") || gemma => (0.0, 0.1),
            _ => (1.0, 0.1),
        };
    }
    let fan_in: usize = shape[1..].iter().product();
    // The vocoder of LTX-2.3 clips its output at ±1.
    let is_clipped = name.ends_with("conv_post.weight") && name.matches('.').count() == 3;
    let gain = if is_clipped { 0.005 } else { 1.0 };
    (0.0, ((3.0 / fan_in as f64).sqrt() * gain) as f32)
}

/// A backend that generates tensors for any name and shape.
#[derive(Debug)]
pub struct SynthBackend {
    seed: u64,
}

impl SynthBackend {
    /// A generator with `seed`.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }
}

impl SimpleBackend for SynthBackend {
    fn get(&self, shape: Shape, name: &str, _: Init, dtype: DType, device: &Device) -> Result<Tensor> {
        let tensor = match SynthRule::new(name, shape.dims(), self.seed) {
            SynthRule::Constant(values) => Tensor::from_vec(values, shape, device),
            SynthRule::Hashed(synth) => synth.tensor(&shape, device),
        };
        tensor?.to_dtype(dtype)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> Result<Tensor> {
        candle_core::bail!("cannot generate tensor {name} without a shape")
    }

    fn contains_tensor(&self, _: &str) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_depend_on_seed_and_stay_within_the_amplitude() {
        // FNV-1a's published test vectors.
        assert_eq!(fnv1a64(""), 0xCBF2_9CE4_8422_2325);
        assert_eq!(fnv1a64("a"), 0xAF63_DC4C_8601_EC8C);
        assert_ne!(synth("a.weight", &[4, 4], 0), synth("a.weight", &[4, 4], 1));
        assert!(synth("x.learnable_registers", &[64, 64], 0).iter().all(|v| v.to_f32().abs() <= 1.0));
    }
}
