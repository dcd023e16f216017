//! The whole transformer: latents of both modalities in, velocities out.

use candle_core::{DType, Device, Result, Tensor};
use ltx2_kernels::{layer_norm, modulate};

use super::block::Side;
use super::config::{StreamConfig, TransformerConfig};
use super::forward::Modulated;
use super::modulation::{Parameters, Tables};
use super::stack::BlockStack;
use super::{Modality, StreamRope};
use crate::VarBuilder;
use crate::adaln::AdaLayerNormSingle;
use crate::linear::Linear;
use crate::rope::Positions;

/// The transformer with its weights.
#[derive(Debug)]
pub struct Transformer {
    pub(super) config: TransformerConfig,
    pub(super) video: Stream,
    pub(super) audio: Stream,
    pub(super) blocks: BlockStack,
    pub(super) dtype: DType,
    device: Device,
}

impl Transformer {
    /// Reads `model.diffusion_model.*`.
    pub fn new(config: &TransformerConfig, vb: VarBuilder) -> Result<Self> {
        Self::with_resident_blocks(config, vb, config.num_layers)
    }

    /// The same with the first `resident` blocks: the others are read anew by each step, once for all of its passes, and are
    /// gone when it has come by.
    pub fn with_resident_blocks(config: &TransformerConfig, vb: VarBuilder, resident: usize) -> Result<Self> {
        let vb = vb.pp("model.diffusion_model");
        let blocks = BlockStack::new(config, vb.pp("transformer_blocks"), resident)?;
        Ok(Self {
            video: Stream::new(config, Side::Video, &vb)?,
            audio: Stream::new(config, Side::Audio, &vb)?,
            blocks,
            dtype: vb.dtype(),
            device: vb.device().clone(),
            config: config.clone(),
        })
    }

    /// How many of its blocks are in memory.
    pub fn resident_blocks(&self) -> usize {
        self.blocks.resident()
    }

    /// Rotary tables of the picture's and the sound's positions; needed once per shape.
    pub fn ropes(&self, video: &Positions, audio: &Positions) -> Result<(StreamRope, StreamRope)> {
        Ok((self.stream_rope(video, &self.config.video)?, self.stream_rope(audio, &self.config.audio)?))
    }

    fn stream_rope(&self, positions: &Positions, stream: &StreamConfig) -> Result<StreamRope> {
        let (rope, to) = (&self.config.rope, (self.dtype, &self.device));
        let cross_max = [self.config.cross_max_pos()];
        Ok(StreamRope {
            own: rope.table(positions, stream.dim(), stream.heads, &stream.max_pos, to)?,
            cross: rope.table(&positions.time(), self.config.cross_rope_dim, stream.heads, &cross_max, to)?,
        })
    }
}

/// What surrounds the blocks in one modality.
#[derive(Debug)]
pub(super) struct Stream {
    dim: usize,
    pub(super) patchify_proj: Linear,
    caption_projection: Option<CaptionProjection>,
    adaln_single: AdaLayerNormSingle,
    /// Modulates the text.
    prompt_adaln_single: Option<AdaLayerNormSingle>,
    cross_scale_shift: AdaLayerNormSingle,
    cross_gate: AdaLayerNormSingle,
    tables: Tables,
    scale_shift_table: Tensor,
    proj_out: Linear,
}

impl Stream {
    fn new(config: &TransformerConfig, side: Side, vb: &VarBuilder) -> Result<Self> {
        let (stream, cross, gate) = match side {
            Side::Video => (&config.video, "av_ca_video_scale_shift_adaln_single", "av_ca_a2v_gate_adaln_single"),
            Side::Audio => (&config.audio, "av_ca_audio_scale_shift_adaln_single", "av_ca_v2a_gate_adaln_single"),
        };
        let (dim, prefix) = (stream.dim(), side.prefix());
        let named = |name: &str| vb.pp(format!("{prefix}{name}"));
        Ok(Self {
            dim,
            patchify_proj: Linear::new(stream.in_channels, dim, named("patchify_proj"))?,
            caption_projection: config
                .caption_channels
                .map(|channels| CaptionProjection::new(channels, dim, named("caption_projection")))
                .transpose()?,
            adaln_single: AdaLayerNormSingle::new(dim, config.modulations(), named("adaln_single"))?,
            prompt_adaln_single: match config.cross_attention_adaln {
                true => Some(AdaLayerNormSingle::new(dim, 2, named("prompt_adaln_single"))?),
                false => None,
            },
            cross_scale_shift: AdaLayerNormSingle::new(dim, 4, vb.pp(cross))?,
            cross_gate: AdaLayerNormSingle::new(dim, 1, vb.pp(gate))?,
            tables: Tables::new(config, side, dim, vb)?,
            scale_shift_table: vb.get((2, dim), &format!("{prefix}scale_shift_table"))?,
            proj_out: Linear::new(dim, stream.out_channels, named("proj_out"))?,
        })
    }

    /// A context behind the caption projection, if there is one.
    pub(super) fn project(&self, context: &Tensor) -> Result<Tensor> {
        self.caption_projection.as_ref().map_or(Ok(context.clone()), |projection| projection.forward(context))
    }

    pub(super) fn modulation<'a>(
        &self,
        modality: &Modality<'a>,
        other_sigma: f32,
        config: &TransformerConfig,
    ) -> Result<Modulated<'a>> {
        let (dtype, device) = (modality.latent.dtype(), modality.latent.device());
        let own = self.adaln_single.forward(&modality.timesteps.scaled(config.timestep_scale), dtype, device)?;
        let levels = own.embedded.dim(0)?;
        let prompt = match &self.prompt_adaln_single {
            Some(adaln) => Some(adaln.forward(&[modality.sigma * config.timestep_scale], dtype, device)?),
            None => None,
        };
        // Towards the other modality it is that one's noise level that counts.
        let scaled = other_sigma * config.timestep_scale;
        let gate_share = config.cross_gate_scale / config.timestep_scale;
        let cross = self.cross_scale_shift.forward(&[scaled], dtype, device)?;
        let gate = self.cross_gate.forward(&[scaled * gate_share], dtype, device)?;
        let parameters = Parameters {
            own: own.parameters.reshape((levels, config.modulations(), self.dim))?,
            prompt: prompt.map(|rows| rows.parameters.reshape((1, 2, self.dim))).transpose()?,
            cross: cross.parameters.reshape((1, 4, self.dim))?,
            cross_gate: gate.parameters.reshape((1, 1, self.dim))?,
        };
        Ok(Modulated { blocks: self.tables.modulation(modality.timesteps, &parameters)?, embedded: own.embedded })
    }

    pub(super) fn output(&self, x: &Tensor, modality: &Modality, embedded: &Tensor, eps: f64) -> Result<Tensor> {
        let row =
            |i: usize| modality.timesteps.per_token(&embedded.broadcast_add(&self.scale_shift_table.narrow(0, i, 1)?)?);
        self.proj_out.forward(&modulate(&layer_norm(x, eps)?, &row(1)?, &row(0)?)?)
    }
}

/// Linear, tanh-GELU, linear (`PixArtAlphaTextProjection`).
#[derive(Debug)]
struct CaptionProjection {
    linear_1: Linear,
    linear_2: Linear,
}

impl CaptionProjection {
    fn new(channels: usize, dim: usize, vb: VarBuilder) -> Result<Self> {
        Ok(Self {
            linear_1: Linear::new(channels, dim, vb.pp("linear_1"))?,
            linear_2: Linear::new(dim, dim, vb.pp("linear_2"))?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.linear_2.forward(&self.linear_1.product(x)?.gelu()?)
    }
}
