//! Request + limits → a request in which nothing is left to decide. All faults are reported at once.

use std::fmt;

use crate::{FrameRate, GenerationRequest, Guidance, GuidanceRequest, Pipeline, Task, ValidRequest};

/// What a deployment accepts, and what it takes for granted where the caller says nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Width and height are multiples of this.
    pub size_multiple: u32,
    /// Smallest width or height, pixels: the decoder mirrors at the edges, which takes two latent cells of 32.
    pub min_size: u32,
    /// Largest width or height, pixels.
    pub max_size: u32,
    /// Most pictures in a result.
    pub max_frames: u32,
    /// Most denoising steps.
    pub max_steps: u32,
    /// Lowest and highest frame rate.
    pub frame_rate: (f64, f64),
    /// Largest guidance scale.
    pub max_scale: f64,
    /// Largest strength of a LoRA, either way.
    pub max_lora_strength: f64,
    /// Longest prompt, characters.
    pub max_prompt: usize,
    /// Taken where the request is silent.
    pub defaults: ValidRequest,
    /// Taken instead with [`Pipeline::Hq`], whose steps are second-order.
    pub hq: SamplingDefaults,
}

/// Steps and guidance where the request is silent.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplingDefaults {
    /// Denoising steps.
    pub num_inference_steps: u32,
    /// Guidance of the picture.
    pub video_guidance: Guidance,
    /// Guidance of the sound.
    pub audio_guidance: Guidance,
}

impl Limits {
    /// The server's own API: multiples of 64, and the defaults of its page.
    pub fn server() -> Self {
        Self {
            size_multiple: 64,
            min_size: 64,
            max_size: 4096,
            max_frames: 1441,
            max_steps: 200,
            frame_rate: (1.0, 120.0),
            max_scale: 100.0,
            max_lora_strength: 2.0,
            max_prompt: 20_000,
            defaults: ValidRequest {
                task: Task::TextToVideo,
                prompt: String::new(),
                enhance_prompt: false,
                negative_prompt: DEFAULT_NEGATIVE_PROMPT.into(),
                pipeline: None,
                sampler: None,
                loras: Vec::new(),
                camera: None,
                width: 768,
                height: 512,
                num_frames: 121,
                frame_rate: FrameRate::new(25.0).expect("a positive rate"),
                num_inference_steps: 40,
                seed: 42,
                video_guidance: Guidance { cfg: 3.0, stg: 1.0, modality: 3.0, rescale: 0.7 },
                audio_guidance: Guidance { cfg: 7.0, stg: 1.0, modality: 3.0, rescale: 0.7 },
            },
            hq: SamplingDefaults {
                num_inference_steps: 15,
                video_guidance: Guidance { cfg: 3.0, stg: 0.0, modality: 3.0, rescale: 0.45 },
                audio_guidance: Guidance { cfg: 7.0, stg: 0.0, modality: 3.0, rescale: 1.0 },
            },
        }
    }

    /// Steps and guidance of `pipeline` where the request is silent.
    fn sampling(&self, pipeline: Option<Pipeline>) -> SamplingDefaults {
        match pipeline {
            Some(Pipeline::Hq) => self.hq.clone(),
            _ => SamplingDefaults {
                num_inference_steps: self.defaults.num_inference_steps,
                video_guidance: self.defaults.video_guidance.clone(),
                audio_guidance: self.defaults.audio_guidance.clone(),
            },
        }
    }

    /// The command line: multiples of 32, which one-stage generation can do.
    pub fn command_line() -> Self {
        Self { size_multiple: 32, ..Self::server() }
    }
}

/// What generation steers away from when the request says nothing.
pub const DEFAULT_NEGATIVE_PROMPT: &str = "blurry, out of focus, low contrast, noise, flicker, jitter, motion smear, \
warped anatomy, extra limbs, duplicated objects, unreadable text, watermark, muffled or robotic voice, echo, \
background hiss, sound out of step with the lips";

/// One thing that is wrong with a request.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldError {
    /// The request's field, as in [`GenerationRequest`].
    pub field: &'static str,
    /// What was sent, as text.
    pub value: String,
    /// What it breaks.
    pub rule: Rule,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}, but {}", self.field, self.value, self.rule)
    }
}

