//! Previews: low-resolution frames of the current prediction. They do not affect the result.

use candle_core::{DType, Tensor};
use ltx2_types::RgbImage;

use super::Engine;
use super::frame_writer::rgb;
use super::session::Session;
use crate::diffusion::patchifier::VideoLatentShape;
use crate::error::Result;

/// Steps between previews; decoding one latent frame costs far less than as many steps.
const STEPS_BETWEEN: usize = 4;
/// Maximum side of a preview, pixels.
const MAX_SIDE: usize = 256;

impl Engine {
    /// Sends a preview of the predicted tokens `(1, n, channels)`, if one is due and wanted.
    pub(super) fn preview(&mut self, shape: VideoLatentShape, tokens: &Tensor, session: &Session) -> Result<()> {
        let steps = session.steps;
        let is_due = steps.done.is_multiple_of(STEPS_BETWEEN) && steps.done + 1 < steps.total;
        if !is_due || !session.context.watch.wants_preview() {
            return Ok(());
        }
        match self.preview_image(shape, tokens) {
            Ok(image) => session.context.watch.preview(image),
            // The run continues without the preview.
            Err(error) => tracing::warn!(%error, "cannot make a preview"),
        }
        Ok(())
    }

    /// Decodes the middle latent frame of the tokens.
    fn preview_image(&mut self, shape: VideoLatentShape, tokens: &Tensor) -> Result<RgbImage> {
        let latent = shape.unpatchify(&tokens.narrow(1, 0, shape.tokens())?)?;
        let middle = latent.narrow(2, latent.dim(2)? / 2, 1)?.to_dtype(self.dtype())?;
        let frame = self.residency.video_decoder()?.forward(&middle)?.squeeze(0)?.narrow(1, 0, 1)?;
        let frame = downscaled(&frame.transpose(0, 1)?.to_dtype(DType::F32)?)?.squeeze(0)?;
        let (_, height, width) = frame.dims3()?;
        Ok(RgbImage { width: width as u32, height: height as u32, data: rgb(&frame)? })
    }
}

/// Downscales `(1, 3, h, w)` by the smallest integer factor that leaves no side above [`MAX_SIDE`].
fn downscaled(frame: &Tensor) -> candle_core::Result<Tensor> {
    let (_, _, height, width) = frame.dims4()?;
    match height.max(width).div_ceil(MAX_SIDE) {
        1 => Ok(frame.clone()),
        factor => frame.contiguous()?.avg_pool2d(factor),
    }
}
