//! Validation of a request against the limits of a deployment. All errors are reported at once.

mod source;

use std::fmt;

use crate::output_rules::check_output;
use crate::{
    Field, FieldError, FrameRate, GenerationRequest, Guidance, GuidanceRequest, ImageInput, Limits, OutputSpec, Rule,
    ValidRequest,
};

/// Checks `request` against `limits` and fills in defaults. `random_seed` draws the seed when the request has -1.
///
/// # Errors
/// Every field that breaks a rule.
pub fn validate(
    request: GenerationRequest,
    limits: &Limits,
    random_seed: impl FnOnce() -> u64,
) -> Result<ValidRequest, Vec<FieldError>> {
    let mut check = Checker { limits, errors: Vec::new() };
    let defaults = &limits.defaults;
    let sampling = limits.sampling(request.pipeline);
    let Dimensions { width, height, num_frames, frame_rate } = check.dimensions(&request);
    let num_inference_steps = check.count(
        Field::NumInferenceSteps,
        request.num_inference_steps,
        sampling.num_inference_steps,
        limits.max_steps,
    );
    let seed = match request.seed {
        None => defaults.seed,
        Some(-1) => random_seed(),
        Some(seed) => u64::try_from(seed).unwrap_or_else(|_| {
            check.reject(Field::Seed, seed, if seed < 0 { Rule::AtLeast(-1) } else { Rule::AtMost(u64::MAX) });
            0
        }),
    };
    check.text(Field::Prompt, &request.prompt);
    let negative_prompt = request.negative_prompt.clone().unwrap_or_else(|| defaults.negative_prompt.clone());
    check.text(Field::NegativePrompt, &negative_prompt);
    let video_guidance = check.guidance(VIDEO_FIELDS, request.video_guidance, &sampling.video_guidance);
    let audio_guidance = check.guidance(AUDIO_FIELDS, request.audio_guidance, &sampling.audio_guidance);
    request.task.images().iter().for_each(|image| check.image(image, num_frames));
    check.loras(&request);
    check.output(request.output, frame_rate);
    if !check.errors.is_empty() {
        return Err(check.errors);
    }
    Ok(ValidRequest {
        task: request.task,
        source: request.source,
        prompt: request.prompt,
        enhance_prompt: request.enhance_prompt,
        negative_prompt,
        pipeline: request.pipeline,
        sampler: request.sampler,
        loras: request.loras,
        camera: request.camera,
        width,
        height,
        num_frames,
        frame_rate,
        num_inference_steps,
        seed,
        video_guidance,
        audio_guidance,
        output: request.output,
        notes: request.notes,
    })
}

const VIDEO_FIELDS: [Field; 4] =
    [Field::CfgScaleVideo, Field::StgScaleVideo, Field::ModalityScaleVideo, Field::RescaleVideo];
const AUDIO_FIELDS: [Field; 4] =
    [Field::CfgScaleAudio, Field::StgScaleAudio, Field::ModalityScaleAudio, Field::RescaleAudio];

struct Checker<'a> {
    limits: &'a Limits,
    errors: Vec<FieldError>,
}

/// Size, length and rate of the result.
struct Dimensions {
    width: u32,
    height: u32,
    num_frames: u32,
    frame_rate: FrameRate,
}

