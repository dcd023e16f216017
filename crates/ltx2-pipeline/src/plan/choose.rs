//! From a valid request to a plan. The only place that asks which kind of task it is.

use std::path::PathBuf;

use ltx2_models::upsampler::SpatialScale;
use ltx2_types::{CameraMotion, ImageInput, InputId, Pipeline, Task, ValidRequest};

use super::defaults::{Generation, TILING};
use super::stages::Stages;
use super::{ItemPlan, OutputPlan, Plan};
use crate::PipelineError;
use crate::diffusion::patchifier::PixelShape;

/// What planning has to know of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFacts {
    /// `model_version` of the checkpoint.
    pub version: String,
    /// Blocks of the transformer.
    pub num_layers: usize,
    /// Whether the checkpoint is a distilled one.
    pub distilled: bool,
    /// How much larger the spatial upscaler makes height and width, if there is one.
    pub upscaler: Option<SpatialScale>,
    /// The LoRA that distils the second stage.
    pub distilled_lora: Option<PathBuf>,
    /// All LoRAs, which can be asked for by their names.
    pub loras: Vec<PathBuf>,
    /// LoRAs for camera motions.
    pub camera_loras: Vec<(CameraMotion, PathBuf)>,
}

impl ModelFacts {
    /// The best pipeline that the files allow.
    fn default_pipeline(&self) -> Pipeline {
        match (self.distilled, self.upscaler.is_some(), &self.distilled_lora) {
            (true, _, _) => Pipeline::Distilled,
            (false, true, Some(_)) => Pipeline::TwoStage,
            _ => Pipeline::OneStage,
        }
    }
}

/// The plan for `request`.
pub fn choose(request: &ValidRequest, model: &ModelFacts) -> Result<Plan, PipelineError> {
    let generation = Generation::of(&model.version).ok_or_else(|| {
        let supported = Generation::versions();
        PipelineError::Request(format!("model_version is {}, but only {supported} are supported", model.version))
    })?;
    let shape = PixelShape {
        frames: generated_frames(request.num_frames),
        height: request.height as usize,
        width: request.width as usize,
        frame_rate: request.frame_rate.as_f64(),
    };
    let ids = (0..).map(InputId);
    let items = match &request.task {
        Task::TextToVideo => Vec::new(),
        Task::ImageToVideo { images } => ids.zip(images).map(|(id, image)| image_item(id, image)).collect(),
        Task::Keyframes { images } => ids.zip(images).map(|(id, image)| keyframe_item(id, image)).collect(),
        Task::Extend { .. } => return Err(unsupported("extend")),
        Task::Retake { .. } => return Err(unsupported("retake")),
        Task::AudioToVideo { .. } => return Err(unsupported("audio-to-video")),
        Task::VideoToVideo { .. } => return Err(unsupported("video-to-video")),
    };
    let pipeline = request.pipeline.unwrap_or_else(|| model.default_pipeline());
    let stages = Stages { request, model, generation, shape, items }.of(pipeline)?;
    let needs_negative =
        stages.iter().any(|stage| stage.video.guidance.needs_negative() || stage.audio.guidance.needs_negative());
    Ok(Plan {
        model: model.version.clone(),
        pipeline,
        prompt: request.prompt.clone(),
        enhance_prompt: request.enhance_prompt,
        negative_prompt: needs_negative.then(|| request.negative_prompt.clone()),
        seed: request.seed,
        stages,
        output: OutputPlan {
            num_frames: request.num_frames as usize,
            frame_rate: request.frame_rate,
            // The official one-stage pipeline decodes at once.
            tiling: (pipeline != Pipeline::OneStage).then_some(TILING),
        },
    })
}

fn unsupported(task: &str) -> PipelineError {
    PipelineError::Request(format!("task is {task}, but it is not supported yet"))
}

/// A picture at the first frame takes its latent's place; elsewhere it is a keyframe.
fn image_item(id: InputId, input: &ImageInput) -> ItemPlan {
    match input.frame {
        0 => ItemPlan::ReplaceLatent { input: id, crf: input.crf, latent_index: 0, strength: input.strength },
        _ => keyframe_item(id, input),
    }
}

fn keyframe_item(id: InputId, input: &ImageInput) -> ItemPlan {
    ItemPlan::Keyframe { input: id, crf: input.crf, frame: input.frame as usize, strength: input.strength }
}

/// The next count of frames that the autoencoder can make: 8k + 1.
fn generated_frames(num_frames: u32) -> usize {
    (num_frames.max(1) as usize - 1).next_multiple_of(8) + 1
}

#[cfg(test)]
mod tests {
    use ltx2_types::{Camera, FrameRate, InputRef, Limits, LoraInput, LoraSource, VariantArray};

    use super::*;

    fn model() -> ModelFacts {
        ModelFacts {
            version: "2.0".into(),
            num_layers: 48,
            distilled: false,
            upscaler: Some(SpatialScale::TWO),
            distilled_lora: Some("distilled.safetensors".into()),
            loras: vec!["loras/watercolour.safetensors".into()],
            camera_loras: vec![(CameraMotion::DollyIn, "camera-control-dolly-in.safetensors".into())],
        }
    }

    #[test]
    fn any_frame_count_is_made_at_the_next_8k_plus_1() {
        for (asked, made) in [(1, 1), (2, 9), (9, 9), (10, 17), (120, 121), (121, 121)] {
            assert_eq!(generated_frames(asked), made);
        }
    }