/// The rules that a field can break.
#[derive(Debug, Clone, PartialEq)]
pub enum Rule {
    /// Must lie between the two, ends included.
    Between(f64, f64),
    /// Must not be below this.
    AtLeast(i64),
    /// Must be a multiple.
    MultipleOf(u32),
    /// Must be an ordinary number.
    Finite,
    /// Must have at most this many characters.
    AtMostCharacters(usize),
    /// Must be below the number of frames.
    BelowFrames(u32),
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Between(low, high) => write!(f, "it must be between {low} and {high}"),
            Self::AtLeast(low) => write!(f, "it must be at least {low}"),
            Self::MultipleOf(n) => write!(f, "it must be a multiple of {n}"),
            Self::Finite => f.write_str("it must be a finite number"),
            Self::AtMostCharacters(n) => write!(f, "it must have at most {n} characters"),
            Self::BelowFrames(n) => write!(f, "it must be below the number of frames, {n}"),
        }
    }
}

/// Checks `request` against `limits` and fixes what it leaves open. `random_seed` is asked when the seed is -1.
pub fn validate(
    request: GenerationRequest,
    limits: &Limits,
    random_seed: impl FnOnce() -> u64,
) -> Result<ValidRequest, Vec<FieldError>> {
    let mut check = Checker { limits, errors: Vec::new() };
    let defaults = &limits.defaults;
    let sampling = limits.sampling(request.pipeline);
    let width = check.size("width", request.width, defaults.width);
    let height = check.size("height", request.height, defaults.height);
    let num_frames = check.count("num_frames", request.num_frames, defaults.num_frames, limits.max_frames);
    let num_inference_steps =
        check.count("num_inference_steps", request.num_inference_steps, sampling.num_inference_steps, limits.max_steps);
    let frame_rate = request.frame_rate.map_or(defaults.frame_rate, |fps| {
        check.number("frame_rate", fps, limits.frame_rate.0, limits.frame_rate.1);
        FrameRate::new(fps).unwrap_or(defaults.frame_rate)
    });
    let seed = match request.seed {
        None => defaults.seed,
        Some(-1) => random_seed(),
        Some(seed) => u64::try_from(seed).unwrap_or_else(|_| {
            check.reject("seed", seed, Rule::AtLeast(-1));
            0
        }),
    };
    check.text("prompt", &request.prompt);
    let negative_prompt = request.negative_prompt.unwrap_or_else(|| defaults.negative_prompt.clone());
    check.text("negative_prompt", &negative_prompt);
    let video_guidance = check.guidance(VIDEO_FIELDS, request.video_guidance, &sampling.video_guidance);
    let audio_guidance = check.guidance(AUDIO_FIELDS, request.audio_guidance, &sampling.audio_guidance);
    for image in request.task.images() {
        check.number("image_strength", image.strength, 0.0, 1.0);
        if image.frame >= num_frames {
            check.reject("image_frame", image.frame, Rule::BelowFrames(num_frames));
        }
        if image.crf > 51 {
            check.reject("image_crf", image.crf, Rule::Between(0.0, 51.0));
        }
    }
    if let Some(camera) = request.camera {
        check.number("camera_strength", camera.strength, 0.0, limits.max_lora_strength);
    }
    for lora in &request.loras {
        check.number("lora_strength", lora.strength, -limits.max_lora_strength, limits.max_lora_strength);
    }
    if !check.errors.is_empty() {
        return Err(check.errors);
    }
    Ok(ValidRequest {
        task: request.task,
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
    })
}

const VIDEO_FIELDS: [&str; 4] = ["cfg_scale_video", "stg_scale_video", "modality_scale_video", "rescale_video"];
const AUDIO_FIELDS: [&str; 4] = ["cfg_scale_audio", "stg_scale_audio", "modality_scale_audio", "rescale_audio"];

struct Checker<'a> {
    limits: &'a Limits,
    errors: Vec<FieldError>,
}

