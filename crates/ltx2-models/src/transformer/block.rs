//! Transformer block (`BasicAVTransformerBlock`): self-attention, text cross-attention, audio-video cross-attention,
//! feed-forward.

use candle_core::{Result, Tensor};
use ltx2_kernels::{RopeTable, gated_residual, modulate, residual, rms_norm, rms_norm_modulate};

use super::config::{StreamConfig, TransformerConfig};
use super::context::{PromptContext, TextContext};
use super::modality::StreamRope;
use super::modulation::{CrossDirection, StreamModulation};
use super::perturbation::Perturbations;
use super::stream_names::{STREAM_NAMES, StreamNames};
use super::sublayer::Sublayer;
use crate::layers::{Attention, FeedForward, KeysValues};
use crate::{AudioVideo, VarBuilder};

/// Transformer block of both streams.
#[derive(Debug)]
pub(super) struct Block {
    index: usize,
    streams: AudioVideo<BlockStream>,
}

/// Arguments of the blocks in one pass, besides the hidden states.
pub(super) struct PassArgs<'a> {
    pub ropes: AudioVideo<&'a StreamRope>,
    pub context: &'a PromptContext,
    pub perturbations: &'a Perturbations,
    pub modulation: AudioVideo<&'a StreamModulation<'a>>,
}

impl Block {
    pub(super) fn new(config: &TransformerConfig, index: usize, vb: VarBuilder) -> Result<Self> {
        let AudioVideo { video, audio } = &config.streams;
        Ok(Self {
            index,
            streams: AudioVideo {
                video: BlockStream::new(config, index, [video, audio], &STREAM_NAMES.video, &vb)?,
                audio: BlockStream::new(config, index, [audio, video], &STREAM_NAMES.audio, &vb)?,
            },
        })
    }

    /// Returns the hidden states after `sublayer`, `(1, n, dim)` per stream.
    pub(super) fn forward(
        &self,
        sublayer: Sublayer,
        x: AudioVideo<Tensor>,
        args: &PassArgs,
    ) -> Result<AudioVideo<Tensor>> {
        let AudioVideo { video, audio } = &self.streams;
        let (modulation, text) = (args.modulation, &args.context.text);
        match sublayer {
            Sublayer::SelfAttention => self.self_attention(&x, args),
            Sublayer::TextCrossAttention => Ok(AudioVideo {
                video: video.text_cross_attention(&x.video, &text.video, modulation.video)?,
                audio: audio.text_cross_attention(&x.audio, &text.audio, modulation.audio)?,
            }),
            Sublayer::AudioVideoCrossAttention => self.audio_video_cross_attention(x, args),
            Sublayer::FeedForward => Ok(AudioVideo {
                video: video.feed_forward(&x.video, modulation.video)?,
                audio: audio.feed_forward(&x.audio, modulation.audio)?,
            }),
        }
    }

    /// Keys and values of a prompt's projected contexts, `(1, 1024, dim)` per stream. Only where the noise level does
    /// not modulate the text.
    pub(super) fn text_keys_values(&self, contexts: &AudioVideo<Tensor>) -> Result<AudioVideo<KeysValues>> {
        self.streams
            .as_ref()
            .zip(contexts.as_ref())
            .try_map(|(stream, context)| stream.attn2.keys_values(context, None))
    }

    fn self_attention(&self, x: &AudioVideo<Tensor>, args: &PassArgs) -> Result<AudioVideo<Tensor>> {
        let skipped = args.perturbations.skip_self_attn.as_ref().map(|blocks| blocks.contains(self.index));
        let ropes = args.ropes.zip(skipped).map(|(rope, skipped)| (!skipped).then_some(&rope.self_attn));
        let AudioVideo { video, audio } = &self.streams;
        Ok(AudioVideo {
            video: video.self_attention(&x.video, args.modulation.video, ropes.video)?,
            audio: audio.self_attention(&x.audio, args.modulation.audio, ropes.audio)?,
        })
    }

    /// Attention of each stream to the other one. Both directions use the hidden states before this sublayer.
    fn audio_video_cross_attention(&self, x: AudioVideo<Tensor>, args: &PassArgs) -> Result<AudioVideo<Tensor>> {
        let skipped = args.perturbations.skip_cross_attn.as_ref().map(|blocks| blocks.contains(self.index));
        let (modulation, ropes) = (args.modulation, args.ropes.map(|rope| &rope.cross_attn));
        let AudioVideo { video, audio } = &self.streams;
        let video = CrossSide { stream: video, x: &x.video, modulation: modulation.video, rope: ropes.video };
        let audio = CrossSide { stream: audio, x: &x.audio, modulation: modulation.audio, rope: ropes.audio };
        Ok(AudioVideo {
            video: match skipped.video {
                true => x.video.clone(),
                false => video.attend(&audio, CrossDirection::AudioToVideo)?,
            },
            audio: match skipped.audio {
                true => x.audio.clone(),
                false => audio.attend(&video, CrossDirection::VideoToAudio)?,
            },
        })
    }
}