    fn request(task: Task) -> ValidRequest {
        ValidRequest {
            task,
            prompt: "a fox".into(),
            negative_prompt: "blur".into(),
            num_frames: 20,
            num_inference_steps: 2,
            frame_rate: FrameRate::new(24.0).unwrap(),
            ..Limits::server().defaults
        }
    }

    fn first(name: &str) -> ImageInput {
        ImageInput::first_frame(InputRef::Upload(name.into()))
    }

    fn pictures() -> Vec<ImageInput> {
        vec![first("a"), ImageInput { frame: 16, strength: 0.5, ..first("b") }]
    }

    /// Every task in every pipeline for every generation, against the stored plans.
    #[test]
    fn plans_are_as_stored() {
        let tasks = [
            ("text", Task::TextToVideo),
            ("image", Task::ImageToVideo { images: pictures() }),
            ("keyframes", Task::Keyframes { images: pictures() }),
        ];
        for (name, task) in tasks {
            for (pipeline, version) in Pipeline::VARIANTS.iter().copied().flat_map(|of| [(of, "2.0"), (of, "2.3")]) {
                let request = ValidRequest { pipeline: Some(pipeline), ..request(task.clone()) };
                let plan = choose(&request, &ModelFacts { version: version.into(), ..model() }).unwrap();
                insta::assert_json_snapshot!(format!("{version}_{name}_{}", pipeline.name()), plan);
            }
        }
    }

    #[test]
    fn the_files_decide_where_the_request_does_not() {
        let pipeline = |facts: ModelFacts| choose(&request(Task::TextToVideo), &facts).unwrap().pipeline;
        assert_eq!(pipeline(model()), Pipeline::TwoStage);
        assert_eq!(pipeline(ModelFacts { distilled_lora: None, ..model() }), Pipeline::OneStage);
        assert_eq!(pipeline(ModelFacts { upscaler: None, ..model() }), Pipeline::OneStage);
        assert_eq!(pipeline(ModelFacts { distilled: true, ..model() }), Pipeline::Distilled);
    }

    #[test]
    fn a_camera_motion_is_an_adapter_in_every_stage() {
        let plan = |motion| {
            let camera = Some(Camera { motion, strength: 1.2 });
            choose(&ValidRequest { camera, ..request(Task::TextToVideo) }, &model())
        };
        let stages = plan(CameraMotion::DollyIn).unwrap().stages;
        let strengths: Vec<Vec<f64>> =
            stages.iter().map(|stage| stage.loras.iter().map(|lora| lora.strength).collect()).collect();
        assert_eq!(strengths, [vec![1.2], vec![1.2, 1.0]]);
        let error = plan(CameraMotion::JibUp).unwrap_err().to_string();
        assert_eq!(
            error,
            "camera is jib_up, but the model set has no LoRA named like camera-control-jib-up.safetensors"
        );
    }

    #[test]
    fn an_adapter_is_found_by_its_name() {
        let plan = |name: &str| {
            let loras = vec![LoraInput { source: LoraSource::Name(name.into()), strength: 0.5 }];
            choose(&ValidRequest { loras, ..request(Task::TextToVideo) }, &model())
        };
        let first = plan("watercolour").unwrap().stages[0].loras[0].clone();
        assert_eq!((first.file.to_str(), first.strength), (Some("loras/watercolour.safetensors"), 0.5));
        let error = plan("../secrets").unwrap_err().to_string();
        assert_eq!(error, "lora is \"../secrets\", but the model set has none of that name; it has watercolour");
    }

    #[test]
    fn what_the_files_lack_is_named() {
        let error = |pipeline, facts: ModelFacts, width| {
            let request = ValidRequest { pipeline: Some(pipeline), width, ..request(Task::TextToVideo) };
            choose(&request, &facts).unwrap_err().to_string()
        };
        let without_lora = ModelFacts { distilled_lora: None, ..model() };
        let without_upscaler = ModelFacts { upscaler: None, ..model() };
        assert!(error(Pipeline::TwoStage, without_lora, 768).contains("no distilled LoRA"));
        assert!(error(Pipeline::TwoStage, without_upscaler, 768).contains("no spatial upscaler"));
        assert!(error(Pipeline::TwoStage, model(), 96).contains("width is 96, but it must be a multiple of 64"));
    }

    #[test]
    fn the_first_stage_is_smaller_by_the_upscaler_s_scale() {
        let upscaler = Some(SpatialScale { numerator: 3, denominator: 2 });
        let plan = |width, height| {
            let request = ValidRequest { width, height, ..request(Task::TextToVideo) };
            choose(&request, &ModelFacts { upscaler, ..model() })
        };
        let shapes = plan(768, 480).unwrap().stages.into_iter().map(|stage| (stage.shape.width, stage.shape.height));
        assert_eq!(shapes.collect::<Vec<_>>(), [(512, 320), (768, 480)]);
        let error = plan(768, 512).unwrap_err().to_string();
        assert!(error.contains("height is 512, but it must be a multiple of 96 for two stages"), "{error}");
    }

    #[test]
    fn an_unknown_generation_is_refused() {
        let facts = ModelFacts { version: "9.1".into(), ..model() };
        let error = choose(&Limits::server().defaults, &facts).unwrap_err();
        assert_eq!(error.to_string(), "model_version is 9.1, but only 2.0 and 2.3 are supported");
    }
}
