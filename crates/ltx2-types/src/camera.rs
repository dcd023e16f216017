//! Camera motions.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use strum::VariantNames as _;

/// Camera motion that a LoRA exists for.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    strum::IntoStaticStr,
    strum::EnumString,
    strum::VariantArray,
    strum::VariantNames,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum CameraMotion {
    /// No motion.
    Static,
    /// Towards the scene.
    DollyIn,
    /// Away from the scene.
    DollyOut,
    /// To the left.
    DollyLeft,
    /// To the right.
    DollyRight,
    /// Upwards.
    JibUp,
    /// Downwards.
    JibDown,
}

impl CameraMotion {
    /// Returns the name on the wire and on the command line.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Camera motion with its strength.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Camera {
    /// The motion.
    pub motion: CameraMotion,
    /// Strength of the LoRA: 1 as trained, 0 without effect, at most 2.
    pub strength: f64,
}

impl FromStr for Camera {
    type Err = String;

    /// Parses `MOTION` or `MOTION:STRENGTH`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, strength) = text.split_once(':').unwrap_or((text, "1"));
        let error = || {
            let names = CameraMotion::VARIANTS.join(", ");
            format!("camera is {text}, but it must be MOTION or MOTION:STRENGTH, with one of {names}")
        };
        let motion = name.parse().map_err(|_| error())?;
        Ok(Self { motion, strength: strength.parse().map_err(|_| error())? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_motion_is_parsed_with_or_without_a_strength() {
        assert_eq!("jib_up".parse(), Ok(Camera { motion: CameraMotion::JibUp, strength: 1.0 }));
        assert_eq!("dolly_in:1.2".parse(), Ok(Camera { motion: CameraMotion::DollyIn, strength: 1.2 }));
        for text in ["", "zoom", "dolly_in:", "dolly_in:much"] {
            assert!(text.parse::<Camera>().unwrap_err().contains("static, dolly_in"), "{text}");
        }
    }
}
