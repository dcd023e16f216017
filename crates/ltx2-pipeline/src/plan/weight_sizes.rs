//! Sizes of a model set's weights and activations.

use ltx2_models::AudioVideo;

/// Blocks beyond the resident ones that fit into memory while blocks are streamed: the one being loaded and its
/// dequantized copy.
const STREAMED_BLOCKS: usize = 2;

/// Sizes of a model set's weights in bytes, and widths of its activations in elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WeightSizes {
    /// Bytes of the text encoder.
    pub text_encoder: usize,
    /// Bytes of the largest part of the text encoder that is loaded at once when it is streamed.
    pub text_encoder_part: usize,
    /// Bytes of the embeddings processor, which turns hidden states into contexts.
    pub text_projection: usize,
    /// Elements of a prompt's hidden states.
    pub hidden_states: usize,
    /// Bytes of the transformer, without the connectors.
    pub transformer: usize,
    /// Bytes of all transformer blocks.
    pub blocks: usize,
    /// Number of transformer blocks.
    pub num_blocks: usize,
    /// Bytes of the autoencoders and the vocoder.
    pub autoencoders: usize,
    /// Bytes of the spatial upscaler; 0 without one.
    pub upsampler: usize,
    /// Width of each stream of the transformer.
    pub stream_widths: AudioVideo<usize>,
    /// Elements of a prompt's cached keys and values.
    pub cached_text: usize,
    /// Channels of the decoder's last level.
    pub decoder_channels: usize,
}

impl WeightSizes {
    /// Returns the bytes of the transformer with its first `resident` blocks.
    pub(crate) fn transformer_with(&self, resident: usize) -> usize {
        self.transformer - self.blocks + self.block() * resident.min(self.num_blocks)
    }

    /// Returns the number of blocks that can stay in `available` bytes, if denoising takes `required` bytes with all of
    /// them.
    pub(crate) fn resident_blocks(&self, available: usize, required: usize) -> usize {
        if available >= required || self.blocks == 0 {
            return self.num_blocks;
        }
        (available.saturating_sub(self.streamed(required)) / self.block()).min(self.num_blocks)
    }

    /// Returns the bytes of denoising without resident blocks, if it takes `required` bytes with all of them.
    pub(super) fn streamed(&self, required: usize) -> usize {
        (required - self.blocks + STREAMED_BLOCKS * self.block()).min(required)
    }

    /// Returns the average bytes of a block.
    fn block(&self) -> usize {
        self.blocks.div_ceil(self.num_blocks.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_blocks_stay_as_fit_into_memory() {
        // Blocks of 20 bytes, 40 bytes for the rest of the transformer, and 100 bytes of activations.
        let sizes = WeightSizes {
            text_encoder: 0,
            text_encoder_part: 0,
            text_projection: 0,
            hidden_states: 0,
            transformer: 1000,
            blocks: 960,
            num_blocks: 48,
            autoencoders: 0,
            upsampler: 0,
            stream_widths: AudioVideo { video: 4, audio: 2 },
            cached_text: 0,
            decoder_channels: 0,
        };
        let resident = |available| sizes.resident_blocks(available, 1100);
        assert_eq!((resident(1100), resident(5000)), (48, 48));
        assert_eq!((resident(1099), resident(1080), resident(201), resident(200), resident(0)), (45, 45, 1, 1, 0));
        assert_eq!((sizes.transformer_with(48), sizes.transformer_with(0)), (1000, 40));
    }
}
