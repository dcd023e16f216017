//! Frame rates.

use serde::{Deserialize, Serialize};

/// A frame rate in frames per second.
///
/// Token positions are computed from [`FrameRate::as_f64`], the requested value; the container gets
/// [`FrameRate::rational`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FrameRate(f64);

impl FrameRate {
    /// Returns `None` unless `fps` is finite and positive. [`crate::validate`] checks the limits of a request.
    pub fn new(fps: f64) -> Option<Self> {
        (fps.is_finite() && fps > 0.0).then_some(Self(fps))
    }

    /// Returns the requested frames per second.
    pub fn as_f64(self) -> f64 {
        self.0
    }

    /// Returns the exact fraction (numerator, denominator): integer rates over 1, the broadcast rates (23.976, 29.97, 59.94 ...) over 1001, others in
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

    /// Returns the duration of `frames` frames in seconds, at the exact fraction.
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
    fn broadcast_rates_map_to_their_exact_fractions() {
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
    fn a_rate_must_be_positive_and_finite() {
        for fps in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(FrameRate::new(fps).is_none(), "{fps}");
        }
    }
}
