//! Squared sine over slices, written so that the compiler vectorises it.

use std::f64::consts::PI;

/// π as a sum of three parts (Cody-Waite reduction): a small integer times either of the first two is exact.
const PI_PARTS: [f32; 3] = [3.140_625, 9.675_026e-4, (PI - 3.140_625 - 9.675_025_939_941_406e-4) as f32];
/// Largest angle for which the reduction is accurate.
const MAX_ANGLE: f32 = 8192.0;
/// 1.5 · 2^23: adding and subtracting it rounds to the nearest integer.
const ROUNDING_OFFSET: f32 = 12_582_912.0;
/// Taylor coefficients 1, -1/3!, 1/5! ... The truncation error on [-π/2, π/2] is below 1e-9.
const COEFFICIENTS: [f32; 7] = [
    1.0,
    (-1.0 / 6.0) as f32,
    (1.0 / 120.0) as f32,
    (-1.0 / 5040.0) as f32,
    (1.0 / 362_880.0) as f32,
    (-1.0 / 39_916_800.0) as f32,
    (1.0 / 6_227_020_800.0) as f32,
];

/// Adds `gain · sin²(frequency · x)` to every value `x`. Angles that are large or not finite use the standard library's
/// sine.
pub(crate) fn add_sine_squared(values: &mut [f32], frequency: f32, gain: f32) {
    let largest = values.iter().fold(0f32, |largest, value| largest.max(value.abs()));
    if largest * frequency.abs() < MAX_ANGLE {
        values.iter_mut().for_each(|x| *x += gain * sine_squared(frequency * *x));
    } else {
        values.iter_mut().for_each(|x| *x += gain * (frequency * *x).sin().powi(2));
    }
}

/// sin² of an angle. Its period is π, so the angle is reduced to [-π/2, π/2] and the sign is irrelevant.
#[inline(always)]
fn sine_squared(angle: f32) -> f32 {
    let periods = (angle * std::f32::consts::FRAC_1_PI + ROUNDING_OFFSET) - ROUNDING_OFFSET;
    let rest = PI_PARTS.iter().fold(angle, |rest, part| rest - periods * part);
    let square = rest * rest;
    let sine = rest * COEFFICIENTS.iter().rev().fold(0.0, |sum, term| sum * square + term);
    sine * sine
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sine_squared_is_accurate_to_the_last_bits() {
        for i in 0..400_000 {
            let angle = (i as f32 - 200_000.0) * 0.040_96;
            let exact = f64::from(angle).sin().powi(2);
            assert!((f64::from(sine_squared(angle)) - exact).abs() < 4e-7, "{angle}");
            let small = angle * 1e-5;
            let exact = f64::from(small).sin().powi(2);
            assert!((f64::from(sine_squared(small)) - exact).abs() <= 4e-7 * exact, "{small}");
        }
    }

    #[test]
    fn large_and_nan_angles_use_the_standard_library() {
        let mut values = [3.0e5, -1.0, f32::NAN];
        add_sine_squared(&mut values, 2.0, 0.5);
        assert!((values[0] - (3.0e5 + 0.5 * 6.0e5f32.sin().powi(2))).abs() < 0.05);
        assert!((values[1] - (-1.0 + 0.5 * 2f32.sin().powi(2))).abs() < 1e-6);
        assert!(values[2].is_nan());
    }
}
