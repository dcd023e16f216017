//! Sublayers of the transformer blocks.

/// A sublayer of a block, in the order of computation. Between sublayers only the hidden states of both streams are
/// live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sublayer {
    /// Self-attention of each stream.
    SelfAttention,
    /// Cross-attention of each stream to the text.
    TextCrossAttention,
    /// Cross-attention between video and audio, in both directions.
    AudioVideoCrossAttention,
    /// Feed-forward layer of each stream.
    FeedForward,
}

impl Sublayer {
    /// All sublayers in order.
    pub const ALL: [Self; 4] =
        [Self::SelfAttention, Self::TextCrossAttention, Self::AudioVideoCrossAttention, Self::FeedForward];
}

/// Index of a sublayer in the transformer, in the order of computation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SublayerIndex {
    /// Index of the block.
    pub block: usize,
    /// Sublayer in the block.
    pub sublayer: Sublayer,
}

impl SublayerIndex {
    /// The first sublayer of the first block.
    pub const FIRST: Self = Self { block: 0, sublayer: Sublayer::SelfAttention };

    /// Index after the last sublayer of `layers` blocks.
    pub fn end(layers: usize) -> Self {
        Self { block: layers, sublayer: Sublayer::SelfAttention }
    }

    /// This index and all later ones of `layers` blocks.
    pub fn onwards(self, layers: usize) -> impl Iterator<Item = Self> {
        let all = (self.block..layers).flat_map(|block| Sublayer::ALL.map(|sublayer| Self { block, sublayer }));
        all.skip_while(move |index| *index < self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn onwards_yields_all_later_sublayers_in_order() {
        let from = SublayerIndex { block: 1, sublayer: Sublayer::AudioVideoCrossAttention };
        let indices: Vec<(usize, Sublayer)> = from.onwards(3).map(|index| (index.block, index.sublayer)).collect();
        let [own, text, cross, feed_forward] = Sublayer::ALL;
        assert_eq!(indices, [(1, cross), (1, feed_forward), (2, own), (2, text), (2, cross), (2, feed_forward)]);
        assert_eq!(SublayerIndex::FIRST.onwards(3).count(), 12);
        assert_eq!(SublayerIndex::end(3).onwards(3).count(), 0);
    }
}