impl Checker<'_> {
    /// Checks size, length and rate. Those of a source take the place of the defaults.
    fn dimensions(&mut self, request: &GenerationRequest) -> Dimensions {
        let defaults = &self.limits.defaults;
        let fallback = Dimensions {
            width: defaults.width,
            height: defaults.height,
            num_frames: defaults.num_frames,
            frame_rate: defaults.frame_rate,
        };
        match request.task.source() {
            Some((kind, _)) => self.source_dimensions(request, kind, fallback),
            None => self.requested_dimensions(request, fallback),
        }
    }

    /// Checks the requested size, length and rate. Omitted ones are those of `fallback`.
    fn requested_dimensions(&mut self, request: &GenerationRequest, fallback: Dimensions) -> Dimensions {
        let (slowest, fastest) = self.limits.frame_rate;
        Dimensions {
            width: self.size(Field::Width, request.width, fallback.width),
            height: self.size(Field::Height, request.height, fallback.height),
            num_frames: self.count(Field::NumFrames, request.num_frames, fallback.num_frames, self.limits.max_frames),
            frame_rate: request.frame_rate.map_or(fallback.frame_rate, |fps| {
                self.number(Field::FrameRate, fps, slowest, fastest);
                FrameRate::new(fps).unwrap_or(fallback.frame_rate)
            }),
        }
    }

    fn reject(&mut self, field: Field, value: impl fmt::Display, rule: Rule) {
        self.errors.push(FieldError::new(field, value, rule));
    }

    fn number(&mut self, field: Field, value: f64, low: f64, high: f64) {
        if !value.is_finite() {
            self.reject(field, value, Rule::Finite);
        } else if !(low..=high).contains(&value) {
            self.reject(field, value, Rule::Between(low, high));
        }
    }

    fn count(&mut self, field: Field, value: Option<i64>, default: u32, most: u32) -> u32 {
        let Some(value) = value else { return default };
        if !(1..=i64::from(most)).contains(&value) {
            self.reject(field, value, Rule::Between(1.0, f64::from(most)));
            return default;
        }
        value as u32
    }

    fn size(&mut self, field: Field, value: Option<i64>, default: u32) -> u32 {
        let Limits { size_multiple: multiple, min_size, max_size, .. } = *self.limits;
        let Some(value) = value else { return default };
        if !(i64::from(min_size)..=i64::from(max_size)).contains(&value) {
            self.reject(field, value, Rule::Between(f64::from(min_size), f64::from(max_size)));
            return default;
        }
        if value % i64::from(multiple) != 0 {
            self.reject(field, value, Rule::multiple_of(multiple, value as u32, (min_size, max_size)));
        }
        value as u32
    }

    fn text(&mut self, field: Field, text: &str) {
        let characters = text.chars().count();
        if characters > self.limits.max_prompt {
            self.reject(field, format!("{characters} characters long"), Rule::AtMostCharacters(self.limits.max_prompt));
        }
    }

    fn image(&mut self, image: &ImageInput, num_frames: u32) {
        self.number(Field::ImageStrength, image.strength, 0.0, 1.0);
        if image.frame >= num_frames {
            self.reject(Field::ImageFrame, image.frame, Rule::BelowFrames(num_frames));
        }
        if image.crf > 51 {
            self.reject(Field::ImageCrf, image.crf, Rule::Between(0.0, 51.0));
        }
    }

    fn output(&mut self, output: OutputSpec, frame_rate: FrameRate) {
        self.errors.extend(check_output(output, frame_rate, &self.limits.missing_encoders));
    }

    fn loras(&mut self, request: &GenerationRequest) {
        let highest = self.limits.max_lora_strength;
        if let Some(camera) = request.camera {
            self.number(Field::CameraStrength, camera.strength, 0.0, highest);
        }
        for lora in &request.loras {
            self.number(Field::LoraStrength, lora.strength, -highest, highest);
        }
    }

    fn guidance(&mut self, fields: [Field; 4], requested: GuidanceRequest, default: &Guidance) -> Guidance {
        let highest = self.limits.max_scale;
        let mut scale = |field, requested: Option<f64>, default, high| {
            let value = requested.unwrap_or(default);
            self.number(field, value, 0.0, high);
            value
        };
        Guidance {
            cfg: scale(fields[0], requested.cfg, default.cfg, highest),
            stg: scale(fields[1], requested.stg, default.stg, highest),
            modality: scale(fields[2], requested.modality, default.modality, highest),
            rescale: scale(fields[3], requested.rescale, default.rescale, 1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{InputRef, Pipeline, Task};

    fn request() -> GenerationRequest {
        GenerationRequest::new(Task::TextToVideo, "a fox")
    }

    #[test]
    fn omitted_fields_get_their_defaults() {
        let valid = validate(request(), &Limits::server(), || 7).unwrap();
        assert_eq!(ValidRequest { prompt: String::new(), ..valid }, Limits::server().defaults);
    }

    #[test]
    fn the_hq_pipeline_has_its_own_defaults() {
        let valid = |num_inference_steps| {
            let request = GenerationRequest { pipeline: Some(Pipeline::Hq), num_inference_steps, ..request() };
            validate(request, &Limits::server(), || 7).unwrap()
        };
        assert_eq!((valid(None).num_inference_steps, valid(None).video_guidance.stg), (15, 0.0));
        assert_eq!(valid(Some(4)).num_inference_steps, 4);
    }

    #[test]
    fn seed_minus_one_is_replaced_by_a_random_seed() {
        let request = GenerationRequest { seed: Some(-1), ..request() };
        assert_eq!(validate(request, &Limits::server(), || 7).unwrap().seed, 7);
    }

    #[test]
    fn seeds_have_64_bits_without_a_sign() {
        let seed = |seed| validate(GenerationRequest { seed: Some(seed), ..request() }, &Limits::server(), || 7);
        for valid in [0, 1 << 63, i128::from(u64::MAX)] {
            assert_eq!(i128::from(seed(valid).unwrap().seed), valid);
        }
        assert_eq!(
            seed(1 << 64).unwrap_err()[0].to_string(),
            "seed is 18446744073709551616, but it must be at most 18446744073709551615"
        );
    }

    #[test]
    fn the_nearest_multiples_are_within_the_bounds() {
        let rule = |value| Rule::multiple_of(64, value, (64, 4096)).to_string();
        assert_eq!(rule(100), "it must be a multiple of 64, such as 64 or 128");
        assert_eq!(rule(20), "it must be a multiple of 64, such as 64");
        assert_eq!(rule(4090), "it must be a multiple of 64, such as 4032 or 4096");
        assert_eq!(rule(u32::MAX), "it must be a multiple of 64");
    }

    #[test]
    fn all_field_errors_are_reported_at_once() {
        let request = GenerationRequest {
            task: Task::ImageToVideo {
                images: vec![ImageInput {
                    strength: f64::NAN,
                    ..ImageInput::first_frame(InputRef::Upload("x".into()))
                }],
            },
            width: Some(100),
            height: Some(0),
            num_frames: Some(-5),
            num_inference_steps: Some(0),
            frame_rate: Some(f64::INFINITY),
            seed: Some(-2),
            video_guidance: GuidanceRequest { cfg: Some(-1.0), ..Default::default() },
            audio_guidance: GuidanceRequest { rescale: Some(1.5), ..Default::default() },
            prompt: "x".repeat(20_001),
            ..request()
        };
        let errors = validate(request, &Limits::server(), || 7).unwrap_err();
        let text: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            text,
            [
                "width is 100, but it must be a multiple of 64, such as 64 or 128",
                "height is 0, but it must be between 64 and 4096",
                "num_frames is -5, but it must be between 1 and 1441",
                "frame_rate is inf, but it must be a finite number",
                "num_inference_steps is 0, but it must be between 1 and 200",
                "seed is -2, but it must be at least -1",
                "prompt is 20001 characters long, but it must have at most 20000 characters",
                "cfg_scale_video is -1, but it must be between 0 and 100",
                "rescale_audio is 1.5, but it must be between 0 and 1",
                "image_strength is NaN, but it must be a finite number",
            ]
        );
    }

    #[test]
    fn every_frame_count_within_the_limits_is_valid() {
        for frames in [1, 2, 8, 9, 10, 120, 1441] {
            let request = GenerationRequest { num_frames: Some(frames), ..request() };
            assert_eq!(i64::from(validate(request, &Limits::server(), || 7).unwrap().num_frames), frames);
        }
    }
}
