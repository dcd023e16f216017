//! One block: self-attention, text cross-attention, cross-attention between picture and sound, feed-forward
//! (`BasicAVTransformerBlock`).

use candle_core::{Result, Tensor};
use ltx2_kernels::{RopeTable, gated_residual, modulate, residual, rms_norm, rms_norm_modulate};

use super::config::{StreamConfig, TransformerConfig};
use super::context::{Context, Text};
use super::{Blocks, Inputs, Part, Perturbations, Timesteps};
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

    fn cross(self) -> (&'static str, &'static str) {
        match self {
            Self::Video => ("audio_to_video_attn", "scale_shift_table_a2v_ca_video"),
            Self::Audio => ("video_to_audio_attn", "scale_shift_table_a2v_ca_audio"),
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

/// Per-token modulation of one stream in one step, before each block adds its own table.
pub(super) struct StreamModulation<'a> {
    pub timesteps: &'a Timesteps,
    /// `(levels, 6 or 9, dim)`: shift, scale and gate of self-attention, of the feed-forward, and of the attention to
    /// the text where that is modulated.
    pub own: Tensor,
    /// `(1, 2, dim)`: shift and scale of the text, where it is modulated.
    pub prompt: Option<Tensor>,
    /// `(1, 4, dim)`: scale and shift towards the sound-to-picture attention, then towards the other.
    pub cross: Tensor,
    /// `(1, 1, dim)`.
    pub cross_gate: Tensor,
}

impl Block {
    pub(super) fn new(config: &TransformerConfig, index: usize, vb: VarBuilder) -> Result<Self> {
        Ok(Self {
            index,
            video: BlockStream::new(config, Side::Video, &vb)?,
            audio: BlockStream::new(config, Side::Audio, &vb)?,
        })
    }

    /// `streams` behind `part` of this block.
    pub(super) fn forward(&self, part: Part, streams: Streams, run: &Run) -> Result<Streams> {
        match part {
            Part::SelfAttention => self.attend_to_self(&streams, run),
            Part::Text => Ok(Streams {
                video: self.video.read_text(&streams.video, (self.index, &run.context.video), run.video)?,
                audio: self.audio.read_text(&streams.audio, (self.index, &run.context.audio), run.audio)?,
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
            gated_residual(x[0], &heard, &stream.cross_gate(own)?)
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
    attn1: Attention,
    attn2: Attention,
    ff: FeedForward,
    scale_shift_table: Tensor,
    prompt_scale_shift_table: Option<Tensor>,
    /// Attention of this stream to the other one.
    cross: Attention,
    cross_table: Tensor,
    norm_eps: f64,
}

impl BlockStream {
    fn new(config: &TransformerConfig, side: Side, vb: &VarBuilder) -> Result<Self> {
        let (own, other): (&StreamConfig, &StreamConfig) = match side {
            Side::Video => (&config.video, &config.audio),
            Side::Audio => (&config.audio, &config.video),
        };
        let prefix = side.prefix();
        let named = |name: &str| vb.pp(format!("{prefix}{name}"));
        let (cross, cross_table) = side.cross();
        Ok(Self {
            attn1: Attention::new(config.attention(own, own.dim(), own.dim()), named("attn1"))?,
            attn2: Attention::new(config.attention(own, own.dim(), own.context_dim), named("attn2"))?,
            ff: FeedForward::new(own.dim(), named("ff"))?,
            scale_shift_table: vb.get((config.modulations(), own.dim()), &format!("{prefix}scale_shift_table"))?,
            prompt_scale_shift_table: match config.cross_attention_adaln {
                true => Some(vb.get((2, own.dim()), &format!("{prefix}prompt_scale_shift_table"))?),
                false => None,
            },
            // Between the modalities both directions have the sound's heads.
            cross: Attention::new(config.attention(&config.audio, own.dim(), other.dim()), vb.pp(cross))?,
            cross_table: vb.get((5, own.dim()), cross_table)?,
            norm_eps: config.norm_eps,
        })
    }

    /// `x` and its attention to itself, of which only the values are left without `rope`.
    fn attend_to_self(&self, x: &Tensor, modulation: &StreamModulation, rope: Option<&RopeTable>) -> Result<Tensor> {
        let [shift, scale, gate] = self.ada_values(modulation, 0)?;
        let normed = rms_norm_modulate(x, &scale, &shift, self.norm_eps)?;
        let attended = match rope {
            Some(_) => self.attn1.forward(&normed, &normed, rope, rope)?,
            None => self.attn1.values_only(&normed)?,
        };
        gated_residual(x, &attended, &gate)
    }

    /// `x` and its attention to the text, which comes with this block's number; in LTX-2.3 the noise level modulates the
    /// query, the text and what is read.
    fn read_text(&self, x: &Tensor, text: (usize, &Text), modulation: &StreamModulation) -> Result<Tensor> {
        let keys_values = self.keys_values(text, modulation)?;
        if modulation.prompt.is_none() {
            return residual(x, &self.attn2.attend(&rms_norm(x, None, self.norm_eps)?, &keys_values, None)?);
        }
        let [shift, scale, gate] = self.ada_values(modulation, 6)?;
        let normed = rms_norm_modulate(x, &scale, &shift, self.norm_eps)?;
        gated_residual(x, &self.attn2.attend(&normed, &keys_values, None)?, &gate)
    }

    fn keys_values(&self, (block, text): (usize, &Text), modulation: &StreamModulation) -> Result<KeysValues> {
        let context = match text {
            Text::KeysValues(blocks) => return Ok(blocks[block].clone()),
            Text::Projected(context) => context,
        };
        let (Some(prompt), Some(table)) = (&modulation.prompt, &self.prompt_scale_shift_table) else {
            return self.attn2.keys_values(context, None);
        };
        let row = |i: usize| prompt.narrow(1, i, 1)?.broadcast_add(&table.narrow(0, i, 1)?);
        self.attn2.keys_values(&modulate(context, &row(1)?, &row(0)?)?, None)
    }

    fn feed_forward(&self, x: &Tensor, modulation: &StreamModulation) -> Result<Tensor> {
        let [shift, scale, gate] = self.ada_values(modulation, 3)?;
        let normed = rms_norm_modulate(x, &scale, &shift, self.norm_eps)?;
        gated_residual(x, &self.ff.forward(&normed)?, &gate)
    }

    /// Rows `first..first + 3` of table + timestep, for each token.
    fn ada_values(&self, modulation: &StreamModulation, first: usize) -> Result<[Tensor; 3]> {
        let row = |i: usize| -> Result<Tensor> {
            let rows =
                modulation.own.narrow(1, i, 1)?.squeeze(1)?.broadcast_add(&self.scale_shift_table.narrow(0, i, 1)?)?;
            modulation.timesteps.per_token(&rows)
        };
        Ok([row(first)?, row(first + 1)?, row(first + 2)?])
    }

    /// The stream as the cross-attention in direction `row` (0 to the picture, 2 to the sound) reads it.
    fn for_cross(&self, x: &Tensor, modulation: &StreamModulation, row: usize) -> Result<Tensor> {
        let value = |i: usize| modulation.cross.narrow(1, i, 1)?.broadcast_add(&self.cross_table.narrow(0, i, 1)?);
        rms_norm_modulate(x, &value(row)?, &value(row + 1)?, self.norm_eps)
    }

    fn cross_gate(&self, modulation: &StreamModulation) -> Result<Tensor> {
        modulation.cross_gate.broadcast_add(&self.cross_table.narrow(0, 4, 1)?)
    }
}
