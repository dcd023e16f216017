//! This API's words to and from the canonical ones.

use std::time::{SystemTime, UNIX_EPOCH};

use ltx2_store::{TaskRecord, TaskStatus};
use ltx2_types::{
    FieldError, GenerationRequest, GuidanceRequest, Limits, Progress, Rule, Task, ValidRequest, validate,
};
use uuid::Uuid;

use super::fields::Fields;
use super::wire::{Common, Place, Settings, Steps, TaskBody, Timings, name_of};
use crate::error::Fault;
use crate::progress::fraction;

/// What a client asked for, in the canonical words.
pub(super) struct Ask {
    pub(super) request: ValidRequest,
    pub(super) priority: i32,
    pub(super) webhook_url: Option<String>,
}

/// What `fields` ask for, or everything that is wrong with them.
pub(super) fn ask(mut fields: Fields, task: Task, limits: &Limits) -> Result<Ask, Vec<Fault>> {
    let mut settings = Settings::read(&mut fields);
    let (priority, webhook_url) = (settings.priority, settings.webhook_url.take());
    let validated = validate(generation_request(settings, task), limits, random_seed);
    let broken = validated.as_ref().err().into_iter().flatten().map(|error| fault(error, &fields)).collect::<Vec<_>>();
    let mut faults = fields.faults;
    for fault in broken {
        // One setting here may stand for two there, and its fault is then found twice.
        if !faults.iter().any(|known| known.loc == fault.loc) {
            faults.push(fault);
        }
    }
    let request = validated.ok().filter(|_| faults.is_empty()).ok_or(faults)?;
    Ok(Ask { request, priority, webhook_url })
}

fn generation_request(settings: Settings, task: Task) -> GenerationRequest {
    let guidance =
        |cfg| GuidanceRequest { cfg, stg: settings.stg_scale_video, modality: settings.modality_scale, rescale: None };
    GenerationRequest {
        enhance_prompt: settings.enhance_prompt,
        negative_prompt: settings.negative_prompt,
        pipeline: settings.pipeline,
        sampler: settings.sampler,
        loras: settings.loras,
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
    let name = name_of(error.field.name());
    let kind = match error.rule {
        Rule::Between(..) => "out_of_range",
        Rule::AtLeast(_) => "greater_than_equal",
        Rule::MultipleOf(_) => "multiple_of",
        Rule::Finite => "finite_number",
        Rule::AtMostCharacters(_) => "string_too_long",
        Rule::BelowFrames(_) => "less_than",
        Rule::Supported(_) => "not_supported",
    };
    Fault::new(kind, Some(name), format!("{name} is {}, but {}", error.value, error.rule), fields.sent(name))
}

/// `record` as this API tells it; `base` is where its clients find this server.
pub(super) fn task_body(record: TaskRecord, base: &str) -> TaskBody {
    let common = common(&record);
    match record.status {
        TaskStatus::Queued { .. } | TaskStatus::Running { .. } => {
            TaskBody::Processing { place: place(&record), common }
        }
        TaskStatus::Completed(artifact) => TaskBody::Completed {
            url: format!("{base}/outputs/{}", artifact.file),
            thumbnail_url: artifact.thumbnail.map(|file| format!("{base}/outputs/{file}")),
            pipeline: artifact.pipeline,
            enhanced_prompt: artifact.enhanced_prompt,
            progress: 1.0,
            common,
        },
        TaskStatus::Failed(failure) => TaskBody::Failed { error: failure.message, common: Some(common) },
    }
}

/// Where a task that has not ended stands.
pub(super) fn place(record: &TaskRecord) -> Place {
    let eta_seconds = eta(record);
    match record.status {
        TaskStatus::Running { progress } => Place { eta_seconds, ..running(progress, record.is_stopping) },
        TaskStatus::Queued { position } => {
            Place { progress: 0.0, stage: "queued", steps: None, queue_position: Some(position), eta_seconds }
        }
        TaskStatus::Completed(_) | TaskStatus::Failed(_) => running(None, false),
    }
}

/// Where a run stands that has come to `progress`.
pub(super) fn running(progress: Option<Progress>, is_stopping: bool) -> Place {
    let stage = if is_stopping { "stopping" } else { progress.map_or("starting", |progress| progress.phase.name()) };
    Place {
        progress: progress.map_or(0.0, fraction),
        stage,
        steps: progress.map(|at| Steps { step: at.step, total_steps: at.total_steps }),
        queue_position: None,
        eta_seconds: None,
    }
}

/// By the run's own progress once it has some, else by how long others took.
fn eta(record: &TaskRecord) -> Option<u64> {
    let progress = match record.status {
        TaskStatus::Running { progress } => progress.map_or(0.0, fraction),
        _ => 0.0,
    };
    let expected = match record.started_at {
        Some(started_at) if progress > 0.15 => (now() - started_at) as f64 * (1.0 - progress) / progress,
        _ => record.expected_ms? as f64,
    };
    Some((expected / 1000.0).ceil().max(0.0) as u64)
}

fn common(record: &TaskRecord) -> Common {
    let seconds = |from: i64, to: i64| (to - from).max(0) as f64 / 1000.0;
    let end = record.finished_at.unwrap_or_else(now);
    Common {
        task_id: record.id.to_string(),
        seed: record.request.as_ref().map(|request| request.seed),
        priority: record.priority,
        created_at: record.created_at / 1000,
        started_at: record.started_at.map(|at| at / 1000),
        finished_at: record.finished_at.map(|at| at / 1000),
        timings: Timings {
            queued: seconds(record.created_at, record.started_at.unwrap_or(end)),
            running: record.started_at.map(|started_at| seconds(started_at, end)),
        },
    }
}

/// UTC milliseconds.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
