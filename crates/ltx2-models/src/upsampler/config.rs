//! An upsampler's architecture, from the config of its own file.

use crate::config::{ConfigError, Section};

/// Groups of its norms.
pub(super) const GROUPS: usize = 32;

/// Widths of an upsampler, and what it enlarges.
#[derive(Debug, Clone, PartialEq)]
pub struct UpsamplerConfig {
    pub(super) in_channels: usize,
    pub(super) mid_channels: usize,
    pub(super) blocks_per_stage: usize,
    pub(super) resampling: Resampling,
}

/// What the middle layer does to frames, height and width.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Resampling {
    /// Twice the height and width.
    Spatial,
    /// Height and width by a fraction (`rational_resampler`).
    Rational(SpatialScale),
    /// Twice the frames, less one.
    Temporal,
    /// Both twice.
    SpatioTemporal,
}

/// How much larger height and width become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpatialScale {
    /// Rows of the result ...
    pub numerator: usize,
    /// ... for so many rows of the latents.
    pub denominator: usize,
}

impl SpatialScale {
    const ONE: Self = Self { numerator: 1, denominator: 1 };
    /// Twofold, as the published pipelines take it.
    pub const TWO: Self = Self { numerator: 2, denominator: 1 };
    /// What the rational resampler can be asked for.
    const RATIONAL: [(f64, Self); 4] = [
        (0.75, Self { numerator: 3, denominator: 4 }),
        (1.5, Self { numerator: 3, denominator: 2 }),
        (2.0, Self::TWO),
        (4.0, Self { numerator: 4, denominator: 1 }),
    ];

    /// Rows (or columns) that `side` rows become; a part of one counts as one.
    pub fn of(self, side: usize) -> usize {
        (side * self.numerator).div_ceil(self.denominator)
    }
}

impl UpsamplerConfig {
    /// Reads an upsampler's own configuration; refuses, by name, what is not implemented.
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

    /// How much larger height and width become; 1 if it works in time alone.
    pub fn spatial_scale(&self) -> SpatialScale {
        match self.resampling {
            Resampling::Spatial | Resampling::SpatioTemporal => SpatialScale::TWO,
            Resampling::Rational(scale) => scale,
            Resampling::Temporal => SpatialScale::ONE,
        }
    }

    /// Whether `t` latent frames become `2t - 1`: twice the frame rate, the first frame standing for one as before.
    pub fn doubles_time(&self) -> bool {
        matches!(self.resampling, Resampling::Temporal | Resampling::SpatioTemporal)
    }
}

impl Resampling {
    fn new(root: &Section) -> Result<Self, ConfigError> {
        let (space, time) = (root.get("spatial_upsample", true)?, root.get("temporal_upsample", false)?);
        match (space, time) {
            (false, false) => Err(root.unsupported("spatial_upsample", false, "true, or temporal_upsample")),
            // The scale is that of space, and says nothing here.
            (false, true) => Ok(Self::Temporal),
            (true, false) if root.get("rational_resampler", false)? => {
                let asked: f64 = root.get("spatial_scale", 2.0)?;
                let known = SpatialScale::RATIONAL.into_iter().find(|(scale, _)| *scale == asked);
                known
                    .map(|(_, scale)| Self::Rational(scale))
                    .ok_or_else(|| root.unsupported("spatial_scale", asked, "0.75, 1.5, 2 or 4"))
            }
            // Without the rational resampler the official code makes twice of it whatever the scale says.
            (true, time) => {
                root.expect("spatial_scale", 2.0)?;
                Ok(if time { Self::SpatioTemporal } else { Self::Spatial })
            }
        }
    }
}
