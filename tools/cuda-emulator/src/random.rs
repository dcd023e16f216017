//! Pseudo-random generator for cuRAND.

/// State of a pseudo-random generator.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RandomGenerator(pub(crate) u64);

impl RandomGenerator {
    /// Returns a uniform value in [0, 1).
    fn uniform(&mut self) -> f64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Returns two normally distributed values, by the Box-Muller transform.
    pub(crate) fn normal(&mut self) -> [f64; 2] {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        let (sine, cosine) = (std::f64::consts::TAU * self.uniform()).sin_cos();
        [radius * cosine, radius * sine]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_normally_distributed() {
        let mut state = RandomGenerator(1);
        let drawn: Vec<f64> = (0..50_000).flat_map(|_| state.normal()).collect();
        let mean = drawn.iter().sum::<f64>() / drawn.len() as f64;
        let variance = drawn.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / drawn.len() as f64;
        let beyond_two = drawn.iter().filter(|x| x.abs() > 2.0).count() as f64 / drawn.len() as f64;
        assert!(mean.abs() < 0.01 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
        assert!((beyond_two - 0.0455).abs() < 0.003, "{beyond_two}");
    }
}
