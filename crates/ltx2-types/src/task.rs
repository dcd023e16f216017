//! The kinds of task.

use serde::{Deserialize, Serialize};

use crate::{ImageInput, InputId, InputKind, InputRef, TaskInput, TimeWindow};

/// Kind of a task with its inputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Video from the prompt alone.
    TextToVideo,
    /// Video from the prompt and images at given frames; an image at frame 0 replaces the first latent frame.
    ImageToVideo {
        /// Conditioning images.
        images: Vec<ImageInput>,
    },
    /// Video that interpolates between keyframes, the first frame's included.
    Keyframes {
        /// Conditioning images.
        images: Vec<ImageInput>,
    },
    /// Further frames before or after a video.
    Extend {
        /// The video to extend.
        video: InputRef,
        /// End of the video at which frames are added.
        side: ExtendSide,
    },
    /// A time window of a video, generated again.
    Retake {
        /// The video to change.
        video: InputRef,
        /// The window to generate.
        window: TimeWindow,
    },
    /// Video for given audio.
    AudioToVideo {
        /// The audio to keep.
        audio: InputRef,
    },
    /// Video from the noised latents of another video.
    VideoToVideo {
        /// The source video.
        video: InputRef,
        /// Noise level: 1 ignores the source, 0 keeps it.
        strength: f64,
    },
}

/// End of a video at which frames are added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExtendSide {
    /// Before the first frame.
    Start,
    /// After the last frame.
    End,
}

impl Task {
    /// Returns the inputs in the order of their ids.
    pub fn inputs(&self) -> Vec<TaskInput<'_>> {
        let single = |kind, source| vec![TaskInput { id: InputId(0), kind, source }];
        match self {
            Self::TextToVideo => Vec::new(),
            Self::ImageToVideo { images } | Self::Keyframes { images } => {
                let sources = images.iter().map(|image| &image.source);
                (0..)
                    .zip(sources)
                    .map(|(id, source)| TaskInput { id: InputId(id), kind: InputKind::Image, source })
                    .collect()
            }
            Self::Extend { video, .. } | Self::Retake { video, .. } | Self::VideoToVideo { video, .. } => {
                single(InputKind::Video, video)
            }
            Self::AudioToVideo { audio } => single(InputKind::Audio, audio),
        }
    }

    /// Returns the conditioning images.
    pub(crate) fn images(&self) -> &[ImageInput] {
        match self {
            Self::ImageToVideo { images } | Self::Keyframes { images } => images,
            _ => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_numbered_in_order() {
        let image = |name: &str| ImageInput::first_frame(InputRef::Upload(name.into()));
        let task = Task::Keyframes { images: vec![image("a"), image("b")] };
        let inputs: Vec<_> = task.inputs().into_iter().map(|input| (input.id.0, input.source.to_string())).collect();
        assert_eq!(inputs, [(0, "a".to_owned()), (1, "b".to_owned())]);
    }
}
