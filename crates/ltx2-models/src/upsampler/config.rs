//! Architecture of a latent upsampler, from the config of its file.

use crate::config::{ConfigError, Section};

/// Number of groups of each group norm.
pub(super) const GROUPS: usize = 32;

/// Dimensions and resampling of an upsampler.
#[derive(Debug, Clone, PartialEq)]
pub struct UpsamplerConfig {
    pub(super) in_channels: usize,
    pub(super) mid_channels: usize,
    pub(super) blocks_per_stage: usize,
    pub(super) resampling: Resampling,
}

/// Effect of the resampling layer on frames, height and width.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Resampling {
    /// Doubles height and width.
    Spatial,
    /// Scales height and width by a fraction (`rational_resampler`).
    Rational(SpatialScale),
    /// `t` to `2t - 1` frames.
    Temporal,
    /// Doubles height and width; `t` to `2t - 1` frames.
    SpatioTemporal,
}

/// Scale factor of height and width, as a fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpatialScale {
    /// Numerator of the factor.
    pub numerator: usize,
    /// Denominator of the factor.
    pub denominator: usize,
}

impl SpatialScale {
    const ONE: Self = Self { numerator: 1, denominator: 1 };
    /// Factor 2, required by the published pipelines.
    pub const TWO: Self = Self { numerator: 2, denominator: 1 };
    /// Scales of the rational resampler, by the value of `spatial_scale`.
    const RATIONAL: [(f64, Self); 4] = [
        (0.75, Self { numerator: 3, denominator: 4 }),
        (1.5, Self { numerator: 3, denominator: 2 }),
        (2.0, Self::TWO),
        (4.0, Self { numerator: 4, denominator: 1 }),
    ];

    /// Scaled length of `side` rows or columns, rounded up.
    pub fn of(self, side: usize) -> usize {
        (side * self.numerator).div_ceil(self.denominator)
    }
}

impl UpsamplerConfig {
    /// Reads the config of an upsampler file.
    ///
    /// # Errors
    ///
    /// If a value is not supported; the error names the key.
    pub fn new(root: &Section) -> Result<Self, ConfigError> {
        root.expect("dims", 3)?;
        let config = Self {
            in_channels: root.size("in_channels", 128)?,
            mid_channels: root.size("mid_channels", 512)?,
            blocks_per_stage: root.count("num_blocks_per_stage", 4)?,
            resampling: Resampling::new(root)?,
        };
        if !config.mid_channels.is_multiple_of(GROUPS) {
            return Err(root.unsupported("mid_channels", config.mid_channels, format!("a multiple of {GROUPS}")));
        }
        Ok(config)
    }

    /// Scale factor of height and width; 1 if only time is upsampled.
    pub fn spatial_scale(&self) -> SpatialScale {
        match self.resampling {
            Resampling::Spatial | Resampling::SpatioTemporal => SpatialScale::TWO,
            Resampling::Rational(scale) => scale,
            Resampling::Temporal => SpatialScale::ONE,
        }
    }

    /// Whether `t` latent frames become `2t - 1`, which doubles the frame rate. The first latent frame is one video
    /// frame before and after.
    pub fn doubles_time(&self) -> bool {
        matches!(self.resampling, Resampling::Temporal | Resampling::SpatioTemporal)
    }
}

impl Resampling {
    fn new(root: &Section) -> Result<Self, ConfigError> {
        let (space, time) = (root.get("spatial_upsample", true)?, root.get("temporal_upsample", false)?);
        match (space, time) {
            (false, false) => Err(root.unsupported("spatial_upsample", false, "true, or temporal_upsample")),
            // `spatial_scale` has no effect without spatial upsampling.
            (false, true) => Ok(Self::Temporal),
            (true, false) if root.get("rational_resampler", false)? => {
                let requested: f64 = root.get("spatial_scale", 2.0)?;
                let known = SpatialScale::RATIONAL.into_iter().find(|(scale, _)| *scale == requested);
                known
                    .map(|(_, scale)| Self::Rational(scale))
                    .ok_or_else(|| root.unsupported("spatial_scale", requested, "0.75, 1.5, 2 or 4"))
            }
            // Without the rational resampler the official code doubles, whatever the value of `spatial_scale`.
            (true, time) => {
                root.expect("spatial_scale", 2.0)?;
                Ok(if time { Self::SpatioTemporal } else { Self::Spatial })
            }
        }
    }
}
