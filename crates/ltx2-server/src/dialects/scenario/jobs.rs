//! Tasks as Scenario's jobs.

use jiff::Timestamp;
use ltx2_store::{TaskRecord, TaskState, TaskStatus};
use ltx2_types::{FailureCode, OutputRole, Phase, ValidRequest};
use serde_json::{Map, Value, json};

use super::wire::{Billing, Job, JobMetadata, JobResponse, JobStatus, StatusChange};
use crate::service::{eta_seconds, fraction};

/// Owner of a task without an API key.
const ANYONE: &str = "local";

/// Returns the response for `record`.
pub(super) fn job_response(record: &TaskRecord) -> JobResponse {
    let job = job(record);
    JobResponse { flat: job.clone(), job, creative_units_cost: 0.0 }
}

/// Returns the job for `record`.
pub(super) fn job(record: &TaskRecord) -> Job {
    let status = status(record);
    let owner = record.owner.clone().unwrap_or_else(|| ANYONE.into());
    let updated = record.finished_at.or(record.started_at).unwrap_or(record.created_at);
    let id = format!("job_{}", record.id);
    Job {
        id: id.clone(),
        job_id: id,
        job_type: "custom",
        status,
        progress: match record.status {
            TaskStatus::Queued { .. } | TaskStatus::Failed(_) => 0.0,
            TaskStatus::Running { progress } => progress.map_or(0.0, fraction),
            TaskStatus::Completed(_) => 1.0,
        },
        status_history: history(record, status),
        metadata: metadata(record),
        created_at: date(record.created_at),
        updated_at: date(updated),
        author_id: owner.clone(),
        owner_id: owner,
        billing: Billing::default(),
    }
}

/// Returns the time of `milliseconds` in UTC as the service writes it.
pub(super) fn date(milliseconds: i64) -> String {
    let time = Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

fn status(record: &TaskRecord) -> JobStatus {
    match &record.status {
        TaskStatus::Queued { .. } => JobStatus::Queued,
        TaskStatus::Running { progress: None } => JobStatus::WarmingUp,
        TaskStatus::Running { progress: Some(progress) } => match progress.phase {
            Phase::EncodingPrompt | Phase::Loading => JobStatus::WarmingUp,
            Phase::Denoising => JobStatus::InProgress,
            Phase::Decoding => JobStatus::Finalizing,
        },
        TaskStatus::Completed(_) => JobStatus::Success,
        TaskStatus::Failed(failure) if failure.code == FailureCode::Cancelled => JobStatus::Canceled,
        TaskStatus::Failed(_) => JobStatus::Failure,
    }
}

/// Returns the states whose jobs may have `status`.
pub(super) fn states(status: JobStatus) -> &'static [TaskState] {
    match status {
        JobStatus::Queued | JobStatus::Pending => &[TaskState::Queued],
        JobStatus::WarmingUp | JobStatus::InProgress | JobStatus::Finalizing => &[TaskState::Running],
        JobStatus::Success => &[TaskState::Completed],
        JobStatus::Failure | JobStatus::Canceled => &[TaskState::Failed],
    }
}

fn history(record: &TaskRecord, status: JobStatus) -> Vec<StatusChange> {
    let change = |status, at| StatusChange { status, date: date(at) };
    let mut history = vec![change(JobStatus::Queued, record.created_at)];
    history.extend(record.started_at.map(|at| change(JobStatus::InProgress, at)));
    history.extend(record.finished_at.map(|at| change(status, at)));
    history
}

fn metadata(record: &TaskRecord) -> JobMetadata {
    let mut metadata = JobMetadata {
        input: record.request.as_ref().map(input).unwrap_or_default(),
        asset_ids: Vec::new(),
        error: None,
        hint: None,
        queue_position: None,
        eta_seconds: None,
    };
    let mut notes = record.request.as_ref().map(|request| request.notes.clone()).unwrap_or_default();
    match &record.status {
        TaskStatus::Queued { position } => {
            metadata.queue_position = Some(*position);
            metadata.eta_seconds = eta_seconds(record);
        }
        TaskStatus::Running { .. } => metadata.eta_seconds = eta_seconds(record),
        TaskStatus::Completed(completion) => {
            metadata.asset_ids = vec![format!("asset_{}", record.id)];
            notes.extend(completion.output(OutputRole::Video).and_then(|video| video.note.clone()));
            if let Some(prompt) = &completion.enhanced_prompt {
                metadata.input.insert("enhancedPrompt".into(), prompt.clone().into());
            }
        }
        TaskStatus::Failed(failure) => metadata.error = Some(failure.message.clone()),
    }
    metadata.hint = (!notes.is_empty()).then(|| notes.join("; "));
    metadata
}

/// Returns the fields of `request` under Scenario's names.
fn input(request: &ValidRequest) -> Map<String, Value> {
    let input = json!({
        "prompt": request.prompt,
        "negativePrompt": request.negative_prompt,
        "width": request.width,
        "height": request.height,
        "numFrames": request.num_frames,
        "fps": request.frame_rate.as_f64(),
        "numInferenceSteps": request.num_inference_steps,
        "guidanceScale": request.video_guidance.cfg,
        "seed": request.seed,
        "generateAudio": request.output.audio,
        "enhancePrompt": request.enhance_prompt,
        "cameraMotion": request.camera.map_or("none", |camera| camera.motion.name()),
    });
    input.as_object().cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_have_milliseconds_and_are_in_utc() {
        assert_eq!(date(1_774_000_000_579), "2026-03-20T09:46:40.579Z");
    }
}
