//! Log-mel spectrograms to stereo sound: LTX-2's HiFi-GAN generator (`Vocoder`), and LTX-2.3's BigVGAN generator with a
//! second one that adds the high frequencies (`VocoderWithBWE`).

mod activation;
mod bandwidth;
mod config;
mod generator;
mod layers;
mod resample;
mod resblock;
mod stft;

use candle_core::{DType, Result, Tensor};

use bandwidth::BandwidthExtension;
pub use config::VocoderConfig;
use generator::Generator;

use crate::VarBuilder;

/// Either vocoder.
#[derive(Debug)]
pub struct Vocoder {
    generator: Generator,
    extension: Option<BandwidthExtension>,
    dtype: DType,
}

impl Vocoder {
    /// Reads `vocoder.*`. All of it is computed in the dtype of `vb`, the extension too.
    pub fn new(config: &VocoderConfig, vb: VarBuilder) -> Result<Self> {
        let (dtype, vb) = (vb.dtype(), vb.pp("vocoder"));
        let (generator, extension) = match &config.extension {
            None => (Generator::new(&config.generator, vb)?, None),
            Some(extension) => {
                (Generator::new(&config.generator, vb.pp("vocoder"))?, Some(BandwidthExtension::new(extension, vb)?))
            }
        };
        Ok(Self { generator, extension, dtype })
    }

    /// `mel (1, 2, t, 64)` to `(1, 2, samples)` in [-1, 1], at the configuration's sampling rate.
    pub fn forward(&self, mel: &Tensor) -> Result<Tensor> {
        let low = self.generator.forward(&mel.to_dtype(self.dtype)?)?;
        match &self.extension {
            None => Ok(low),
            Some(extension) => extension.forward(&low),
        }
    }
}
