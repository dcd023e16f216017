//! A small picture of what is being made, for those who watch. It takes part in nothing that the result is made of.

use candle_core::{DType, Tensor};
use ltx2_types::RgbImage;

use super::decode::rgb;
use super::{Engine, Result, Session};
use crate::diffusion::patchifier::VideoLatentShape;

/// Steps from one preview to the next: a latent frame through the decoder costs far less than as many steps.
const EVERY: usize = 4;
/// Longest side, pixels.
const SIDE: usize = 256;

impl Engine {
    /// Hands over the middle of the picture that `tokens` `(1, n, channels)` predict, where one is due and wanted.
    pub(super) fn preview(&mut self, shape: VideoLatentShape, tokens: &Tensor, session: &Session) -> Result<()> {
        let is_due = session.steps.done.is_multiple_of(EVERY) && session.steps.done + 1 < session.steps.total;
        if !is_due || !session.context.watch.wants_preview() {
            return Ok(());
        }
        match self.preview_picture(shape, tokens) {
            Ok(picture) => session.context.watch.preview(picture),
            // The video itself is not worse for it.
            Err(error) => tracing::warn!(%error, "a preview could not be made: {error}"),
        }
        Ok(())
    }

    fn preview_picture(&mut self, shape: VideoLatentShape, tokens: &Tensor) -> Result<RgbImage> {
        let latent = shape.unpatchify(&tokens.narrow(1, 0, shape.tokens())?)?;
        let middle = latent.narrow(2, latent.dim(2)? / 2, 1)?;
        let frame = self.video_decoder()?.forward(&middle.to_dtype(self.dtype())?)?.squeeze(0)?.narrow(1, 0, 1)?;
        let frame = reduced(&frame.transpose(0, 1)?.to_dtype(DType::F32)?)?.squeeze(0)?;
        let (_, height, width) = frame.dims3()?;
        Ok(RgbImage { width: width as u32, height: height as u32, data: rgb(&frame)? })
    }
}

/// `(1, 3, h, w)` by the smallest whole factor that leaves no side longer than [`SIDE`].
fn reduced(frame: &Tensor) -> candle_core::Result<Tensor> {
    let (_, _, height, width) = frame.dims4()?;
    match height.max(width).div_ceil(SIDE) {
        1 => Ok(frame.clone()),
        factor => frame.contiguous()?.avg_pool2d(factor),
    }
}
