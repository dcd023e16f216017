//! One block: self-attention, text cross-attention, cross-attention between picture and sound, feed-forward
//! (`BasicAVTransformerBlock`).

use candle_core::{Result, Tensor};
use ltx2_kernels::{RopeTable, gated_residual, modulate, residual, rms_norm, rms_norm_modulate};

use super::config::{StreamConfig, TransformerConfig};
use super::context::{Context, Text};
use super::modulation::StreamModulation;
use super::{Blocks, Inputs, Part, Perturbations};
use crate::VarBuilder;
use crate::attention::{Attention, KeysValues};
use crate::feed_forward::FeedForward;

/// Names and directions that differ between the two streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Video,
    Audio,
}

impl Side {
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::Video => "",
            Self::Audio => "audio_",
        }
    }

    fn cross_attention(self) -> &'static str {
        match self {
            Self::Video => "audio_to_video_attn",
            Self::Audio => "video_to_audio_attn",
        }
    }

    pub(super) fn cross_table(self) -> &'static str {
        match self {
            Self::Video => "scale_shift_table_a2v_ca_video",
            Self::Audio => "scale_shift_table_a2v_ca_audio",
        }
    }
}

/// A block.
#[derive(Debug)]
pub(super) struct Block {
    index: usize,
    video: BlockStream,
    audio: BlockStream,
}

/// Tokens of both modalities on their way through the blocks.
#[derive(Debug, Clone)]
pub(super) struct Streams {
    /// `(1, n, video dim)`.
    pub video: Tensor,
    /// `(1, n, audio dim)`.
    pub audio: Tensor,
}

/// What the blocks read in one pass besides the streams.
pub(super) struct Run<'a> {
    pub inputs: &'a Inputs<'a>,
    pub context: &'a Context,
    pub perturbations: &'a Perturbations,
    pub video: &'a StreamModulation<'a>,
    pub audio: &'a StreamModulation<'a>,
}

impl Block {
    pub(super) fn new(config: &TransformerConfig, index: usize, vb: VarBuilder) -> Result<Self> {
        Ok(Self {
            index,
            video: BlockStream::new(config, index, Side::Video, &vb)?,
            audio: BlockStream::new(config, index, Side::Audio, &vb)?,
        })
    }

    /// `streams` behind `part` of this block.
    pub(super) fn forward(&self, part: Part, streams: Streams, run: &Run) -> Result<Streams> {
        match part {
            Part::SelfAttention => self.attend_to_self(&streams, run),
            Part::Text => Ok(Streams {
                video: self.video.read_text(&streams.video, &run.context.video, run.video)?,
                audio: self.audio.read_text(&streams.audio, &run.context.audio, run.audio)?,
            }),
            Part::Between => self.attend_to_each_other(streams, run),
            Part::FeedForward => Ok(Streams {
                video: self.video.feed_forward(&streams.video, run.video)?,
                audio: self.audio.feed_forward(&streams.audio, run.audio)?,
            }),
        }
    }

    /// What this block reads of a prompt, for picture and sound, where the noise level has no say.
    pub(super) fn text(&self, video: &Tensor, audio: &Tensor) -> Result<(KeysValues, KeysValues)> {
        Ok((self.video.attn2.keys_values(video, None)?, self.audio.attn2.keys_values(audio, None)?))
    }

    fn attend_to_self(&self, x: &Streams, run: &Run) -> Result<Streams> {
        let Perturbations { skip_video_self_attn, skip_audio_self_attn, .. } = run.perturbations;
        let (v_rope, a_rope) = (&run.inputs.video.rope.own, &run.inputs.audio.rope.own);
        let rope_of = |rope, skipped: &Blocks| (!skipped.contains(self.index)).then_some(rope);
        Ok(Streams {
            video: self.video.attend_to_self(&x.video, run.video, rope_of(v_rope, skip_video_self_attn))?,
            audio: self.audio.attend_to_self(&x.audio, run.audio, rope_of(a_rope, skip_audio_self_attn))?,
        })
    }

