//! Tensor operations that candle lacks or does slowly, one file each. Where an operation has a fast form, its plain
//! form stands beside it and one test holds both together.

pub mod attention;
pub mod columns;
pub mod conv;
mod conv1d;
pub mod conv3d;
#[cfg(feature = "cuda")]
mod conv3d_columns;
pub mod conv3d_tiles;
#[cfg(feature = "cuda")]
mod cuda;
pub mod depth_to_space;
pub mod depthwise;
pub mod float8;
pub mod modulate;
pub mod norm;
pub mod norm_rope;
pub mod pad;
pub mod pixel_norm;
pub mod product;
pub mod residual;
pub mod rope;
mod sine;
pub mod snake;
pub mod synth;

pub use attention::attention;
pub use conv::{conv_transpose1d, conv1d, conv1d_strided, conv2d};
pub use conv3d::Conv3d;
pub use depth_to_space::depth_to_space;
pub use depthwise::{depthwise_conv_transpose1d, depthwise_conv1d, depthwise_conv2d};
pub use float8::decode_e4m3;
pub use modulate::{modulate, rms_norm_modulate};
pub use norm::{layer_norm, rms_norm};
pub use norm_rope::{NormRope, norm_rope};
pub use pad::{Around, Padding};
pub use pixel_norm::pixel_norm_silu;
pub use product::Product;
pub use residual::{gated_residual, residual};
pub use rope::{Rope, RopeTable};
pub use snake::AntiAliasedSnake;
pub use synth::Synth;

/// Has a card's driver compile all kernels of this crate, seconds that their first use would else take. Does nothing on a
/// CPU.
pub fn load_kernels(device: &candle_core::Device) -> candle_core::Result<()> {
    match device {
        #[cfg(feature = "cuda")]
        candle_core::Device::Cuda(device) => {
            // A wrong setting shows at the start.
            attention::on_cuda::wanted()?;
            cuda::load_all(device)
        }
        _ => Ok(()),
    }
}

/// Where the tests run: on the first card in a build for cards, else on the CPU.
#[cfg(test)]
fn test_device() -> candle_core::Result<candle_core::Device> {
    if cfg!(feature = "cuda") { candle_core::Device::new_cuda(0) } else { Ok(candle_core::Device::Cpu) }
}
