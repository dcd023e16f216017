//! Too little memory, in words that help.

use std::fmt;

use crate::DeviceMemory;
use crate::device::Gib;
use crate::plan::Fit;

/// What was asked of a device that has too little memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortage {
    /// Width, height and frames, where it was a request.
    pub asked: Option<(u32, u32, u32)>,
    /// Bytes that the run takes by the estimate of `ltx2 plan`.
    pub estimate: Option<usize>,
    /// The device's memory with the engine unloaded.
    pub memory: Option<DeviceMemory>,
    /// What would fit into that.
    pub fit: Fit,
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the GPU has too little memory")?;
        if let Some((width, height, frames)) = self.asked {
            write!(f, " for {width}x{height} with {frames} frames")?;
        }
        if let Some(estimate) = self.estimate {
            write!(f, ", which take about {} GiB", Gib(estimate))?;
        }
        if let Some(memory) = self.memory {
            write!(f, "; without the model {memory}")?;
        }
        match (self.estimate, self.memory) {
            (Some(estimate), Some(memory)) if estimate <= memory.free => {
                write!(f, "; the estimate was too low, so take fewer frames or a smaller size")
            }
            (Some(_), Some(_)) => write!(f, "; {}", self.fit),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: usize = 1 << 30;

    fn shortage(estimate: usize) -> Shortage {
        Shortage {
            asked: Some((1920, 1088, 241)),
            estimate: Some(estimate),
            memory: Some(DeviceMemory { free: 46 * GIB, total: 48 * GIB }),
            fit: Fit { frames: Some(121), size: Some((1280, 704)) },
        }
    }

    #[test]
    fn it_names_what_was_asked_what_was_free_and_what_would_fit() {
        assert_eq!(
            shortage(61 * GIB).to_string(),
            "the GPU has too little memory for 1920x1088 with 241 frames, which take about 61.0 GiB; without the model \
             46.0 of 48.0 GiB are free; 121 frames would fit at this size, or this length at 1280x704"
        );
    }

    #[test]
    fn an_estimate_that_was_too_low_is_no_advice() {
        let text = shortage(40 * GIB).to_string();
        assert!(text.ends_with("the estimate was too low, so take fewer frames or a smaller size"), "{text}");
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let nothing = Shortage { asked: None, estimate: None, memory: None, fit: Fit::default() };
        assert_eq!(nothing.to_string(), "the GPU has too little memory");
    }
}
