//! Plans of every task, pipeline and model generation, and refused requests.

use ltx2_models::upsampler::SpatialScale;
use ltx2_types::{
    AudioInfo, Camera, CameraMotion, ExtendTask, Field, FrameRate, ImageInput, InputRef, Limits, LoraInput, LoraSource,
    OutputSpec, Pipeline, RetakePart, Sampler, SourceInfo, Task, TimeWindow, ValidRequest, VariantArray, VideoInfo,
};

use super::{ModelCapabilities, Plan, plan_request};

fn model() -> ModelCapabilities {
    ModelCapabilities {
        version: "2.0".into(),
        num_layers: 48,
        distilled: false,
        upscaler: Some(SpatialScale::TWO),
        distilled_lora: Some("distilled.safetensors".into()),
        loras: vec!["loras/watercolour.safetensors".into()],
        unusable_loras: Vec::new(),
        camera_loras: vec![(CameraMotion::DollyIn, "camera-control-dolly-in.safetensors".into())],
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

fn upload(name: &str) -> InputRef {
    InputRef::Upload(name.into())
}

fn images() -> Vec<ImageInput> {
    let first = |name| ImageInput::first_frame(upload(name));
    vec![first("a"), ImageInput { frame: 16, strength: 0.5, ..first("b") }]
}

/// Compares the plan of every task in every pipeline of every generation with its snapshot.
#[test]
fn plans_equal_their_snapshots() {
    let tasks = [
        ("text", Task::TextToVideo),
        ("image", Task::ImageToVideo { images: images() }),
        ("keyframes", Task::Keyframes { images: images() }),
    ];
    for (name, task) in tasks {
        for (pipeline, version) in Pipeline::VARIANTS.iter().copied().flat_map(|of| [(of, "2.0"), (of, "2.3")]) {
            let request = ValidRequest { pipeline: Some(pipeline), ..request(task.clone()) };
            let plan = plan_request(&request, &ModelCapabilities { version: version.into(), ..model() }).unwrap();
            insta::assert_json_snapshot!(format!("{version}_{name}_{}", pipeline.name()), plan);
            let stored = serde_json::to_string(&plan).unwrap();
            assert_eq!(serde_json::from_str::<Plan>(&stored).unwrap(), plan);
        }
    }
}

#[test]
fn default_pipeline_depends_on_the_files() {
    let pipeline = |model: ModelCapabilities| plan_request(&request(Task::TextToVideo), &model).unwrap().pipeline;
    assert_eq!(pipeline(model()), Pipeline::TwoStage);
    assert_eq!(pipeline(ModelCapabilities { distilled_lora: None, ..model() }), Pipeline::OneStage);
    assert_eq!(pipeline(ModelCapabilities { upscaler: None, ..model() }), Pipeline::OneStage);
    assert_eq!(pipeline(ModelCapabilities { distilled: true, ..model() }), Pipeline::Distilled);
}

#[test]
fn a_camera_motion_is_a_lora_in_every_stage() {
    let plan = |motion| {
        let camera = Some(Camera { motion, strength: 1.2 });
        plan_request(&ValidRequest { camera, ..request(Task::TextToVideo) }, &model())
    };
    let stages = plan(CameraMotion::DollyIn).unwrap().stages;
    let strengths: Vec<Vec<f64>> =
        stages.iter().map(|stage| stage.loras.iter().map(|lora| lora.strength).collect()).collect();
    assert_eq!(strengths, [vec![1.2], vec![1.2, 1.0]]);
    let error = plan(CameraMotion::JibUp).unwrap_err().to_string();
    assert_eq!(error, "camera is jib_up, but the model set has no LoRA named like camera-control-jib-up.safetensors");
}

#[test]
fn a_lora_is_found_by_its_name() {
    let plan = |name: &str| {
        let loras = vec![LoraInput { source: LoraSource::Name(name.into()), strength: 0.5 }];
        plan_request(&ValidRequest { loras, ..request(Task::TextToVideo) }, &model())
    };
    let first = plan("watercolour").unwrap().stages[0].loras[0].clone();
    assert_eq!((first.file.to_str(), first.strength), (Some("loras/watercolour.safetensors"), 0.5));
    let error = plan("../secrets").unwrap_err();
    assert_eq!(error.field, Field::Lora);
    assert_eq!(
        error.to_string(),
        "lora is \"../secrets\", but the model set has none of that name; it has watercolour"
    );
    let unusable = vec![("loras/lokr.safetensors".into(), "it is no LoRA".into())];
    let twice = vec!["m/ink.safetensors".into(), "m/loras/ink.safetensors".into()];
    let model = ModelCapabilities { unusable_loras: unusable, loras: twice, ..model() };
    let plan = |name: &str| {
        let loras = vec![LoraInput { source: LoraSource::Name(name.into()), strength: 0.5 }];
        plan_request(&ValidRequest { loras, ..request(Task::TextToVideo) }, &model)
    };
    let error = plan("lokr").unwrap_err().to_string();
    assert_eq!(error, "lora is \"lokr\", but loras/lokr.safetensors cannot be used: it is no LoRA");
    let file = |name: &str| plan(name).unwrap().stages[0].loras[0].file.clone();
    assert_eq!([file("ink"), file("loras/ink")].to_vec(), model.loras);
}

#[test]
fn missing_files_and_unsupported_sizes_are_named() {
    let error = |pipeline, model: ModelCapabilities, width| {
        let request = ValidRequest { pipeline: Some(pipeline), width, ..request(Task::TextToVideo) };
        plan_request(&request, &model).unwrap_err()
    };
    let without_lora = error(Pipeline::TwoStage, ModelCapabilities { distilled_lora: None, ..model() }, 768);
    assert_eq!(without_lora.field, Field::Pipeline);
    assert!(without_lora.to_string().contains("no distilled LoRA"));
    let without_upscaler = error(Pipeline::TwoStage, ModelCapabilities { upscaler: None, ..model() }, 768);
    assert!(without_upscaler.to_string().contains("no spatial upscaler"));
    let too_narrow = error(Pipeline::TwoStage, model(), 96);
    assert_eq!(too_narrow.field, Field::Width);
    assert!(too_narrow.to_string().contains("width is 96, but it must be a multiple of 64"));
}

#[test]
fn first_stage_is_smaller_by_the_scale_of_the_upscaler() {
    let upscaler = Some(SpatialScale { numerator: 3, denominator: 2 });
    let plan = |width, height| {
        let request = ValidRequest { width, height, ..request(Task::TextToVideo) };
        plan_request(&request, &ModelCapabilities { upscaler, ..model() })
    };
    let shapes = plan(768, 480).unwrap().stages.into_iter().map(|stage| (stage.shape.width, stage.shape.height));
    assert_eq!(shapes.collect::<Vec<_>>(), [(512, 320), (768, 480)]);
    let error = plan(768, 512).unwrap_err().to_string();
    assert!(error.contains("height is 512, but it must be a multiple of 96 for two stages"), "{error}");
}

#[test]
fn an_unknown_generation_is_refused() {
    let model = ModelCapabilities { version: "9.1".into(), ..model() };
    let error = plan_request(&Limits::server().defaults, &model).unwrap_err();
    assert_eq!(error.field, Field::ModelVersion);
    assert_eq!(error.to_string(), "model_version is 9.1, but only 2.0 and 2.3 are supported");
}

/// A request for a task whose source has 60 frames of 100x60 pixels and two seconds of audio.
fn editing_request(task: Task) -> ValidRequest {
    let frame_rate = FrameRate::new(30.0).unwrap();
    let video = VideoInfo { width: 100, height: 60, num_frames: 60, frame_rate };
    let audio = AudioInfo { sample_rate: 44100, seconds: 2.0 };
    let source = Some(SourceInfo { video: Some(video), audio: Some(audio) });
    ValidRequest { source, width: 100, height: 60, num_frames: 60, frame_rate, ..request(task) }
}

#[test]
fn plans_of_editing_tasks_equal_their_snapshots() {
    let retake = |part| Task::Retake { video: upload("clip"), window: TimeWindow { start: 0.5, end: 1.0 }, part };
    let tasks = [
        ("extend", Task::Extend(ExtendTask::new(upload("clip")))),
        ("retake", retake(RetakePart::Both)),
        ("retake_video", retake(RetakePart::Video)),
        ("retake_audio", retake(RetakePart::Audio)),
        ("video_to_video", Task::VideoToVideo { video: upload("clip"), strength: 0.5 }),
    ];
    for (name, task) in tasks {
        for distilled in [false, true] {
            let plan =
                plan_request(&editing_request(task.clone()), &ModelCapabilities { distilled, ..model() }).unwrap();
            let pipeline = if distilled { "distilled" } else { "one-stage" };
            insta::assert_json_snapshot!(format!("2.0_{name}_{pipeline}"), plan);
        }
    }
    let audio = Task::AudioToVideo { audio: upload("song"), images: images() };
    let request = ValidRequest { width: 128, height: 64, ..editing_request(audio) };
    insta::assert_json_snapshot!("2.0_audio_to_video_two-stage", plan_request(&request, &model()).unwrap());
}

#[test]
fn a_task_on_a_video_has_one_stage() {
    let task = Task::Extend(ExtendTask::new(upload("clip")));
    let request = ValidRequest { pipeline: Some(Pipeline::TwoStage), ..editing_request(task) };
    let error = plan_request(&request, &model()).unwrap_err();
    assert_eq!(error.field, Field::Pipeline);
}

#[test]
fn keyframes_count_as_tokens_in_every_stage() {
    let tokens = |task| {
        let plan = plan_request(&request(task), &model()).unwrap();
        plan.stages.iter().map(|stage| (stage.tokens.video, stage.tokens.audio)).collect::<Vec<_>>()
    };
    // 25 frames are 4 latent frames of 12x8 tokens in the first stage and 24x16 in the second.
    assert_eq!(tokens(Task::TextToVideo), [(384, 26), (1536, 26)]);
    assert_eq!(tokens(Task::Keyframes { images: images() }), [(384 + 2 * 96, 26), (1536 + 2 * 384, 26)]);
    assert_eq!(tokens(Task::ImageToVideo { images: images() }), [(384 + 96, 26), (1536 + 384, 26)]);
}

#[test]
fn a_keyframe_after_the_last_frame_is_refused() {
    let images = vec![ImageInput { frame: 20, ..ImageInput::first_frame(upload("a")) }];
    let error = plan_request(&request(Task::Keyframes { images }), &model()).unwrap_err();
    assert_eq!(error.to_string(), "image_frame is 20, but it must be below the number of frames, 20");
}

#[test]
fn summary_counts_passes_of_guidance_and_sampler() {
    let plan = |pipeline, sampler| {
        let request = ValidRequest { pipeline: Some(pipeline), sampler, ..request(Task::TextToVideo) };
        plan_request(&request, &model()).unwrap()
    };
    let work = |plan: &Plan| plan.summary().stages.iter().map(|stage| (stage.steps, stage.passes)).collect::<Vec<_>>();
    // Full guidance takes four passes; the second-order sampler predicts twice per step.
    let two_stage = plan(Pipeline::TwoStage, None);
    assert_eq!(work(&two_stage), [(2, 4), (3, 1)]);
    assert_eq!(work(&plan(Pipeline::TwoStage, Some(Sampler::Res2s))), [(2, 8), (3, 2)]);
    assert_eq!(work(&plan(Pipeline::Distilled, None)), [(8, 1), (3, 1)]);
    assert_eq!(two_stage.cost(), (384 + 26) * 2 * 4 + (1536 + 26) * 3);
    let first = two_stage.summary().stages[0];
    assert_eq!((first.width, first.height, first.num_frames), (384, 256, 25));
    assert_eq!((first.video_tokens, first.audio_tokens), (384, 26));
}

#[test]
fn audio_of_the_result_follows_the_request() {
    let audio = |audio| {
        let output = OutputSpec { audio, ..OutputSpec::default() };
        plan_request(&ValidRequest { output, ..request(Task::TextToVideo) }, &model()).unwrap().output.audio_stage
    };
    assert_eq!((audio(true), audio(false)), (Some(0), None));
}

#[test]
fn audio_is_that_of_the_guided_stage_except_between_keyframes() {
    let audio_stage = |task, pipeline| {
        let request = ValidRequest { pipeline: Some(pipeline), ..request(task) };
        plan_request(&request, &model()).unwrap().output.audio_stage
    };
    let keyframes = || Task::Keyframes { images: images() };
    for (task, pipeline, stage) in [
        (Task::TextToVideo, Pipeline::OneStage, 0),
        (Task::TextToVideo, Pipeline::TwoStage, 0),
        (Task::ImageToVideo { images: images() }, Pipeline::TwoStage, 0),
        (Task::TextToVideo, Pipeline::Hq, 0),
        (keyframes(), Pipeline::TwoStage, 1),
        (Task::TextToVideo, Pipeline::Distilled, 1),
    ] {
        assert_eq!(audio_stage(task, pipeline), Some(stage), "{pipeline:?}");
    }
}
