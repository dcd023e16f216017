//! Smaller requests that would fit into memory.

use std::fmt;

/// Largest requests that would fit into memory, by frames and by size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FeasibleRequest {
    /// Largest number of frames at the requested size.
    pub frames: Option<u32>,
    /// Largest common size (width, height) with the requested number of frames.
    pub size: Option<(u32, u32)>,
}

impl fmt::Display for FeasibleRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let frames = |count: u32| if count == 1 { "1 frame".into() } else { format!("{count} frames") };
        match (self.frames, self.size) {
            (Some(count), Some((width, height))) => {
                write!(f, "{} would fit at this size, or this length at {width}x{height}", frames(count))
            }
            (Some(count), None) => write!(f, "{} would fit at this size", frames(count)),
            (None, Some((width, height))) => write!(f, "this length would fit at {width}x{height}"),
            (None, None) => write!(f, "neither fewer frames nor a usual smaller size would fit with this model"),
        }
    }
}
