//! Sampling of the next token of a text.

use crate::diffusion::philox::uniform;

/// Divisor of the logits. The three constants are those of Gemma 3's generation settings and the official pipelines.
const TEMPERATURE: f32 = 0.7;
/// Number of most likely tokens to sample from.
const TOP_K: usize = 64;
/// Cumulative probability of the tokens to sample from.
const TOP_P: f32 = 0.95;

/// Token sampler with a reproducible sequence of draws.
pub(super) struct TokenSampler {
    seed: u64,
    drawn: u64,
}

impl TokenSampler {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, drawn: 0 }
    }

    /// Samples a token from the logits of all tokens.
    pub(super) fn choose(&mut self, logits: &[f32]) -> u32 {
        let candidates = candidates(logits);
        let total: f32 = candidates.iter().map(|(_, weight)| weight).sum();
        let mut left = uniform(self.seed, self.drawn) * total;
        self.drawn += 1;
        for &(token, weight) in &candidates {
            left -= weight;
            if left < 0.0 {
                return token;
            }
        }
        // Rounding may leave a remainder after the last candidate.
        candidates.last().map_or(0, |(token, _)| *token)
    }
}

/// Returns the tokens to sample from with their weights, most likely first.
fn candidates(logits: &[f32]) -> Vec<(u32, f32)> {
    let mut order: Vec<u32> = (0..logits.len() as u32).collect();
    let likelier = |a: &u32, b: &u32| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b));
    if order.len() > TOP_K {
        order.select_nth_unstable_by(TOP_K - 1, likelier);
        order.truncate(TOP_K);
    }
    order.sort_unstable_by(likelier);
    let Some(&best) = order.first() else { return Vec::new() };
    let weight = |token: u32| ((logits[token as usize] - logits[best as usize]) / TEMPERATURE).exp();
    let mut candidates: Vec<_> = order.into_iter().map(|token| (token, weight(token))).collect();
    let most = TOP_P * candidates.iter().map(|(_, weight)| weight).sum::<f32>();
    let mut share = 0.0;
    let kept = candidates.iter().take_while(|(_, weight)| {
        let is_within = share < most;
        share += weight;
        is_within
    });
    let kept = kept.count();
    candidates.truncate(kept);
    candidates
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_most_likely_tokens_are_sampled() {
        // exp(1.4 / 0.7) is 7.39: the shares are 0.88, 0.12 and next to nothing.
        let logits = [-30.0, 0.0, 1.4];
        assert_eq!(candidates(&logits).iter().map(|(token, _)| *token).collect::<Vec<_>>(), [2, 1]);
        let flat = [0.0; 1000];
        assert_eq!(candidates(&flat).len(), 61, "0.95 of 64");
        let sharp: Vec<f32> = (0..1000).map(|i| if i == 700 { 50.0 } else { 0.0 }).collect();
        assert_eq!(candidates(&sharp).len(), 1);
    }

    #[test]
    fn draws_depend_on_the_weights_and_the_seed() {
        let logits = [0.0, 1.4, -30.0];
        let mut sampler = TokenSampler::new(3);
        let drawn: Vec<u32> = (0..2000).map(|_| sampler.choose(&logits)).collect();
        let share = drawn.iter().filter(|token| **token == 1).count() as f32 / 2000.0;
        assert!((share - 0.881).abs() < 0.03, "{share}");
        let mut again = TokenSampler::new(3);
        assert!(drawn.iter().all(|token| again.choose(&logits) == *token));
        let mut other = TokenSampler::new(4);
        assert!(drawn.iter().any(|token| other.choose(&logits) != *token));
    }
}
