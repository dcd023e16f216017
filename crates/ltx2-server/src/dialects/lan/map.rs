//! This API's words to and from the canonical ones.

use ltx2_store::{TaskRecord, TaskStatus};
use ltx2_types::{FieldError, GenerationRequest, GuidanceRequest, Limits, Rule, Task, ValidRequest, validate};
use uuid::Uuid;

use super::fields::Fields;
use super::wire::{Common, Settings, Steps, TaskBody, name_of};
use crate::error::Fault;
use crate::progress::fraction;

/// The request that `fields` ask for, or everything that is wrong with them.
pub(super) fn valid_request(mut fields: Fields, task: Task, limits: &Limits) -> Result<ValidRequest, Vec<Fault>> {
    let settings = Settings::read(&mut fields);
    let validated = validate(generation_request(settings, task), limits, random_seed);
    let broken = validated.as_ref().err().into_iter().flatten().map(|error| fault(error, &fields)).collect::<Vec<_>>();
    let mut faults = fields.faults;
    for fault in broken {
        // One setting here may stand for two there, and its fault is then found twice.
        if !faults.iter().any(|known| known.loc == fault.loc) {
            faults.push(fault);
        }
    }
    validated.ok().filter(|_| faults.is_empty()).ok_or(faults)
}

fn generation_request(settings: Settings, task: Task) -> GenerationRequest {
    let guidance =
        |cfg| GuidanceRequest { cfg, stg: settings.stg_scale_video, modality: settings.modality_scale, rescale: None };
    GenerationRequest {
        negative_prompt: settings.negative_prompt,
        pipeline: settings.pipeline,
        camera: settings.camera,
        width: settings.width,
        height: settings.height,
        num_frames: settings.num_frames,
        frame_rate: settings.frame_rate,
        num_inference_steps: settings.num_inference_steps,
        seed: settings.seed,
        video_guidance: guidance(settings.cfg_scale_video),
        audio_guidance: guidance(settings.cfg_scale_audio),
        ..GenerationRequest::new(task, settings.prompt)
    }
}

/// 32 bits, which every client can send back as a number.
fn random_seed() -> u64 {
    (Uuid::new_v4().as_u128() as u32).into()
}

fn fault(error: &FieldError, fields: &Fields) -> Fault {
    let name = name_of(error.field);
    let kind = match error.rule {
        Rule::Between(..) => "out_of_range",
        Rule::AtLeast(_) => "greater_than_equal",
        Rule::MultipleOf(_) => "multiple_of",
        Rule::Finite => "finite_number",
        Rule::AtMostCharacters(_) => "string_too_long",
        Rule::BelowFrames(_) => "less_than",
    };
    Fault::new(kind, Some(name), format!("{name} is {}, but {}", error.value, error.rule), fields.sent(name))
}

/// `record` as this API tells it; `base` is where its clients find this server.
pub(super) fn task_body(record: TaskRecord, base: &str) -> TaskBody {
    let common = Common { seed: record.request.map(|request| request.seed), created_at: record.created_at / 1000 };
    match record.status {
        TaskStatus::Queued { position } => {
            TaskBody::Processing { progress: 0.0, stage: "queued", steps: None, queue_position: Some(position), common }
        }
        TaskStatus::Running { progress } => TaskBody::Processing {
            progress: progress.map_or(0.0, fraction),
            stage: progress.map_or("starting", |progress| progress.phase.name()),
            steps: progress.map(|at| Steps { step: at.step, total_steps: at.total_steps }),
            queue_position: None,
            common,
        },
        TaskStatus::Completed(artifact) => TaskBody::Completed {
            url: format!("{base}/outputs/{}", artifact.file),
            pipeline: artifact.pipeline,
            common,
        },
        TaskStatus::Failed(failure) => TaskBody::Failed { error: failure.message, common: Some(common) },
    }
}