impl Checker<'_> {
    fn reject(&mut self, field: &'static str, value: impl fmt::Display, rule: Rule) {
        self.errors.push(FieldError { field, value: value.to_string(), rule });
    }

    fn number(&mut self, field: &'static str, value: f64, low: f64, high: f64) {
        if !value.is_finite() {
            self.reject(field, value, Rule::Finite);
        } else if !(low..=high).contains(&value) {
            self.reject(field, value, Rule::Between(low, high));
        }
    }

    fn count(&mut self, field: &'static str, value: Option<i64>, default: u32, most: u32) -> u32 {
        let Some(value) = value else { return default };
        if !(1..=i64::from(most)).contains(&value) {
            self.reject(field, value, Rule::Between(1.0, f64::from(most)));
            return default;
        }
        value as u32
    }

    fn size(&mut self, field: &'static str, value: Option<i64>, default: u32) -> u32 {
        let Limits { size_multiple: multiple, min_size, max_size, .. } = *self.limits;
        let Some(value) = value else { return default };
        if !(i64::from(min_size)..=i64::from(max_size)).contains(&value) {
            self.reject(field, value, Rule::Between(f64::from(min_size), f64::from(max_size)));
            return default;
        }
        if value % i64::from(multiple) != 0 {
            self.reject(field, value, Rule::MultipleOf(multiple));
        }
        value as u32
    }

    fn text(&mut self, field: &'static str, text: &str) {
        let characters = text.chars().count();
        if characters > self.limits.max_prompt {
            self.reject(field, format!("{characters} characters long"), Rule::AtMostCharacters(self.limits.max_prompt));
        }
    }

    fn guidance(&mut self, fields: [&'static str; 4], asked: GuidanceRequest, default: &Guidance) -> Guidance {
        let highest = self.limits.max_scale;
        let mut scale = |field, asked: Option<f64>, default, high| {
            let value = asked.unwrap_or(default);
            self.number(field, value, 0.0, high);
            value
        };
        Guidance {
            cfg: scale(fields[0], asked.cfg, default.cfg, highest),
            stg: scale(fields[1], asked.stg, default.stg, highest),
            modality: scale(fields[2], asked.modality, default.modality, highest),
            rescale: scale(fields[3], asked.rescale, default.rescale, 1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ImageInput;

    fn ask() -> GenerationRequest {
        GenerationRequest::new(Task::TextToVideo, "a fox")
    }

    #[test]
    fn silence_means_the_defaults() {
        let valid = validate(ask(), &Limits::server(), || 7).unwrap();
        assert_eq!(ValidRequest { prompt: String::new(), ..valid }, Limits::server().defaults);
    }

    #[test]
    fn the_second_order_pipeline_has_defaults_of_its_own() {
        let valid = |num_inference_steps| {
            let request = GenerationRequest { pipeline: Some(Pipeline::Hq), num_inference_steps, ..ask() };
            validate(request, &Limits::server(), || 7).unwrap()
        };
        assert_eq!((valid(None).num_inference_steps, valid(None).video_guidance.stg), (15, 0.0));
        assert_eq!(valid(Some(4)).num_inference_steps, 4);
    }

    #[test]
    fn minus_one_draws_a_seed() {
        let request = GenerationRequest { seed: Some(-1), ..ask() };
        assert_eq!(validate(request, &Limits::server(), || 7).unwrap().seed, 7);
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let request = GenerationRequest {
            task: Task::ImageToVideo {
                images: vec![ImageInput { strength: f64::NAN, ..ImageInput::first_frame("x") }],
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
            ..ask()
        };
        let errors = validate(request, &Limits::server(), || 7).unwrap_err();
        let text: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            text,
            [
                "width is 100, but it must be a multiple of 64",
                "height is 0, but it must be between 64 and 4096",
                "num_frames is -5, but it must be between 1 and 1441",
                "num_inference_steps is 0, but it must be between 1 and 200",
                "frame_rate is inf, but it must be a finite number",
                "seed is -2, but it must be at least -1",
                "prompt is 20001 characters long, but it must have at most 20000 characters",
                "cfg_scale_video is -1, but it must be between 0 and 100",
                "rescale_audio is 1.5, but it must be between 0 and 1",
                "image_strength is NaN, but it must be a finite number",
            ]
        );
    }

    #[test]
    fn any_frame_count_is_fine() {
        for frames in [1, 2, 8, 9, 10, 120, 1441] {
            let request = GenerationRequest { num_frames: Some(frames), ..ask() };
            assert_eq!(i64::from(validate(request, &Limits::server(), || 7).unwrap().num_frames), frames);
        }
    }
}
