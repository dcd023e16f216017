//! Tensor operations that candle lacks or runs slowly, one module per operation. An operation with a fast
//! implementation also has a reference in plain candle, and tests compare the two.

pub mod attention;
pub mod bias_epilogue;
pub mod codes;
pub mod conv;
mod conv1d_cpu;
pub mod conv3d;
#[cfg(feature = "cuda")]
mod cuda;
pub mod depth_to_space;
pub mod depthwise;
pub mod float8;
pub mod layer_norm;
pub mod norm_rope;
pub mod padding;
pub mod pixel_norm;
pub mod residual;
pub mod rms_modulate;
pub mod rope;
mod rounding;
mod sine;
pub mod snake;
pub mod synth;

pub use attention::{AttentionKernel, attention, masked_attention};
pub use bias_epilogue::PendingBias;
pub use codes::CodeFormat;
pub use conv::{conv_transpose1d, conv1d, conv1d_strided, conv2d, conv2d_strided};
pub use conv3d::Conv3d;
pub use depth_to_space::depth_to_space;
pub use depthwise::{depthwise_conv_transpose1d, depthwise_conv1d, depthwise_conv2d};
pub use float8::decode_e4m3;
pub use layer_norm::layer_norm;
pub use norm_rope::{NormRope, norm_rope};
pub use padding::{FramePadding, Padding};
pub use pixel_norm::pixel_norm_silu;
pub use residual::{gated_residual, residual};
pub use rms_modulate::{modulate, rms_norm, rms_norm_modulate};
pub use rope::{Rope, RopeTable};
pub use rounding::{rounded_once, silu};
pub use snake::AntiAliasedSnake;
pub use synth::Synth;

/// Loads all kernels of this crate on a CUDA device: the driver compiles them, which takes seconds that the first use
/// would take otherwise. Does nothing on a CPU.
pub fn load_kernels(device: &candle_core::Device) -> candle_core::Result<()> {
    match device {
        #[cfg(feature = "cuda")]
        candle_core::Device::Cuda(device) => cuda::load_all(device),
        _ => Ok(()),
    }
}

/// Device of the tests: the first GPU with feature `cuda`, the CPU otherwise.
#[cfg(test)]
fn test_device() -> candle_core::Result<candle_core::Device> {
    if cfg!(feature = "cuda") { candle_core::Device::new_cuda(0) } else { Ok(candle_core::Device::Cpu) }
}
