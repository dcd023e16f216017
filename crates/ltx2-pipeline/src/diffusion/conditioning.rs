//! Conditioning items: what is known of the result before it is made. Each turns a state into another one.

use candle_core::{Result, Tensor};

use super::LatentState;
use super::patchifier::VideoLatentShape;

/// Something that the picture has to agree with.
#[derive(Debug, Clone)]
pub enum ConditioningItem {
    /// Latents in place of those from a latent frame on (`VideoConditionByLatentIndex`).
    ReplaceLatent {
        /// `(1, c, f, h, w)`.
        latent: Tensor,
        /// Latent frame at which they stand.
        latent_index: usize,
        /// 1 holds them as they are, 0 ignores them.
        strength: f64,
    },
    /// Latents as further tokens with positions of their own (`VideoConditionByKeyframeIndex`).
    Keyframe {
        /// `(1, c, f, h, w)`.
        latent: Tensor,
        /// Frame at which they stand.
        frame: usize,
        /// 1 holds them as they are, 0 ignores them.
        strength: f64,
    },
}

impl ConditioningItem {
    /// Applies the item to a picture of `shape` at `frame_rate`.
    pub fn apply(&self, state: LatentState, shape: VideoLatentShape, frame_rate: f64) -> Result<LatentState> {
        match self {
            Self::ReplaceLatent { latent, latent_index, strength } => {
                let tokens = VideoLatentShape::patchify(latent)?;
                let (start, count) = (latent_index * shape.height * shape.width, tokens.dim(1)?);
                let mut denoise_mask = state.denoise_mask;
                denoise_mask[start..start + count].fill((1.0 - strength) as f32);
                Ok(LatentState {
                    latent: replace(&state.latent, &tokens, start)?,
                    clean_latent: replace(&state.clean_latent, &tokens, start)?,
                    denoise_mask,
                    positions: state.positions,
                })
            }
            Self::Keyframe { latent, frame, strength } => {
                let (_, _, frames, height, width) = latent.dims5()?;
                let positions = VideoLatentShape { frames, height, width }.positions(frame_rate, *frame);
                let tokens = VideoLatentShape::patchify(latent)?;
                let mut denoise_mask = state.denoise_mask;
                denoise_mask.extend(vec![(1.0 - strength) as f32; tokens.dim(1)?]);
                Ok(LatentState {
                    latent: Tensor::cat(&[&state.latent, &tokens], 1)?,
                    clean_latent: Tensor::cat(&[&state.clean_latent, &tokens], 1)?,
                    denoise_mask,
                    positions: state.positions.append(&positions),
                })
            }
        }
    }
}

fn replace(tokens: &Tensor, by: &Tensor, start: usize) -> Result<Tensor> {
    let (end, n) = (start + by.dim(1)?, tokens.dim(1)?);
    Tensor::cat(&[&tokens.narrow(1, 0, start)?, by, &tokens.narrow(1, end, n - end)?], 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

    const SHAPE: VideoLatentShape = VideoLatentShape { frames: 2, height: 2, width: 3 };

    fn state() -> LatentState {
        LatentState::new(SHAPE.positions(24.0, 0), None, 4, &Device::Cpu).unwrap()
    }

    #[test]
    fn replaces_in_place_and_appends_behind() -> Result<()> {
        let latent = Tensor::ones((1, 4, 1, 2, 3), DType::F32, &Device::Cpu)?;
        let item = ConditioningItem::ReplaceLatent { latent: latent.clone(), latent_index: 1, strength: 0.75 };
        let replaced = item.apply(state(), SHAPE, 24.0)?;
        assert_eq!(replaced.denoise_mask, [vec![1.0; 6], vec![0.25; 6]].concat());
        assert_eq!(replaced.clean_latent.sum_all()?.to_scalar::<f32>()?, 24.0);
        let appended = ConditioningItem::Keyframe { latent, frame: 8, strength: 1.0 }.apply(replaced, SHAPE, 24.0)?;
        assert_eq!(appended.denoise_mask.len(), 18);
        assert_eq!(appended.positions.tokens(), 18);
        assert_eq!(appended.latent.dims(), [1, 18, 4]);
        Ok(())
    }
}
