//! Frames per second, as asked for and as the exact fraction that a container wants.

use serde::{Deserialize, Serialize};

/// A frame rate in frames per second.
///
/// The network's positions are computed from [`FrameRate::as_f64`], the number that was asked for; the file is written
/// at [`FrameRate::rational`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FrameRate(f64);

impl FrameRate {
    /// `fps` must be finite and above zero; see [`crate::validate`] for the limits of a request.
    pub fn new(fps: f64) -> Option<Self> {
        (fps.is_finite() && fps > 0.0).then_some(Self(fps))
    }

    /// Frames per second as asked for.
    pub fn as_f64(self) -> f64 {
        self.0
    }

    /// The exact fraction: whole rates over 1, the broadcast rates (23.976, 29.97, 59.94 ...) over 1001, others in
    /// thousandths.
    pub fn rational(self) -> (u32, u32) {
        let nearest = self.0.round();
        if self.0 == nearest {
            return (nearest as u32, 1);
        }
        let above = self.0.ceil();
        if (self.0 - above * 1000.0 / 1001.0).abs() < 5e-3 {
            return (above as u32 * 1000, 1001);
        }
        let thousandths = (self.0 * 1000.0).round().max(1.0) as u32;
        let divisor = gcd(thousandths, 1000);
        (thousandths / divisor, 1000 / divisor)
    }

    /// How long `frames` pictures last, in seconds, at the exact fraction.
    pub fn seconds(self, frames: u32) -> f64 {
        let (numerator, denominator) = self.rational();
        f64::from(frames) * f64::from(denominator) / f64::from(numerator)
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broadcast_rates_are_their_rationals() {
        let rational = |fps| FrameRate::new(fps).unwrap().rational();
        assert_eq!(rational(24.0), (24, 1));
        assert_eq!(rational(23.976), (24000, 1001));
        assert_eq!(rational(24000.0 / 1001.0), (24000, 1001));
        assert_eq!(rational(23.98), (24000, 1001));
        assert_eq!(rational(29.97), (30000, 1001));
        assert_eq!(rational(59.94), (60000, 1001));
        assert_eq!(rational(12.5), (25, 2));
        assert_eq!(rational(24.1), (241, 10));
    }

    #[test]
    fn only_positive_finite_rates() {
        for fps in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(FrameRate::new(fps).is_none(), "{fps}");
        }
    }
}
