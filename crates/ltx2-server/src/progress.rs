//! Progress of the parts of a run → progress of the whole.

use ltx2_types::{Phase, Progress};

/// From 0 to 1; a guess at how the parts share the time, which never goes back from one part to the next.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_nothing_to_everything() {
        let at = |phase, step, total_steps| fraction(Progress { phase, step, total_steps });
        assert_eq!(at(Phase::EncodingPrompt, 0, 0), 0.0);
        assert_eq!(at(Phase::Denoising, 0, 40), 0.1);
        assert_eq!(at(Phase::Denoising, 20, 40), 0.475);
        assert_eq!(at(Phase::Decoding, 0, 7), 0.85);
        assert_eq!(at(Phase::Decoding, 7, 7), 1.0);
        assert_eq!(at(Phase::Decoding, 8, 7), 1.0);
    }
}
