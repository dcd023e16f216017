//! Noise levels of a run (`LTX2Scheduler`).

/// Token count that most official pipelines use for the shift, whatever the size of the latent.
pub const DEFAULT_TOKENS: usize = 4096;
/// Shift of the sigmoid at two token counts; linear between and beyond.
const SHIFTS: [(f64, f64); 2] = [(1024.0, 0.95), (4096.0, 2.05)];
/// Last noise level before 0.
const TERMINAL: f32 = 0.1;

/// Returns `steps + 1` noise levels from 1 to 0: evenly spaced, shifted towards noise for larger token counts, and
/// stretched so that the last but one is 0.1.
///
/// The arithmetic equals torch's float32 bit by bit (torch divides a scalar by a tensor as a multiplication with the
/// reciprocal), because timesteps are 1000 times larger and enter sinusoids.
pub fn ltx2_sigmas(steps: usize, tokens: usize) -> Vec<f32> {
    let [(x1, base), (x2, max)] = SHIFTS;
    let slope = (max - base) / (x2 - x1);
    let shift = (tokens as f64 * slope + (base - slope * x1)).exp() as f32;
    let mut sigmas: Vec<f32> = (0..=steps)
        .map(|i| linspace_down(i, steps))
        .map(|sigma| if sigma == 0.0 { 0.0 } else { shift * (1.0 / (shift + (1.0 / sigma - 1.0))) })
        .collect();
    let last = sigmas[steps - 1];
    let scale = (1.0 - last) / (1.0 - TERMINAL);
    for sigma in &mut sigmas[..steps] {
        *sigma = 1.0 - (1.0 - *sigma) / scale;
    }
    sigmas
}

/// Returns element `i` of torch's `linspace(1, 0, steps + 1)`, which is computed from both ends.
fn linspace_down(i: usize, steps: usize) -> f32 {
    let step = -1.0 / steps as f32;
    if i < steps.div_ceil(2) { 1.0 + step * i as f32 } else { -(step * (steps - i) as f32) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_step_starts_at_the_terminal_level() {
        assert_eq!(ltx2_sigmas(1, DEFAULT_TOKENS), [0.100000024, 0.0]);
    }

    #[test]
    fn schedule_starts_at_one_and_ends_at_the_terminal_level_and_zero() {
        for steps in [2, 3, 4, 8, 20, 40, 41] {
            let sigmas = ltx2_sigmas(steps, DEFAULT_TOKENS);
            assert_eq!(sigmas.len(), steps + 1);
            assert!((sigmas[0] - 1.0).abs() < 1e-6 && sigmas[steps] == 0.0);
            assert!((sigmas[steps - 1] - 0.1).abs() < 1e-6);
            assert!(sigmas.windows(2).all(|pair| pair[0] > pair[1]), "{sigmas:?}");
        }
    }
}
