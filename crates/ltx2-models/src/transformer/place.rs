//! Where the passes of a step part: up to there they compute the same, so that one of them is enough.

use super::{Pass, Perturbations};

/// A part of a block, in the order of the computation. Between parts there are the two streams and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Each stream's attention to itself.
    SelfAttention,
    /// Each stream's attention to the text.
    Text,
    /// Attention between picture and sound.
    Between,
    /// Each stream's feed-forward.
    FeedForward,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::SelfAttention, Self::Text, Self::Between, Self::FeedForward];
}

/// A part of one of the blocks, in the order of the computation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Which block.
    pub block: usize,
    /// Which part of it.
    pub part: Part,
}

impl Place {
    /// Where passes begin.
    pub const FIRST: Self = Self { block: 0, part: Part::SelfAttention };

    /// Behind the last of `layers` blocks.
    pub fn end(layers: usize) -> Self {
        Self { block: layers, part: Part::SelfAttention }
    }

    /// This and all further places of `layers` blocks.
    pub fn onwards(self, layers: usize) -> impl Iterator<Item = Self> {
        let all = (self.block..layers).flat_map(|block| Part::ALL.map(|part| Self { block, part }));
        all.skip_while(move |place| *place < self)
    }
}

/// Where a pass begins that computes the same as an earlier one up to there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fork {
    /// The number of the earlier pass.
    pub from: usize,
    /// The first place that they do not have in common; the end if they have all.
    pub at: Place,
}

/// For each of `passes` through `layers` blocks but the first, the fork with the most in common.
pub fn forks(passes: &[Pass], layers: usize) -> Vec<Option<Fork>> {
    let fork = |(i, pass): (usize, &Pass)| {
        let mut best: Option<Fork> = None;
        for (from, earlier) in passes[..i].iter().enumerate() {
            let at = first_difference(earlier, pass, layers);
            // Of equals the earliest: that one is sure to come by there itself, as it has less in common with those before.
            if best.is_none_or(|best| at > best.at) {
                best = Some(Fork { from, at });
            }
        }
        best
    };
    passes.iter().enumerate().map(fork).collect()
}

fn first_difference(a: &Pass, b: &Pass, layers: usize) -> Place {
    let differs = |place: &Place| match place.part {
        Part::Text => a.prompt != b.prompt,
        _ => skips(&a.perturbations, *place) != skips(&b.perturbations, *place),
    };
    Place::FIRST.onwards(layers).find(differs).unwrap_or(Place::end(layers))
}

/// What is left out there, of picture and sound.
fn skips(perturbations: &Perturbations, Place { block, part }: Place) -> [bool; 2] {
    let (video, audio) = match part {
        Part::SelfAttention => (&perturbations.skip_video_self_attn, &perturbations.skip_audio_self_attn),
        Part::Between => (&perturbations.skip_a2v_cross_attn, &perturbations.skip_v2a_cross_attn),
        Part::Text | Part::FeedForward => return [false; 2],
    };
    [video.contains(block), audio.contains(block)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transformer::{Blocks, Prompt};

    const LAYERS: usize = 48;

    fn without_self_attention(blocks: &[usize]) -> Pass {
        let skip_video_self_attn = Blocks::At(blocks.to_vec());
        Pass { perturbations: Perturbations { skip_video_self_attn, ..Default::default() }, ..Default::default() }
    }

    fn fork(from: usize, block: usize, part: Part) -> Option<Fork> {
        Some(Fork { from, at: Place { block, part } })
    }

    #[test]
    fn guiding_passes_fork_from_the_conditional_one() {
        let negative = Pass { prompt: Prompt::Negative, ..Default::default() };
        let perturbations = Perturbations { skip_v2a_cross_attn: Blocks::Everywhere, ..Default::default() };
        let isolated = Pass { perturbations, ..Default::default() };
        let passes = [Pass::default(), negative, without_self_attention(&[29]), isolated];
        let expected = [None, fork(0, 0, Part::Text), fork(0, 29, Part::SelfAttention), fork(0, 0, Part::Between)];
        assert_eq!(forks(&passes, LAYERS), expected);
    }

    #[test]
    fn a_pass_forks_from_the_one_that_comes_by() {
        let at = without_self_attention;
        let passes = [Pass::default(), at(&[7]), at(&[7, 9]), at(&[3]), at(&[0]), Pass::default(), at(&[LAYERS])];
        let own = |from, block| fork(from, block, Part::SelfAttention);
        // The fourth has as much in common with the second and the third, but those begin further on.
        let expected = [None, own(0, 7), own(1, 9), own(0, 3), own(0, 0), own(0, LAYERS), own(0, LAYERS)];
        assert_eq!(forks(&passes, LAYERS), expected);
    }

    #[test]
    fn places_follow_one_another() {
        let from = Place { block: 1, part: Part::Between };
        let places: Vec<(usize, Part)> = from.onwards(3).map(|place| (place.block, place.part)).collect();
        let [own, text, between, feed_forward] = Part::ALL;
        assert_eq!(places, [(1, between), (1, feed_forward), (2, own), (2, text), (2, between), (2, feed_forward)]);
        assert_eq!(Place::FIRST.onwards(3).count(), 12);
        assert_eq!(Place::end(3).onwards(3).count(), 0);
    }
}
