//! Measures of decoded audio: the kind of sound.

use std::f32::consts::TAU;

/// Mono samples.
pub struct Audio {
    pub samples: Vec<f32>,
    pub rate: f32,
}

fn rms(samples: &[f32]) -> f32 {
    (samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len().max(1) as f32).sqrt()
}

fn median(mut values: Vec<f32>) -> f32 {
    values.sort_by(f32::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

impl Audio {
    /// Returns the root mean square of all samples.
    pub fn level(&self) -> f32 {
        rms(&self.samples)
    }

    /// Returns the loudest multiple of 100 Hz; all tones of the demo model's world are on that grid.
    fn peak(&self, window: &[f32]) -> f32 {
        let power = |tone: &u32| {
            let step = TAU * 100.0 * *tone as f32 / self.rate;
            let (mut re, mut im) = (0.0, 0.0);
            for (i, sample) in window.iter().enumerate() {
                re += sample * (step * i as f32).cos();
                im += sample * (step * i as f32).sin();
            }
            re * re + im * im
        };
        let powers: Vec<f32> = (1..=25).map(|tone| power(&tone)).collect();
        100.0 * (1 + (0..powers.len()).max_by(|a, b| powers[*a].total_cmp(&powers[*b])).unwrap()) as f32
    }

    /// Returns the kind of sound.
    pub fn kind(&self) -> &'static str {
        if self.level() < 0.02 {
            return "silence";
        }
        let length = (self.rate * 0.08) as usize;
        let windows: Vec<&[f32]> = self.samples.windows(length).step_by(length / 2).collect();
        let loudest = windows.iter().map(|window| rms(window)).fold(0.0, f32::max);
        let loud = windows.iter().filter(|window| rms(window) > 0.4 * loudest);
        let peaks: Vec<f32> = loud.map(|window| self.peak(window)).collect();
        let quarter = (peaks.len() / 4).max(1);
        if median(peaks[peaks.len() - quarter..].to_vec()) - median(peaks[..quarter].to_vec()) > 350.0 {
            return "rising";
        }
        let fine: Vec<f32> = self.samples.windows(length / 4).step_by(length / 8).map(rms).collect();
        let loudest = fine.iter().copied().fold(0.0, f32::max);
        if fine.iter().filter(|level| **level < 0.35 * loudest).count() * 5 > fine.len() {
            return "beeps";
        }
        match median(peaks) {
            peak if peak < 500.0 => "hum",
            peak if peak > 1500.0 => "high",
            _ => "beeps",
        }
    }
}
