//! Layers of one stream outside the blocks.

use candle_core::{Result, Tensor};
use ltx2_kernels::{layer_norm, modulate};

use super::config::{StreamConfig, TransformerConfig};
use super::modality::Modality;
use super::modulation::{StreamAdaLn, StreamModulation};
use super::stream_names::StreamNames;
use crate::VarBuilder;
use crate::linear::Linear;

/// Input and output projections and AdaLN networks of one stream.
#[derive(Debug)]
pub(super) struct StreamLayers {
    patchify_proj: Linear,
    caption_projection: Option<CaptionProjection>,
    adaln: StreamAdaLn,
    scale_shift_table: Tensor,
    proj_out: Linear,
    norm_eps: f64,
}

impl StreamLayers {
    pub(super) fn new(
        config: &TransformerConfig,
        stream: &StreamConfig,
        names: &StreamNames,
        vb: &VarBuilder,
    ) -> Result<Self> {
        let (dim, prefix) = (stream.dim(), names.prefix);
        let named = |name: &str| vb.pp(format!("{prefix}{name}"));
        Ok(Self {
            patchify_proj: Linear::new(stream.in_channels, dim, named("patchify_proj"))?,
            caption_projection: config
                .caption_channels
                .map(|channels| CaptionProjection::new(channels, dim, named("caption_projection")))
                .transpose()?,
            adaln: StreamAdaLn::new(config, names, dim, vb)?,
            scale_shift_table: vb.get((2, dim), &format!("{prefix}scale_shift_table"))?,
            proj_out: Linear::new(dim, stream.out_channels, named("proj_out"))?,
            norm_eps: config.norm_eps,
        })
    }

    /// Tokens `(1, n, in_channels)` to hidden states `(1, n, dim)`.
    pub(super) fn project_in(&self, latent: &Tensor) -> Result<Tensor> {
        self.patchify_proj.forward(latent)
    }

    /// Output of the caption projection, or `context` itself if there is no projection.
    pub(super) fn project_context(&self, context: &Tensor) -> Result<Tensor> {
        self.caption_projection.as_ref().map_or(Ok(context.clone()), |projection| projection.forward(context))
    }

    /// Modulation of the blocks; `cross_sigma` is the sigma of the other modality.
    pub(super) fn modulation<'a>(&self, modality: &Modality<'a>, cross_sigma: f32) -> Result<StreamModulation<'a>> {
        self.adaln.modulation(modality, cross_sigma)
    }

    /// Hidden states `(1, n, dim)` to velocities `(1, n, out_channels)`.
    pub(super) fn project_out(&self, x: &Tensor, modality: &Modality, modulation: &StreamModulation) -> Result<Tensor> {
        let embedded = &modulation.embedded_timestep;
        let row =
            |i: usize| modality.timesteps.per_token(&embedded.broadcast_add(&self.scale_shift_table.narrow(0, i, 1)?)?);
        self.proj_out.forward(&modulate(&layer_norm(x, self.norm_eps)?, &row(1)?, &row(0)?)?)
    }
}

/// Caption projection (`PixArtAlphaTextProjection`): linear, tanh-GELU, linear.
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
