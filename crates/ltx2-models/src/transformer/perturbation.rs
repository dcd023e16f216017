//! Attentions that a pass skips (`BatchedPerturbationConfig`).

use crate::AudioVideo;

/// A set of blocks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum BlockSet {
    /// The empty set.
    #[default]
    None,
    /// All blocks.
    All,
    /// Blocks by index.
    Only(Vec<usize>),
}

impl BlockSet {
    /// Whether `block` is in the set.
    pub fn contains(&self, block: usize) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Only(blocks) => blocks.contains(&block),
        }
    }
}

/// Blocks in which each kind of attention is skipped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Perturbations {
    /// Self-attention of each stream, replaced by its values (`SKIP_VIDEO_SELF_ATTN`, `SKIP_AUDIO_SELF_ATTN`).
    pub skip_self_attn: AudioVideo<BlockSet>,
    /// Attention of each stream to the other one (`SKIP_A2V_CROSS_ATTN` for `video`, `SKIP_V2A_CROSS_ATTN` for
    /// `audio`).
    pub skip_cross_attn: AudioVideo<BlockSet>,
}
