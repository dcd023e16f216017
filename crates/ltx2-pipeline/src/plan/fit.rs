//! What of a request would fit into memory, by the estimate.

use std::fmt;

use ltx2_types::{Task, ValidRequest};

/// Sizes to fall back on, largest first: multiples of 64, so that every pipeline has them. Upright for upright requests.
const SIZES: [(u32, u32); 6] = [(1920, 1088), (1536, 1024), (1280, 704), (1024, 576), (768, 512), (512, 320)];

/// Less than what was asked for that would fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fit {
    /// The most frames at the size that was asked for.
    pub frames: Option<u32>,
    /// The largest of the usual sizes, width and height, at the length that was asked for.
    pub size: Option<(u32, u32)>,
}

/// The most of `request` whose `peak` (bytes; `None` where it cannot be planned) is at most `budget`, in length and in
/// size. Counts of frames are 8k + 1, as they are made.
pub fn largest_that_fits(request: &ValidRequest, budget: usize, peak: impl Fn(&ValidRequest) -> Option<usize>) -> Fit {
    let fits = |smaller: &ValidRequest| peak(smaller).is_some_and(|peak| peak <= budget);
    let ValidRequest { width, height, num_frames, .. } = *request;
    // Pictures at later frames have to stay in.
    let last_picture = match &request.task {
        Task::ImageToVideo { images } | Task::Keyframes { images } => images.iter().map(|image| image.frame).max(),
        _ => None,
    };
    let last_picture = last_picture.unwrap_or(0);
    let counts = (0..num_frames.div_ceil(8)).rev().map(|k| 8 * k + 1);
    let frames = counts
        .take_while(|count| *count > last_picture)
        .find(|count| *count < num_frames && fits(&ValidRequest { num_frames: *count, ..request.clone() }));
    let upright = |(long, short)| if width >= height { (long, short) } else { (short, long) };
    let size = SIZES
        .into_iter()
        .map(upright)
        .find(|&(w, h)| w * h < width * height && fits(&ValidRequest { width: w, height: h, ..request.clone() }));
    Fit { frames, size }
}

impl fmt::Display for Fit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let frames = |count: u32| if count == 1 { "1 frame".into() } else { format!("{count} frames") };
        match (self.frames, self.size) {
            (Some(count), Some((width, height))) => {
                write!(f, "{} would fit at this size, or this length at {width}x{height}", frames(count))
            }
            (Some(count), None) => write!(f, "{} would fit at this size", frames(count)),
            (None, Some((width, height))) => write!(f, "this length would fit at {width}x{height}"),
            (None, None) => write!(f, "neither fewer frames nor a usual smaller size would fit with this model"),
        }
    }
}

#[cfg(test)]
mod tests {
    use ltx2_models::upsampler::SpatialScale;
    use ltx2_types::{ImageInput, InputRef, Limits, Pipeline};

    use super::*;
    use crate::Precision;
    use crate::plan::{Computing, ModelFacts, Parameters, choose, estimate_of};

    const GIB: usize = 1 << 30;

    /// A pixel of a frame takes a byte.
    fn a_byte_per_pixel(request: &ValidRequest) -> Option<usize> {
        Some(request.width as usize * request.height as usize * request.num_frames as usize)
    }

    fn request(width: u32, height: u32, num_frames: u32) -> ValidRequest {
        ValidRequest { width, height, num_frames, ..Limits::server().defaults }
    }

    #[test]
    fn length_and_size_are_each_the_most_that_fits() {
        let asked = request(1920, 1088, 121);
        let fit = |budget| largest_that_fits(&asked, budget, a_byte_per_pixel);
        assert_eq!(fit(1920 * 1088 * 57), Fit { frames: Some(57), size: Some((1280, 704)) });
        assert_eq!(fit(1920 * 1088 * 57 - 1), Fit { frames: Some(49), size: Some((1280, 704)) });
        assert_eq!(fit(512 * 320 * 121), Fit { frames: Some(9), size: Some((512, 320)) });
        assert_eq!(fit(512 * 320 * 121 - 1), Fit { frames: Some(9), size: None });
        assert_eq!(fit(1920 * 1088 - 1), Fit::default());
        assert_eq!(fit(0).to_string(), "neither fewer frames nor a usual smaller size would fit with this model");
    }

    #[test]
    fn what_is_named_is_less_than_what_was_asked_for() {
        let asked = request(768, 512, 121);
        let fit = largest_that_fits(&asked, usize::MAX, a_byte_per_pixel);
        assert_eq!(fit, Fit { frames: Some(113), size: Some((512, 320)) });
        assert_eq!(fit.to_string(), "113 frames would fit at this size, or this length at 512x320");
        assert_eq!(largest_that_fits(&request(320, 512, 1), usize::MAX, a_byte_per_pixel), Fit::default());
        let upright = largest_that_fits(&request(1088, 1920, 1), usize::MAX, a_byte_per_pixel);
        assert_eq!(upright, Fit { frames: None, size: Some((1024, 1536)) });
        assert_eq!(upright.to_string(), "this length would fit at 1024x1536");
    }

    #[test]
    fn pictures_stay_in() {
        let images = vec![ImageInput { frame: 40, ..ImageInput::first_frame(InputRef::Upload("a".into())) }];
        let asked = ValidRequest { task: Task::Keyframes { images }, ..request(768, 512, 121) };
        assert_eq!(largest_that_fits(&asked, 768 * 512 * 41, a_byte_per_pixel).frames, Some(41));
        assert_eq!(largest_that_fits(&asked, 768 * 512 * 40, a_byte_per_pixel).frames, None);
    }

    /// LTX-2 19B in bfloat16 with 14 GiB to spare, by the estimate itself.
    #[test]
    fn the_estimate_decides() {
        let facts = ModelFacts {
            version: "2.0".into(),
            num_layers: 48,
            distilled: true,
            upscaler: Some(SpatialScale::TWO),
            distilled_lora: None,
            loras: Vec::new(),
            camera_loras: Vec::new(),
        };
        let sizes = Parameters {
            text_encoder: 23_500_000_000,
            text_encoder_part: 2_000_000_000,
            text_projection: 2_900_000_000,
            hidden_states: 193_000_000,
            transformer: 40_600_000_000,
            blocks: 37_100_000_000,
            num_blocks: 48,
            autoencoders: 2_700_000_000,
            upsampler: 1_000_000_000,
            video_width: 4096,
            audio_width: 2048,
            kept_text: 604_000_000,
            decoder_channels: 128,
        };
        let computing = Computing { device: ltx2_types::Device::Cuda, precision: Precision::Bf16 };
        let peak = |request: &ValidRequest| {
            let request = ValidRequest { pipeline: Some(Pipeline::Distilled), ..request.clone() };
            Some(estimate_of(&choose(&request, &facts).ok()?, &sizes, computing).least)
        };
        let asked = request(1920, 1088, 241);
        assert!(peak(&asked).unwrap() > 14 * GIB);
        let fit = largest_that_fits(&asked, 14 * GIB, peak);
        let frames = fit.frames.unwrap();
        assert!(peak(&request(1920, 1088, frames)).unwrap() <= 14 * GIB);
        assert!(peak(&request(1920, 1088, frames + 8)).unwrap() > 14 * GIB);
        let (width, height) = fit.size.unwrap();
        assert!(peak(&request(width, height, 241)).unwrap() <= 14 * GIB);
        // What surrounds the transformer's blocks is more than that.
        assert_eq!(largest_that_fits(&asked, 4 * GIB, peak), Fit::default());
    }
}