/// One stream in the audio-video cross-attention.
struct CrossSide<'a> {
    stream: &'a BlockStream,
    x: &'a Tensor,
    modulation: &'a StreamModulation<'a>,
    rope: &'a RopeTable,
}

impl CrossSide<'_> {
    /// Adds the gated attention of this stream to `other` to the hidden states.
    fn attend(&self, other: &CrossSide, direction: CrossDirection) -> Result<Tensor> {
        let (query, context) = (self.normed(direction)?, other.normed(direction)?);
        let attended = self.stream.cross.forward(&query, &context, Some(self.rope), Some(other.rope))?;
        gated_residual(self.x, &attended, &self.modulation.cross_gate(self.stream.block)?)
    }

    /// Normalised and modulated hidden states for the cross-attention in `direction`.
    fn normed(&self, direction: CrossDirection) -> Result<Tensor> {
        let [scale, shift] = self.modulation.cross_attention(self.stream.block, direction)?;
        rms_norm_modulate(self.x, &scale, &shift, self.stream.norm_eps)
    }
}

/// Layers of one stream in a block.
#[derive(Debug)]
struct BlockStream {
    /// Index of the block.
    block: usize,
    attn1: Attention,
    attn2: Attention,
    ff: FeedForward,
    /// Attention of this stream to the other one.
    cross: Attention,
    norm_eps: f64,
}

impl BlockStream {
    fn new(
        config: &TransformerConfig,
        block: usize,
        [own, other]: [&StreamConfig; 2],
        names: &StreamNames,
        vb: &VarBuilder,
    ) -> Result<Self> {
        let named = |name: &str| vb.pp(format!("{}{name}", names.prefix));
        // The cross-attention has the heads of the audio stream in both directions.
        let cross = config.attention(&config.streams.audio, own.dim(), other.dim());
        Ok(Self {
            block,
            attn1: Attention::new(config.attention(own, own.dim(), own.dim()), named("attn1"))?,
            attn2: Attention::new(config.attention(own, own.dim(), own.context_dim), named("attn2"))?,
            ff: FeedForward::new(own.dim(), named("ff"))?,
            cross: Attention::new(cross, vb.pp(names.cross_attention))?,
            norm_eps: config.norm_eps,
        })
    }

    /// Adds the gated self-attention to `x`. Without `rope` the attention is skipped and only the values are added.
    fn self_attention(&self, x: &Tensor, modulation: &StreamModulation, rope: Option<&RopeTable>) -> Result<Tensor> {
        let [shift, scale, gate] = modulation.self_attention(self.block)?;
        let normed = rms_norm_modulate(x, &scale, &shift, self.norm_eps)?;
        let attended = match rope {
            Some(_) => self.attn1.forward(&normed, &normed, rope, rope)?,
            None => self.attn1.values_only(&normed)?,
        };
        gated_residual(x, &attended, &gate)
    }

    /// Adds the attention to the text to `x`. In LTX-2.3 the noise level modulates query, text and output.
    fn text_cross_attention(&self, x: &Tensor, text: &TextContext, modulation: &StreamModulation) -> Result<Tensor> {
        let prompt = modulation.prompt(self.block)?;
        let keys_values = self.text_keys_values(text, prompt.as_ref())?;
        if prompt.is_none() {
            return residual(x, &self.attn2.attend(&rms_norm(x, None, self.norm_eps)?, &keys_values, None)?);
        }
        let [shift, scale, gate] = modulation.text_cross_attention(self.block)?;
        let normed = rms_norm_modulate(x, &scale, &shift, self.norm_eps)?;
        gated_residual(x, &self.attn2.attend(&normed, &keys_values, None)?, &gate)
    }

    /// Keys and values of the text, cached or computed with shift and scale of the text, if modulated.
    fn text_keys_values(&self, text: &TextContext, prompt: Option<&[Tensor; 2]>) -> Result<KeysValues> {
        match (text, prompt) {
            (TextContext::KeysValues(blocks), _) => Ok(blocks[self.block].clone()),
            (TextContext::Projected(context), None) => self.attn2.keys_values(context, None),
            (TextContext::Projected(context), Some([shift, scale])) => {
                self.attn2.keys_values(&modulate(context, scale, shift)?, None)
            }
        }
    }

    /// Adds the gated feed-forward layer to `x`.
    fn feed_forward(&self, x: &Tensor, modulation: &StreamModulation) -> Result<Tensor> {
        let [shift, scale, gate] = modulation.feed_forward(self.block)?;
        let normed = rms_norm_modulate(x, &scale, &shift, self.norm_eps)?;
        gated_residual(x, &self.ff.forward(&normed)?, &gate)
    }
}
