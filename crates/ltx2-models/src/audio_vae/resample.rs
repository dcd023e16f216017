//! Resampling of audio by a rational factor (`torchaudio.functional.resample`).

use std::f64::consts::PI;

/// Zero crossings of the sinc on each side of the centre.
const ZERO_CROSSINGS: f64 = 6.0;
/// End of the passband as a fraction of the lower Nyquist frequency.
const ROLLOFF: f64 = 0.99;

/// Resamples one channel from `from` to `to` Hz with a Hann-windowed sinc. Returns `ceil(len · to / from)` samples.
///
/// # Panics
///
/// If a rate is 0.
pub fn resample(samples: &[f32], from: u32, to: u32) -> Vec<f32> {
    if from == to {
        return samples.to_vec();
    }
    let divisor = gcd(from, to);
    let (from, to) = ((from / divisor) as usize, (to / divisor) as usize);
    let phases: Vec<Phase> = (0..to).map(|phase| Phase::new(phase, from, to)).collect();
    let length = (samples.len() * to).div_ceil(from);
    (0..length).map(|i| phases[i % to].apply(samples, (i / to * from) as isize)).collect()
}

/// Filter of the output samples at one position between two input samples.
struct Phase {
    /// Position of the first tap relative to the first input sample of a period.
    start: isize,
    taps: Vec<f32>,
}

impl Phase {
    fn new(phase: usize, from: usize, to: usize) -> Self {
        // Zero crossings per input sample.
        let bandwidth = ROLLOFF * from.min(to) as f64 / from as f64;
        let centre = phase as f64 * from as f64 / to as f64;
        let reach = ZERO_CROSSINGS / bandwidth;
        let (first, last) = ((centre - reach).ceil() as isize, (centre + reach).floor() as isize);
        let tap = |i: isize| {
            let time = (i as f64 - centre) * bandwidth;
            let window = (time * PI / ZERO_CROSSINGS / 2.0).cos().powi(2);
            let sinc = if time == 0.0 { 1.0 } else { (PI * time).sin() / (PI * time) };
            (sinc * window * bandwidth) as f32
        };
        Self { start: first, taps: (first..=last).map(tap).collect() }
    }

    /// Filters the samples around `origin`. Samples beyond the ends count as silence.
    fn apply(&self, samples: &[f32], origin: isize) -> f32 {
        let first = origin + self.start;
        let skipped = (-first).max(0) as usize;
        let rest = samples.get((first + skipped as isize) as usize..).unwrap_or_default();
        self.taps.iter().skip(skipped).zip(rest).map(|(tap, sample)| tap * sample).sum()
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}
