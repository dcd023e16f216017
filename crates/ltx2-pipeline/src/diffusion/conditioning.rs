//! Conditioning items: known parts of the result. Each turns a latent state into another.

use candle_core::{Result, Tensor, bail};
use ltx2_models::layers::Positions;
use ltx2_types::TimeWindow;

use super::latent_state::LatentState;
use super::patchifier::{VideoLatentShape, preceding_audio_positions};
use super::token_layout::TokenLayout;

/// A known part of the result. Video latents are `(1, c, f, h, w)`, audio latents `(1, c, t, bins)`. Strength 1 keeps a
/// latent as it is, 0 ignores it.
#[derive(Debug, Clone)]
pub enum ConditioningItem {
    /// Latents in place of those from a latent frame on (`VideoConditionByLatentIndex`).
    ReplaceLatent {
        /// The latents.
        latent: Tensor,
        /// First latent frame that is replaced.
        latent_index: usize,
        /// Conditioning strength.
        strength: f64,
    },
    /// Latents of an image as appended tokens at a frame of the target (`VideoConditionByKeyframeIndex`).
    Keyframe {
        /// The latents, one latent frame.
        latent: Tensor,
        /// Frame of the image.
        frame: usize,
        /// Conditioning strength.
        strength: f64,
    },
    /// The start of the target, which is generated again within a window (`TemporalRegionMask`).
    Region {
        /// Tokens whose time overlaps the window are generated.
        window: TimeWindow,
        /// Conditioning strength outside the window.
        strength: f64,
    },
    /// Latents as appended tokens that the target attends to (`VideoConditionByReferenceLatent`). A video reference
    /// covers the target's space and time; an audio reference ends one latent frame before the target starts.
    Reference {
        /// The latents.
        latent: Tensor,
        /// Ratio of the target's height and width to those of a video reference.
        spatial_scale: usize,
        /// Ratio of the target's frame rate to that of a video reference.
        temporal_scale: usize,
        /// Conditioning strength.
        strength: f64,
    },
}

impl ConditioningItem {
    /// Returns `state` with the item applied. `layout` is the grid of the target tokens, which are the first ones of
    /// the state.
    ///
    /// # Errors
    /// The item does not fit the layout, or a tensor operation fails.
    pub fn apply(&self, state: &LatentState, layout: TokenLayout) -> Result<LatentState> {
        match self {
            Self::ReplaceLatent { latent, latent_index, strength } => {
                let start = latent_index * layout.tokens_per_frame();
                replace_clean(state, &layout.patchify(latent)?, start, kept_share(*strength))
            }
            Self::Keyframe { latent, frame, strength } => {
                let TokenLayout::Video { frame_rate, .. } = layout else {
                    bail!("a keyframe conditions video, but the layout is {layout:?}");
                };
                let shape = latent_shape(latent)?;
                if shape.frames != 1 {
                    bail!("a keyframe is one image, but its latent has {} frames", shape.frames);
                }
                let positions = shape.image_positions(frame_rate, *frame);
                append_tokens(state, &layout.patchify(latent)?, &positions, kept_share(*strength))
            }
            Self::Region { window, strength } => {
                let (start, end) = (window.start as f32, window.end as f32);
                let times = state.positions.times().iter().take(layout.tokens());
                let mut denoise_mask = state.denoise_mask.clone();
                for (share, &(begins, ends)) in denoise_mask.iter_mut().zip(times) {
                    *share = if ends > start && begins < end { 1.0 } else { kept_share(*strength) };
                }
                Ok(LatentState { denoise_mask, ..state.clone() })
            }
            Self::Reference { latent, spatial_scale, temporal_scale, strength } => {
                let positions = match layout {
                    TokenLayout::Video { frame_rate, .. } => {
                        latent_shape(latent)?.reference_positions(frame_rate, *spatial_scale, *temporal_scale)
                    }
                    TokenLayout::Audio { .. } => preceding_audio_positions(latent.dim(2)?),
                };
                append_tokens(state, &layout.patchify(latent)?, &positions, kept_share(*strength))
            }
        }
    }
}

/// Returns the mask of tokens with conditioning strength `strength`.
fn kept_share(strength: f64) -> f32 {
    (1.0 - strength) as f32
}

