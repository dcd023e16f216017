//! Which attentions a pass leaves out (`BatchedPerturbationConfig`).

/// A set of blocks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Blocks {
    /// None of them.
    #[default]
    Nowhere,
    /// All of them.
    Everywhere,
    /// These.
    At(Vec<usize>),
}

impl Blocks {
    /// Whether `block` is in the set.
    pub fn contains(&self, block: usize) -> bool {
        match self {
            Self::Nowhere => false,
            Self::Everywhere => true,
            Self::At(blocks) => blocks.contains(&block),
        }
    }
}

/// Where each kind of attention is skipped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Perturbations {
    /// Self-attention of the picture: the values pass through.
    pub skip_video_self_attn: Blocks,
    /// Self-attention of the sound: the values pass through.
    pub skip_audio_self_attn: Blocks,
    /// The picture listening to the sound.
    pub skip_a2v_cross_attn: Blocks,
    /// The sound looking at the picture.
    pub skip_v2a_cross_attn: Blocks,
}
