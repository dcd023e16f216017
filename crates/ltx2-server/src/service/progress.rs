//! Progress and remaining time of a task.

use ltx2_store::{TaskRecord, TaskStatus};
use ltx2_types::{Phase, Progress};

/// Returns the progress of the whole run, 0 to 1. The shares of the phases are an estimate; the result never decreases
/// from one phase to the next.
pub(crate) fn fraction(progress: Progress) -> f64 {
    let (from, to) = match progress.phase {
        Phase::EncodingPrompt => (0.0, 0.05),
        Phase::Loading => (0.05, 0.1),
        Phase::Denoising => (0.1, 0.85),
        Phase::Decoding => (0.85, 1.0),
    };
    let done = f64::from(progress.step.min(progress.total_steps)) / f64::from(progress.total_steps.max(1));
    ((from + (to - from) * done) * 1000.0_f64).round() / 1000.0
}

/// Estimates the seconds until `record` ends: from the progress of the run, or, at its start, from earlier runs.
pub(crate) fn eta_seconds(record: &TaskRecord) -> Option<u64> {
    let progress = match record.status {
        TaskStatus::Running { progress } => progress.map_or(0.0, fraction),
        _ => 0.0,
    };
    let expected_ms = match record.started_at {
        Some(started_at) if progress > 0.15 => (now() - started_at) as f64 * (1.0 - progress) / progress,
        _ => record.expected_ms? as f64,
    };
    Some((expected_ms / 1000.0).ceil().max(0.0) as u64)
}

/// Returns the current time in UTC milliseconds.
pub(crate) fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fraction_grows_from_0_to_1() {
        let at = |phase, step, total_steps| fraction(Progress { phase, step, total_steps });
        assert_eq!(at(Phase::EncodingPrompt, 0, 0), 0.0);
        assert_eq!(at(Phase::Denoising, 0, 40), 0.1);
        assert_eq!(at(Phase::Denoising, 20, 40), 0.475);
        assert_eq!(at(Phase::Decoding, 0, 7), 0.85);
        assert_eq!(at(Phase::Decoding, 7, 7), 1.0);
        assert_eq!(at(Phase::Decoding, 8, 7), 1.0);
    }
}
