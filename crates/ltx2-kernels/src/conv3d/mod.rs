//! 3-D convolution with stride 1 over frames-first video `(t, c, h, w)`.
//!
//! One operation with three strategies: `reference` on the CPU; on CUDA [`implicit_gemm`] where it is estimated to be
//! the fastest, [`im2col`] otherwise.

pub mod im2col;
pub mod implicit_gemm;
mod reference;
#[cfg(test)]
mod tests;
pub mod window;

use candle_core::{Result, Tensor};

#[cfg(feature = "cuda")]
use self::implicit_gemm::TiledWeights;
#[cfg(feature = "cuda")]
use self::window::Window;
use crate::padding::Padding;

/// Upper bound in bytes of the im2col matrix, unless a single output row needs more.
#[cfg(feature = "cuda")]
const COLUMN_BYTES: usize = 256 << 20;

/// 3-D convolution with a bias.
#[derive(Debug, Clone)]
pub struct Conv3d {
    weights: Weights,
    /// `(1, c_out, 1, 1)`.
    bias: Tensor,
}

/// Weights in the layout of the strategy that uses them.
#[derive(Debug, Clone)]
enum Weights {
    /// CPU: one 2-D kernel per temporal tap.
    Taps(Vec<Tensor>),
    /// CUDA: `(c_out, c_in * window)`, multiplied by im2col columns with float32 accumulation.
    #[cfg(feature = "cuda")]
    Matrix { matrix: Tensor, size: [usize; 3] },
    /// CUDA: implicit GEMM.
    #[cfg(feature = "cuda")]
    Tiled(TiledWeights),
}

impl Conv3d {
    /// Creates the convolution from `weight (c_out, c_in, kt, kh, kw)` and `bias (c_out)`. Their device selects the
    /// strategy.
    pub fn new(weight: &Tensor, bias: &Tensor) -> Result<Self> {
        Ok(Self { weights: Weights::new(weight)?, bias: bias.reshape((1, weight.dim(0)?, 1, 1))? })
    }

    /// Pads and convolves `x (t, c_in, h, w)` to `(t', c_out, h', w')`.
    pub fn forward(&self, x: &Tensor, padding: &Padding) -> Result<Tensor> {
        self.convolve(x, padding, None)
    }

    /// Returns `residual + forward(x)`, with the addition fused on CUDA; `residual` has the shape of the result.
    pub fn forward_onto(&self, residual: &Tensor, x: &Tensor, padding: &Padding) -> Result<Tensor> {
        self.convolve(x, padding, Some(residual))
    }

    fn convolve(&self, x: &Tensor, padding: &Padding, residual: Option<&Tensor>) -> Result<Tensor> {
        match &self.weights {
            Weights::Taps(taps) => {
                let y = reference::convolve(taps, x, padding)?.broadcast_add(&self.bias)?;
                residual.map_or(Ok(y.clone()), |residual| residual + y)
            }
            #[cfg(feature = "cuda")]
            Weights::Matrix { matrix, size } => {
                let window = Window { size: *size, padding: *padding };
                im2col::on_cuda::Im2col { window, matrix, bias: &self.bias, residual }.forward(x, COLUMN_BYTES)
            }
            #[cfg(feature = "cuda")]
            Weights::Tiled(weights) => {
                implicit_gemm::on_cuda::ImplicitGemm { weights, padding: *padding, bias: &self.bias, residual }
                    .forward(x)
            }
        }
    }
}

impl Weights {
    fn new(weight: &Tensor) -> Result<Self> {
        #[cfg(feature = "cuda")]
        if weight.device().is_cuda() {
            if TiledWeights::is_faster_than_im2col(weight) {
                return TiledWeights::new(weight).map(Self::Tiled);
            }
            let (c_out, c_in, time, height, width) = weight.dims5()?;
            let matrix = weight.contiguous()?.reshape((c_out, c_in * time * height * width))?;
            return Ok(Self::Matrix { matrix, size: [time, height, width] });
        }
        reference::split_taps(weight).map(Self::Taps)
    }
}
