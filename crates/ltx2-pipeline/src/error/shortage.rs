//! Report of a run that did not fit into memory.

use std::fmt;

use super::feasible::FeasibleRequest;
use crate::device::{DeviceMemory, Gib};

/// A run that needed more memory than the device has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortage {
    /// Requested width, height and frames; `None` for runs without a request.
    pub requested: Option<(u32, u32, u32)>,
    /// Estimated memory of the request, bytes.
    pub estimate: Option<usize>,
    /// Memory of the device with the engine unloaded.
    pub memory: Option<DeviceMemory>,
    /// Requests that would fit into the free memory.
    pub feasible: FeasibleRequest,
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the GPU has too little memory")?;
        if let Some((width, height, frames)) = self.requested {
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
            (Some(_), Some(_)) => write!(f, "; {}", self.feasible),
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
            requested: Some((1920, 1088, 241)),
            estimate: Some(estimate),
            memory: Some(DeviceMemory { free: 46 * GIB, total: 48 * GIB }),
            feasible: FeasibleRequest { frames: Some(121), size: Some((1280, 704)) },
        }
    }

    #[test]
    fn message_names_the_request_the_free_memory_and_feasible_requests() {
        assert_eq!(
            shortage(61 * GIB).to_string(),
            "the GPU has too little memory for 1920x1088 with 241 frames, which take about 61.0 GiB; without the model \
             46.0 of 48.0 GiB are free; 121 frames would fit at this size, or this length at 1280x704"
        );
    }

    #[test]
    fn an_estimate_below_the_free_memory_gives_general_advice() {
        let text = shortage(40 * GIB).to_string();
        assert!(text.ends_with("the estimate was too low, so take fewer frames or a smaller size"), "{text}");
    }

    #[test]
    fn unknown_values_are_omitted() {
        let unknown = Shortage { requested: None, estimate: None, memory: None, feasible: FeasibleRequest::default() };
        assert_eq!(unknown.to_string(), "the GPU has too little memory");
    }
}
