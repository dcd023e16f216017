//! Conversion of audio to interleaved stereo at another sample rate.

use ffmpeg_next::format::sample::{Sample, Type};
use ffmpeg_next::software::resampling;
use ffmpeg_next::{ChannelLayout, Error, frame};

/// Interleaved 32-bit floating point samples.
pub(crate) const PACKED: Sample = Sample::F32(Type::Packed);

/// Resampler of frames of one format.
pub(crate) struct Resampler {
    context: resampling::Context,
    output: frame::Audio,
    /// Size of `output`, samples per channel.
    capacity: usize,
}

impl Resampler {
    /// Returns a resampler for frames of the format of `frame`. Other channel layouts are mixed to stereo.
    pub(crate) fn new(frame: &frame::Audio, sample_rate: u32) -> Result<Self, Error> {
        let (layout, stereo) = (layout(frame), ChannelLayout::STEREO);
        let context = resampling::Context::get(frame.format(), layout, frame.rate(), PACKED, stereo, sample_rate)?;
        // Two seconds. Longer frames are buffered by the resampler.
        let capacity = 2 * sample_rate as usize;
        Ok(Self { context, output: frame::Audio::new(PACKED, capacity, stereo), capacity })
    }

    /// Resamples `frame` and appends the samples that are ready to `samples`.
    pub(crate) fn push(&mut self, frame: &frame::Audio, samples: &mut Vec<f32>) -> Result<(), Error> {
        self.output.set_samples(self.capacity);
        if frame.channel_layout().is_empty() {
            self.context.run(&with_layout(frame), &mut self.output)?;
        } else {
            self.context.run(frame, &mut self.output)?;
        }
        self.append(samples);
        Ok(())
    }

    /// Appends the remaining samples to `samples`.
    pub(crate) fn finish(mut self, samples: &mut Vec<f32>) -> Result<(), Error> {
        loop {
            self.output.set_samples(self.capacity);
            self.context.flush(&mut self.output)?;
            if self.output.samples() == 0 {
                return Ok(());
            }
            self.append(samples);
        }
    }

    fn append(&self, samples: &mut Vec<f32>) {
        samples.extend(self.output.plane::<(f32, f32)>(0).iter().flat_map(|&(left, right)| [left, right]));
    }
}

/// Returns the channel layout of `frame`, or the default one for its number of channels if it states none.
fn layout(frame: &frame::Audio) -> ChannelLayout {
    let layout = frame.channel_layout();
    if layout.is_empty() { ChannelLayout::default(frame.channels().into()) } else { layout }
}

/// Returns a copy of `frame` that states its channel layout, as the resampler requires.
fn with_layout(frame: &frame::Audio) -> frame::Audio {
    let mut copy = frame::Audio::new(frame.format(), frame.samples(), layout(frame));
    copy.set_rate(frame.rate());
    for plane in 0..frame.planes().min(copy.planes()) {
        for (to, from) in copy.data_mut(plane).iter_mut().zip(frame.data(plane)) {
            *to = *from;
        }
    }
    copy
}
