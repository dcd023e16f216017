//! Camera motions that adapters exist for.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How the camera moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CameraMotion {
    /// Not at all.
    Static,
    /// Towards the scene.
    DollyIn,
    /// Away from it.
    DollyOut,
    /// Sideways.
    DollyLeft,
    /// Sideways.
    DollyRight,
    /// Upwards.
    JibUp,
    /// Downwards.
    JibDown,
}

impl CameraMotion {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Static, Self::DollyIn, Self::DollyOut, Self::DollyLeft, Self::DollyRight, Self::JibUp, Self::JibDown];

    /// Its name on the wire and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::DollyIn => "dolly_in",
            Self::DollyOut => "dolly_out",
            Self::DollyLeft => "dolly_left",
            Self::DollyRight => "dolly_right",
            Self::JibUp => "jib_up",
            Self::JibDown => "jib_down",
        }
    }
}

/// A camera motion and how strong it is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Camera {
    /// How the camera moves.
    pub motion: CameraMotion,
    /// 1 as trained, 0 not at all, up to 2.
    pub strength: f64,
}

impl FromStr for Camera {
    type Err = String;

    /// `MOTION` or `MOTION:STRENGTH`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, strength) = text.split_once(':').unwrap_or((text, "1"));
        let names = CameraMotion::ALL.map(CameraMotion::name).join(", ");
        let wrong = || format!("camera is {text}, but it must be MOTION or MOTION:STRENGTH, with one of {names}");
        let motion = CameraMotion::ALL.into_iter().find(|motion| motion.name() == name).ok_or_else(wrong)?;
        Ok(Self { motion, strength: strength.parse().map_err(|_| wrong())? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_or_without_a_strength() {
        assert_eq!("jib_up".parse(), Ok(Camera { motion: CameraMotion::JibUp, strength: 1.0 }));
        assert_eq!("dolly_in:1.2".parse(), Ok(Camera { motion: CameraMotion::DollyIn, strength: 1.2 }));
        for text in ["", "zoom", "dolly_in:", "dolly_in:much"] {
            assert!(text.parse::<Camera>().unwrap_err().contains("static, dolly_in"), "{text}");
        }
    }
}
