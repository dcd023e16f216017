//! Progress of a generation.

use serde::{Deserialize, Serialize};

/// Progress within a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Current phase.
    pub phase: Phase,
    /// Completed steps of the phase.
    pub step: u32,
    /// Number of steps of the phase.
    pub total_steps: u32,
}

/// Phases of a generation, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, strum::IntoStaticStr, strum::EnumString)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Phase {
    /// Text encoding, including loading the text encoder.
    EncodingPrompt,
    /// Loading the transformer's weights.
    Loading,
    /// Denoising steps.
    Denoising,
    /// Decoding latents to frames and audio, and muxing.
    Decoding,
}

impl Phase {
    /// Returns the name on the wire, in the database and on the terminal.
    pub fn name(self) -> &'static str {
        self.into()
    }
}