fn latent_shape(latent: &Tensor) -> Result<VideoLatentShape> {
    let (_, _, frames, height, width) = latent.dims5()?;
    Ok(VideoLatentShape { frames, height, width })
}

/// Replaces the clean tokens from `start` on by `tokens`, with the mask `share`.
fn replace_clean(state: &LatentState, tokens: &Tensor, start: usize, share: f32) -> Result<LatentState> {
    let mut denoise_mask = state.denoise_mask.clone();
    denoise_mask[start..start + tokens.dim(1)?].fill(share);
    Ok(LatentState { clean_latent: replace(&state.clean_latent, tokens, start)?, denoise_mask, ..state.clone() })
}

fn replace(tokens: &Tensor, by: &Tensor, start: usize) -> Result<Tensor> {
    let (end, n) = (start + by.dim(1)?, tokens.dim(1)?);
    Tensor::cat(&[&tokens.narrow(1, 0, start)?, by, &tokens.narrow(1, end, n - end)?], 1)
}

/// Appends clean `tokens` at `positions`, with the mask `share`. Their noisy latents are zeros until noise is added.
fn append_tokens(state: &LatentState, tokens: &Tensor, positions: &Positions, share: f32) -> Result<LatentState> {
    let mut denoise_mask = state.denoise_mask.clone();
    denoise_mask.extend(vec![share; tokens.dim(1)?]);
    Ok(LatentState {
        latent: Tensor::cat(&[&state.latent, &tokens.zeros_like()?], 1)?,
        clean_latent: Tensor::cat(&[&state.clean_latent, tokens], 1)?,
        denoise_mask,
        positions: state.positions.append(positions),
        ..state.clone()
    })
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;

    const SHAPE: VideoLatentShape = VideoLatentShape { frames: 2, height: 2, width: 3 };
    const VIDEO: TokenLayout = TokenLayout::Video { shape: SHAPE, frame_rate: 24.0 };
    const AUDIO: TokenLayout = TokenLayout::Audio { frames: 3 };

    fn state(layout: TokenLayout, channels: usize) -> LatentState {
        LatentState::new(layout.positions(), None, channels, &Device::Cpu).unwrap()
    }

    fn values(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    /// Audio latents of one channel, whose bins all have the value of the frame.
    fn audio(frames: &[f32]) -> Tensor {
        let frames = Tensor::new(frames, &Device::Cpu).unwrap().reshape((1, 1, (), 1)).unwrap();
        frames.broadcast_as((1, 1, frames.dim(2).unwrap(), 16)).unwrap().contiguous().unwrap()
    }

    #[test]
    fn replaced_latents_keep_their_place_and_keyframes_are_appended() -> Result<()> {
        let latent = Tensor::ones((1, 4, 1, 2, 3), DType::F32, &Device::Cpu)?;
        let item = ConditioningItem::ReplaceLatent { latent: latent.clone(), latent_index: 1, strength: 0.75 };
        let replaced = item.apply(&state(VIDEO, 4), VIDEO)?;
        assert_eq!(replaced.denoise_mask, [vec![1.0; 6], vec![0.25; 6]].concat());
        assert_eq!(replaced.clean_latent.sum_all()?.to_scalar::<f32>()?, 24.0);
        let appended = ConditioningItem::Keyframe { latent, frame: 8, strength: 1.0 }.apply(&replaced, VIDEO)?;
        assert_eq!(appended.denoise_mask.len(), 18);
        assert_eq!(appended.clean_latent.sum_all()?.to_scalar::<f32>()?, 48.0);
        // Noise is added to the latent, which does not have the images.
        assert_eq!(values(&appended.latent), [0.0; 72]);
        let frame = (8.0 / 24.0, 9.0 / 24.0);
        let own = Positions::new(vec![
            vec![frame; 6],
            [[(0.0, 32.0); 3], [(32.0, 64.0); 3]].concat(),
            [(0.0, 32.0), (32.0, 64.0), (64.0, 96.0)].repeat(2),
        ]);
        assert_eq!(appended.positions, VIDEO.positions().append(&own));
        Ok(())
    }

    #[test]
    fn a_keyframe_for_audio_is_refused() {
        let item = ConditioningItem::Keyframe { latent: audio(&[1.]), frame: 0, strength: 1.0 };
        assert!(item.apply(&state(AUDIO, 16), AUDIO).unwrap_err().to_string().contains("a keyframe conditions video"));
    }

    #[test]
    fn tokens_that_overlap_the_window_of_a_region_are_generated() -> Result<()> {
        // Two latent frames at 24 frames per second: 0 to 1/24 s and 1/24 to 9/24 s.
        let mask = |layout: TokenLayout, start: f64, end: f64, strength| -> Result<Vec<f32>> {
            let item = ConditioningItem::Region { window: TimeWindow { start, end }, strength };
            Ok(item.apply(&state(layout, 16), layout)?.denoise_mask)
        };
        assert_eq!(mask(VIDEO, 0.05, 1.0, 1.0)?, [vec![0.0; 6], vec![1.0; 6]].concat());
        assert_eq!(mask(VIDEO, 0.0, 0.01, 0.75)?, [vec![1.0; 6], vec![0.25; 6]].concat());
        assert_eq!(mask(VIDEO, 1.0, 2.0, 1.0)?, [0.0; 12]);
        // Audio latents start at 0, 0.01 and 0.05 s.
        assert_eq!(mask(AUDIO, 0.02, 0.04, 0.75)?, [0.25, 1.0, 0.25]);
        Ok(())
    }

    #[test]
    fn a_region_keeps_the_start_and_leaves_appended_tokens_alone() -> Result<()> {
        let start = Tensor::arange(0f32, 12., &Device::Cpu)?.reshape((1, 12, 1))?;
        let target = LatentState::new(VIDEO.positions(), Some(&start), 1, &Device::Cpu)?;
        let latent = Tensor::ones((1, 1, 1, 2, 3), DType::F32, &Device::Cpu)?;
        let appended = ConditioningItem::Keyframe { latent, frame: 8, strength: 1.0 }.apply(&target, VIDEO)?;
        let region = ConditioningItem::Region { window: TimeWindow { start: 0.0, end: 9.0 }, strength: 1.0 };
        let region = region.apply(&appended, VIDEO)?;
        assert_eq!(region.denoise_mask, [vec![1.0; 12], vec![0.0; 6]].concat());
        let expected: Vec<f32> = (0..12u8).map(f32::from).chain([1.0; 6]).collect();
        assert_eq!(values(&region.clean_latent), expected);
        Ok(())
    }

    #[test]
    fn a_video_reference_is_appended_over_the_space_and_time_of_the_target() -> Result<()> {
        // Half the size and half the frame rate: two latent frames of 1x1, which stand for frames 0 and 1 to 8 of the
        // reference, that is 0 and 1 to 16 of the target.
        let latent = Tensor::ones((1, 4, 2, 1, 1), DType::F32, &Device::Cpu)?;
        let item = ConditioningItem::Reference { latent, spatial_scale: 2, temporal_scale: 2, strength: 0.5 };
        let referenced = item.apply(&state(VIDEO, 4), VIDEO)?;
        assert_eq!(referenced.denoise_mask, [vec![1.0; 12], vec![0.5; 2]].concat());
        assert_eq!(values(&referenced.clean_latent)[48..], [1.0; 8]);
        let own = Positions::new(vec![
            vec![(0.0, 1.0 / 24.0), (1.0 / 24.0, 17.0 / 24.0)],
            vec![(0.0, 64.0); 2],
            vec![(0.0, 64.0); 2],
        ]);
        assert_eq!(referenced.positions, VIDEO.positions().append(&own));
        Ok(())
    }

    #[test]
    fn an_audio_reference_ends_one_latent_frame_before_the_target() -> Result<()> {
        let item = ConditioningItem::Reference {
            latent: audio(&[1., 2.]),
            spatial_scale: 1,
            temporal_scale: 1,
            strength: 1.0,
        };
        let referenced = item.apply(&state(AUDIO, 16), AUDIO)?;
        assert_eq!(referenced.denoise_mask, [1.0, 1.0, 1.0, 0.0, 0.0]);
        // On its own grid the reference ends at 0.05 s.
        let shift = 0.05f32 + 0.04;
        let own = Positions::new(vec![vec![(0.0 - shift, 0.01 - shift), (0.01 - shift, 0.05 - shift)]]);
        assert_eq!(referenced.positions, AUDIO.positions().append(&own));
        Ok(())
    }
}
