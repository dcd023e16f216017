//! Shared prefixes of the passes of a step. Sublayers that two passes compute identically are computed once; the later
//! pass is forked from the earlier one at the first difference.

use super::pass::Pass;
use super::perturbation::Perturbations;
use super::sublayer::{Sublayer, SublayerIndex};
use crate::AudioVideo;

/// Fork point of a pass that shares a prefix with an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fork {
    /// Index of the earlier pass.
    pub source: usize,
    /// First sublayer that differs; the end if no sublayer differs.
    pub point: SublayerIndex,
}

/// Fork with the longest shared prefix for each of `passes` through `layers` blocks. The first pass has none.
pub fn forks(passes: &[Pass], layers: usize) -> Vec<Option<Fork>> {
    let longest_shared = |(i, pass): (usize, &Pass)| {
        let mut best: Option<Fork> = None;
        for (source, earlier) in passes[..i].iter().enumerate() {
            let point = first_difference(earlier, pass, layers);
            // Ties go to the earliest pass: its own fork point is earlier, so it computes this sublayer itself.
            if best.is_none_or(|best| point > best.point) {
                best = Some(Fork { source, point });
            }
        }
        best
    };
    passes.iter().enumerate().map(longest_shared).collect()
}

fn first_difference(a: &Pass, b: &Pass, layers: usize) -> SublayerIndex {
    let differs = |index: &SublayerIndex| match index.sublayer {
        Sublayer::TextCrossAttention => a.prompt != b.prompt,
        _ => skipped(&a.perturbations, *index) != skipped(&b.perturbations, *index),
    };
    SublayerIndex::FIRST.onwards(layers).find(differs).unwrap_or(SublayerIndex::end(layers))
}

/// Whether each stream skips the attention of a sublayer.
fn skipped(perturbations: &Perturbations, SublayerIndex { block, sublayer }: SublayerIndex) -> AudioVideo<bool> {
    let blocks = match sublayer {
        Sublayer::SelfAttention => &perturbations.skip_self_attn,
        Sublayer::AudioVideoCrossAttention => &perturbations.skip_cross_attn,
        Sublayer::TextCrossAttention | Sublayer::FeedForward => return AudioVideo::default(),
    };
    blocks.as_ref().map(|blocks| blocks.contains(block))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transformer::{BlockSet, Prompt};

    const LAYERS: usize = 48;

    fn without_self_attention(blocks: &[usize]) -> Pass {
        let skip_self_attn = AudioVideo { video: BlockSet::Only(blocks.to_vec()), audio: BlockSet::None };
        Pass { perturbations: Perturbations { skip_self_attn, ..Default::default() }, ..Default::default() }
    }

    fn fork(source: usize, block: usize, sublayer: Sublayer) -> Option<Fork> {
        Some(Fork { source, point: SublayerIndex { block, sublayer } })
    }

    #[test]
    fn guidance_passes_fork_from_the_conditional_pass() {
        let negative = Pass { prompt: Prompt::Negative, ..Default::default() };
        let skip_cross_attn = AudioVideo { video: BlockSet::None, audio: BlockSet::All };
        let perturbations = Perturbations { skip_cross_attn, ..Default::default() };
        let isolated = Pass { perturbations, ..Default::default() };
        let passes = [Pass::default(), negative, without_self_attention(&[29]), isolated];
        let expected = [
            None,
            fork(0, 0, Sublayer::TextCrossAttention),
            fork(0, 29, Sublayer::SelfAttention),
            fork(0, 0, Sublayer::AudioVideoCrossAttention),
        ];
        assert_eq!(forks(&passes, LAYERS), expected);
    }

    #[test]
    fn a_pass_forks_from_the_earliest_pass_with_the_longest_shared_prefix() {
        let at = without_self_attention;
        let passes = [Pass::default(), at(&[7]), at(&[7, 9]), at(&[3]), at(&[0]), Pass::default(), at(&[LAYERS])];
        let own = |source, block| fork(source, block, Sublayer::SelfAttention);
        // The fourth pass shares equally long prefixes with the first three, of which the first one computes block 3.
        let expected = [None, own(0, 7), own(1, 9), own(0, 3), own(0, 0), own(0, LAYERS), own(0, LAYERS)];
        assert_eq!(forks(&passes, LAYERS), expected);
    }
}
