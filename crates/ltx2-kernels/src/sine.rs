//! Sines of many numbers at once, in a form that compilers vectorise.

use std::f64::consts::PI;

/// π in three parts: a small whole number times either of the first two is exact.
const PI_PARTS: [f32; 3] = [3.140_625, 9.675_026e-4, (PI - 3.140_625 - 9.675_025_939_941_406e-4) as f32];
/// Where the parts of π stop being enough.
const LARGEST: f32 = 8192.0;
/// Added and subtracted, it rounds to a whole number.
const ROUNDER: f32 = 12_582_912.0;
/// 1, -1/3!, 1/5! ... : on [-π/2, π/2] what is left out is below 1e-9.
const SERIES: [f32; 7] = [
    1.0,
    (-1.0 / 6.0) as f32,
    (1.0 / 120.0) as f32,
    (-1.0 / 5040.0) as f32,
    (1.0 / 362_880.0) as f32,
    (-1.0 / 39_916_800.0) as f32,
    (1.0 / 6_227_020_800.0) as f32,
];

/// `x + gain · sin²(frequency · x)`, in place.
pub(crate) fn add_sine_squared(values: &mut [f32], frequency: f32, gain: f32) {
    let largest = values.iter().fold(0f32, |largest, value| largest.max(value.abs()));
    if largest * frequency.abs() < LARGEST {
        values.iter_mut().for_each(|x| *x += gain * sine_squared(frequency * *x));
    } else {
        values.iter_mut().for_each(|x| *x += gain * (frequency * *x).sin().powi(2));
    }
}

/// sin² repeats every π, so the angle is brought to [-π/2, π/2] and the sign does not matter.
#[inline(always)]
fn sine_squared(angle: f32) -> f32 {
    let turns = (angle * std::f32::consts::FRAC_1_PI + ROUNDER) - ROUNDER;
    let rest = PI_PARTS.iter().fold(angle, |rest, part| rest - turns * part);
    let square = rest * rest;
    let sine = rest * SERIES.iter().rev().fold(0.0, |sum, term| sum * square + term);
    sine * sine
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_sine_to_the_last_bits() {
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
    fn large_and_impossible_angles_are_the_library_s() {
        let mut values = [3.0e5, -1.0, f32::NAN];
        add_sine_squared(&mut values, 2.0, 0.5);
        assert!((values[0] - (3.0e5 + 0.5 * 6.0e5f32.sin().powi(2))).abs() < 0.05);
        assert!((values[1] - (-1.0 + 0.5 * 2f32.sin().powi(2))).abs() < 1e-6);
        assert!(values[2].is_nan());
    }
}