    /// Both directions read both streams as they were before.
    fn attend_to_each_other(&self, x: Streams, run: &Run) -> Result<Streams> {
        let Perturbations { skip_a2v_cross_attn, skip_v2a_cross_attn, .. } = run.perturbations;
        let video = (&self.video, run.video, &run.inputs.video.rope.cross);
        let audio = (&self.audio, run.audio, &run.inputs.audio.rope.cross);
        let cross = |row: usize,
                     x: [&Tensor; 2],
                     (stream, own, rope): (&BlockStream, &StreamModulation, &RopeTable),
                     (other, theirs, their_rope): (&BlockStream, &StreamModulation, &RopeTable)| {
            let query = stream.for_cross(x[0], own, row)?;
            let context = other.for_cross(x[1], theirs, row)?;
            let heard = stream.cross.forward(&query, &context, Some(rope), Some(their_rope))?;
            gated_residual(x[0], &heard, &own.cross_gate(self.index)?)
        };
        Ok(Streams {
            video: match skip_a2v_cross_attn.contains(self.index) {
                true => x.video.clone(),
                false => cross(0, [&x.video, &x.audio], video, audio)?,
            },
            audio: match skip_v2a_cross_attn.contains(self.index) {
                true => x.audio,
                false => cross(2, [&x.audio, &x.video], audio, video)?,
            },
        })
    }
}

/// One modality's half of a block.
#[derive(Debug)]
struct BlockStream {
    /// The block's number.
    block: usize,
    attn1: Attention,
    attn2: Attention,
    ff: FeedForward,
    /// Attention of this stream to the other one.
    cross: Attention,
    norm_eps: f64,
}

impl BlockStream {
    fn new(config: &TransformerConfig, block: usize, side: Side, vb: &VarBuilder) -> Result<Self> {
        let (own, other): (&StreamConfig, &StreamConfig) = match side {
            Side::Video => (&config.video, &config.audio),
            Side::Audio => (&config.audio, &config.video),
        };
        let prefix = side.prefix();
        let named = |name: &str| vb.pp(format!("{prefix}{name}"));
        Ok(Self {
            block,
            attn1: Attention::new(config.attention(own, own.dim(), own.dim()), named("attn1"))?,
            attn2: Attention::new(config.attention(own, own.dim(), own.context_dim), named("attn2"))?,
            ff: FeedForward::new(own.dim(), named("ff"))?,
            // Between the modalities both directions have the sound's heads.
            cross: Attention::new(
                config.attention(&config.audio, own.dim(), other.dim()),
                vb.pp(side.cross_attention()),
            )?,
            norm_eps: config.norm_eps,
        })
    }

    /// `x` and its attention to itself, of which only the values are left without `rope`.
    fn attend_to_self(&self, x: &Tensor, modulation: &StreamModulation, rope: Option<&RopeTable>) -> Result<Tensor> {
        let [shift, scale, gate] = modulation.own(self.block, 0)?;
        let normed = rms_norm_modulate(x, &scale, &shift, self.norm_eps)?;
        let attended = match rope {
            Some(_) => self.attn1.forward(&normed, &normed, rope, rope)?,
            None => self.attn1.values_only(&normed)?,
        };
        gated_residual(x, &attended, &gate)
    }

    /// `x` and its attention to the text; in LTX-2.3 the noise level modulates the query, the text and what is read.
    fn read_text(&self, x: &Tensor, text: &Text, modulation: &StreamModulation) -> Result<Tensor> {
        let prompt = modulation.prompt(self.block)?;
        let keys_values = self.keys_values(text, prompt.as_ref())?;
        if prompt.is_none() {
            return residual(x, &self.attn2.attend(&rms_norm(x, None, self.norm_eps)?, &keys_values, None)?);
        }
        let [shift, scale, gate] = modulation.own(self.block, 6)?;
        let normed = rms_norm_modulate(x, &scale, &shift, self.norm_eps)?;
        gated_residual(x, &self.attn2.attend(&normed, &keys_values, None)?, &gate)
    }

    /// Of the text, with shift and scale where it is modulated.
    fn keys_values(&self, text: &Text, prompt: Option<&[Tensor; 2]>) -> Result<KeysValues> {
        match (text, prompt) {
            (Text::KeysValues(blocks), _) => Ok(blocks[self.block].clone()),
            (Text::Projected(context), None) => self.attn2.keys_values(context, None),
            (Text::Projected(context), Some([shift, scale])) => {
                self.attn2.keys_values(&modulate(context, scale, shift)?, None)
            }
        }
    }

    fn feed_forward(&self, x: &Tensor, modulation: &StreamModulation) -> Result<Tensor> {
        let [shift, scale, gate] = modulation.own(self.block, 3)?;
        let normed = rms_norm_modulate(x, &scale, &shift, self.norm_eps)?;
        gated_residual(x, &self.ff.forward(&normed)?, &gate)
    }

    /// The stream as the cross-attention in direction `row` (0 to the picture, 2 to the sound) reads it.
    fn for_cross(&self, x: &Tensor, modulation: &StreamModulation, row: usize) -> Result<Tensor> {
        let [scale, shift] = modulation.cross(self.block, row)?;
        rms_norm_modulate(x, &scale, &shift, self.norm_eps)
    }
}
