//! One block: self-attention, text cross-attention, cross-attention between picture and sound, feed-forward
//! (`BasicAVTransformerBlock`).

use candle_core::{Result, Tensor};
use ltx2_kernels::{RopeTable, gated_residual, modulate, rms_norm, rms_norm_modulate};

use super::config::{StreamConfig, TransformerConfig};
use super::modality::{Modality, Pass, Timesteps};
use crate::VarBuilder;
use crate::attention::Attention;
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

/// Per-token modulation of one stream in one pass, before each block adds its own table.
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

    /// `(vx, ax)`, each `(1, n, dim)`, to the same.
    pub(super) fn forward(
        &self,
        (vx, ax): (Tensor, Tensor),
        pass: &Pass,
        (v_mod, a_mod): (&StreamModulation, &StreamModulation),
    ) -> Result<(Tensor, Tensor)> {
        let skip = pass.perturbations;
        let vx = self.video.attend(&vx, &pass.video, v_mod, skip.skip_video_self_attn.contains(self.index))?;
        let ax = self.audio.attend(&ax, &pass.audio, a_mod, skip.skip_audio_self_attn.contains(self.index))?;
        let (v_before, a_before) = (vx.clone(), ax.clone());
        let (v_rope, a_rope) = (&pass.video.rope.cross, &pass.audio.rope.cross);
        let cross = |stream: &BlockStream,
                     row: usize,
                     x: Tensor,
                     before: [&Tensor; 2],
                     mods: [&StreamModulation; 2],
                     ropes: [&RopeTable; 2],
                     other: &BlockStream| {
            let query = stream.for_cross(before[0], mods[0], row)?;
            let context = other.for_cross(before[1], mods[1], row)?;
            let heard = stream.cross.forward(&query, &context, Some(ropes[0]), Some(ropes[1]))?;
            gated_residual(&x, &heard, &stream.cross_gate(mods[0])?)
        };
        let seen = if skip.skip_a2v_cross_attn.contains(self.index) {
            vx
        } else {
            cross(&self.video, 0, vx, [&v_before, &a_before], [v_mod, a_mod], [v_rope, a_rope], &self.audio)?
        };
        let heard = if skip.skip_v2a_cross_attn.contains(self.index) {
            ax
        } else {
            cross(&self.audio, 2, ax, [&a_before, &v_before], [a_mod, v_mod], [a_rope, v_rope], &self.video)?
        };
        Ok((self.video.feed_forward(&seen, v_mod)?, self.audio.feed_forward(&heard, a_mod)?))
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

    /// Self-attention, then attention to the text.
    fn attend(
        &self,
        x: &Tensor,
        modality: &Modality,
        modulation: &StreamModulation,
        perturbed: bool,
    ) -> Result<Tensor> {
        let [shift, scale, gate] = self.ada_values(modulation, 0)?;
        let normed = rms_norm_modulate(x, &scale, &shift, self.norm_eps)?;
        let attended = if perturbed {
            self.attn1.values_only(&normed)?
        } else {
            let rope = Some(&modality.rope.own);
            self.attn1.forward(&normed, &normed, rope, rope)?
        };
        let x = gated_residual(x, &attended, &gate)?;
        self.read_text(&x, modality, modulation)
    }

    /// `x` and its attention to the text; in LTX-2.3 the noise level modulates the query, the text and what is read.
    fn read_text(&self, x: &Tensor, modality: &Modality, modulation: &StreamModulation) -> Result<Tensor> {
        let (Some(prompt), Some(table)) = (&modulation.prompt, &self.prompt_scale_shift_table) else {
            return x + self.attn2.forward(&rms_norm(x, None, self.norm_eps)?, modality.context, None, None)?;
        };
        let [shift, scale, gate] = self.ada_values(modulation, 6)?;
        let row = |i: usize| prompt.narrow(1, i, 1)?.broadcast_add(&table.narrow(0, i, 1)?);
        let context = modulate(modality.context, &row(1)?, &row(0)?)?;
        let normed = rms_norm_modulate(x, &scale, &shift, self.norm_eps)?;
        gated_residual(x, &self.attn2.forward(&normed, &context, None, None)?, &gate)
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
