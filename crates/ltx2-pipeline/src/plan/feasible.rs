//! Search for smaller requests that fit into memory.

use ltx2_types::ValidRequest;

use crate::error::FeasibleRequest;

/// Common sizes in landscape, largest first; multiples of 64, so that every pipeline supports them.
const SIZES: [(u32, u32); 6] = [(1920, 1088), (1536, 1024), (1280, 704), (1024, 576), (768, 512), (512, 320)];

/// Returns the longest and the largest variant of `request` whose `peak` is at most `budget` bytes. `peak` returns
/// `None` for a request that cannot be planned. Frame counts are 8k + 1, as they are generated; sizes have the
/// orientation of the request.
pub fn largest_feasible(
    request: &ValidRequest,
    budget: usize,
    peak: impl Fn(&ValidRequest) -> Option<usize>,
) -> FeasibleRequest {
    let fits = |smaller: &ValidRequest| peak(smaller).is_some_and(|peak| peak <= budget);
    let ValidRequest { width, height, num_frames, .. } = *request;
    let counts = (0..num_frames.div_ceil(8)).rev().map(|k| 8 * k + 1);
    let frames = counts
        .filter(|count| *count < num_frames)
        .find(|count| fits(&ValidRequest { num_frames: *count, ..request.clone() }));
    let oriented = |(long, short)| if width >= height { (long, short) } else { (short, long) };
    let size = SIZES
        .into_iter()
        .map(oriented)
        .find(|&(w, h)| w * h < width * height && fits(&ValidRequest { width: w, height: h, ..request.clone() }));
    FeasibleRequest { frames, size }
}

#[cfg(test)]
mod tests {
    use ltx2_models::AudioVideo;
    use ltx2_models::upsampler::SpatialScale;
    use ltx2_types::{ImageInput, InputRef, Limits, Pipeline, Task};

    use super::*;
    use crate::execution::{ExecutionConfig, Precision};
    use crate::plan::{ModelCapabilities, WeightSizes, estimate, plan_request};

    const GIB: usize = 1 << 30;

    /// LTX-2 19B, distilled.
    fn model() -> ModelCapabilities {
        ModelCapabilities {
            version: "2.0".into(),
            num_layers: 48,
            distilled: true,
            upscaler: Some(SpatialScale::TWO),
            distilled_lora: None,
            loras: Vec::new(),
            unusable_loras: Vec::new(),
            camera_loras: Vec::new(),
        }
    }

    fn one_byte_per_pixel(request: &ValidRequest) -> Option<usize> {
        Some(request.width as usize * request.height as usize * request.num_frames as usize)
    }

    fn request(width: u32, height: u32, num_frames: u32) -> ValidRequest {
        ValidRequest { width, height, num_frames, ..Limits::server().defaults }
    }

    #[test]
    fn frames_and_size_are_each_the_largest_that_fit() {
        let requested = request(1920, 1088, 121);
        let feasible = |budget| largest_feasible(&requested, budget, one_byte_per_pixel);
        assert_eq!(feasible(1920 * 1088 * 57), FeasibleRequest { frames: Some(57), size: Some((1280, 704)) });
        assert_eq!(feasible(1920 * 1088 * 57 - 1), FeasibleRequest { frames: Some(49), size: Some((1280, 704)) });
        assert_eq!(feasible(512 * 320 * 121), FeasibleRequest { frames: Some(9), size: Some((512, 320)) });
        assert_eq!(feasible(512 * 320 * 121 - 1), FeasibleRequest { frames: Some(9), size: None });
        assert_eq!(feasible(1920 * 1088 - 1), FeasibleRequest::default());
        assert_eq!(feasible(0).to_string(), "neither fewer frames nor a usual smaller size would fit with this model");
    }

    #[test]
    fn feasible_requests_are_smaller_than_the_request() {
        let requested = request(768, 512, 121);
        let feasible = largest_feasible(&requested, usize::MAX, one_byte_per_pixel);
        assert_eq!(feasible, FeasibleRequest { frames: Some(113), size: Some((512, 320)) });
        assert_eq!(feasible.to_string(), "113 frames would fit at this size, or this length at 512x320");
        let smallest = largest_feasible(&request(320, 512, 1), usize::MAX, one_byte_per_pixel);
        assert_eq!(smallest, FeasibleRequest::default());
        let portrait = largest_feasible(&request(1088, 1920, 1), usize::MAX, one_byte_per_pixel);
        assert_eq!(portrait, FeasibleRequest { frames: None, size: Some((1024, 1536)) });
        assert_eq!(portrait.to_string(), "this length would fit at 1024x1536");
    }

    #[test]
    fn keyframes_stay_within_the_video() {
        let images = vec![ImageInput { frame: 40, ..ImageInput::first_frame(InputRef::Upload("a".into())) }];
        let requested = ValidRequest { task: Task::Keyframes { images }, ..request(768, 512, 121) };
        let peak = |request: &ValidRequest| {
            plan_request(request, &model()).ok()?;
            one_byte_per_pixel(request)
        };
        assert_eq!(largest_feasible(&requested, 768 * 512 * 41, peak).frames, Some(41));
        assert_eq!(largest_feasible(&requested, 768 * 512 * 40, peak).frames, None);
    }

    /// LTX-2 19B in bfloat16 with 14 GiB of free memory.
    #[test]
    fn the_memory_estimate_decides() {
        let sizes = WeightSizes {
            text_encoder: 23_500_000_000,
            text_encoder_part: 2_000_000_000,
            text_projection: 2_900_000_000,
            hidden_states: 193_000_000,
            transformer: 40_600_000_000,
            blocks: 37_100_000_000,
            num_blocks: 48,
            autoencoders: 2_700_000_000,
            upsampler: 1_000_000_000,
            stream_widths: AudioVideo { video: 4096, audio: 2048 },
            cached_text: 604_000_000,
            decoder_channels: 128,
        };
        let execution = ExecutionConfig { device: ltx2_types::Device::Cuda, precision: Precision::Bf16 };
        let peak = |request: &ValidRequest| {
            let request = ValidRequest { pipeline: Some(Pipeline::Distilled), ..request.clone() };
            Some(estimate(&plan_request(&request, &model()).ok()?, &sizes, execution).least)
        };
        let requested = request(1920, 1088, 241);
        assert!(peak(&requested).unwrap() > 14 * GIB);
        let feasible = largest_feasible(&requested, 14 * GIB, peak);
        let frames = feasible.frames.unwrap();
        assert!(peak(&request(1920, 1088, frames)).unwrap() <= 14 * GIB);
        assert!(peak(&request(1920, 1088, frames + 8)).unwrap() > 14 * GIB);
        let (width, height) = feasible.size.unwrap();
        assert!(peak(&request(width, height, 241)).unwrap() <= 14 * GIB);
        // The transformer without its blocks alone takes more than 4 GiB.
        assert_eq!(largest_feasible(&requested, 4 * GIB, peak), FeasibleRequest::default());
    }
}
