//! Frames of the result: generated ones, and those of a source.

use std::collections::VecDeque;

use candle_core::{DType, Tensor};
use ltx2_types::{InputId, Phase, RgbImage};

use super::session::Session;
use super::source::SourceFrames;
use crate::error::{PipelineError, Result};
use crate::inputs::conditioning_pixels;
use crate::plan::{Origin, OutputPlan, Span};

/// Writer of the frames of a result in order, while they are decoded.
pub(super) struct FrameWriter {
    spans: VecDeque<Span>,
    source: Option<(InputId, Option<SourceFrames>)>,
    /// Width and height, pixels.
    size: (usize, usize),
    done: usize,
    total: usize,
}

impl FrameWriter {
    /// Returns a writer of frames of `size`.
    pub(super) fn new(output: &OutputPlan, size: (usize, usize)) -> Self {
        let whole = Span { from: Origin::Generated, start: 0, frames: output.num_frames };
        let spans = output.source.as_ref().map_or_else(|| vec![whole], |source| source.spans.video.clone());
        let source = output.source.as_ref().map(|source| (source.input, None));
        Self { spans: spans.into(), source, size, done: 0, total: output.num_frames }
    }

    /// Whether generated frames are part of the rest.
    pub(super) fn needs_generated(&self) -> bool {
        self.spans.iter().any(|span| span.from == Origin::Generated)
    }

    /// Takes generated frame `index`, `(3, h, w)` in [-1, 1]. Frames that are not part of the result are ignored.
    pub(super) fn generated(&mut self, index: usize, frame: &Tensor, session: &mut Session) -> Result<()> {
        self.copy_source(session)?;
        let Some(span) = self.spans.front().copied() else { return Ok(()) };
        if !(span.start..span.start + span.frames).contains(&index) {
            return Ok(());
        }
        let (width, height) = self.size;
        self.write(&rgb(&frame.narrow(1, 0, height)?.narrow(2, 0, width)?)?, session)?;
        if index + 1 == span.start + span.frames {
            self.spans.pop_front();
        }
        Ok(())
    }

    /// Writes the frames of the source at the end.
    pub(super) fn finish(&mut self, session: &mut Session) -> Result<()> {
        self.copy_source(session)?;
        match self.spans.front() {
            Some(span) => Err(PipelineError::Internal(format!("the stage has no frames for {span:?}"))),
            None => session.report(Phase::Decoding, self.total, self.total),
        }
    }

    /// Writes the frames of the source that come next.
    fn copy_source(&mut self, session: &mut Session) -> Result<()> {
        while let Some(span) = self.spans.front().copied().filter(|span| span.from == Origin::Source) {
            for index in span.start..span.start + span.frames {
                let frame = self.source_frame(index, session)?;
                self.write(&frame.data, session)?;
            }
            self.spans.pop_front();
        }
        Ok(())
    }

    fn source_frame(&mut self, index: usize, session: &mut Session) -> Result<RgbImage> {
        let (input, frames) = self.source.as_mut().expect("a span of the source has an input");
        if frames.is_none() {
            *frames = Some(SourceFrames::open(*input, session)?);
        }
        let frame = frames.as_mut().expect("just opened").frame(index)?;
        fitted(frame, self.size)
    }

    fn write(&mut self, data: &[u8], session: &mut Session) -> Result<()> {
        session.report(Phase::Decoding, self.done, self.total)?;
        session.context.output.frame(data).map_err(PipelineError::Output)?;
        self.done += 1;
        Ok(())
    }
}

/// Resizes a frame to cover `size` and crops it, as for the encoder.
fn fitted(frame: RgbImage, (width, height): (usize, usize)) -> Result<RgbImage> {
    if (frame.width as usize, frame.height as usize) == (width, height) {
        return Ok(frame);
    }
    let pixels = conditioning_pixels(&frame, height, width, &candle_core::Device::Cpu)?;
    // Half a step, because fractions are truncated.
    let data = rgb(&(pixels.squeeze(2)?.squeeze(0)? + 1.0 / 255.0)?)?;
    Ok(RgbImage { width: width as u32, height: height as u32, data })
}

/// Converts a frame `(3, h, w)` in [-1, 1] to 8-bit RGB rows. Fractions are truncated, as in torch.
pub(super) fn rgb(frame: &Tensor) -> candle_core::Result<Vec<u8>> {
    let frame = frame.permute((1, 2, 0))?.to_dtype(DType::F32)?;
    let scaled = (((frame + 1.0)? / 2.0)?.clamp(0f32, 1f32)? * 255.0)?;
    Ok(scaled.flatten_all()?.to_vec1::<f32>()?.into_iter().map(|value| value as u8).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_that_is_only_cropped_keeps_its_values() {
        let data: Vec<u8> = (0..5 * 4 * 3).map(|i| i as u8 * 4).collect();
        let frame = RgbImage { width: 5, height: 4, data: data.clone() };
        let cropped = fitted(frame, (4, 4)).unwrap();
        let expected: Vec<u8> = data.chunks(15).flat_map(|row| row[..12].to_vec()).collect();
        assert_eq!(cropped.data, expected);
    }
}
