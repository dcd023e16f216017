//! The kinds of task.

use serde::{Deserialize, Serialize};

use crate::names::unknown_name;
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
    /// Further frames before or after a video, which is part of the result.
    Extend(ExtendTask),
    /// A time window of a video, generated again.
    Retake {
        /// The video to change.
        video: InputRef,
        /// The window to generate.
        window: TimeWindow,
        /// Modalities to generate; the other one is kept.
        part: RetakePart,
    },
    /// Video for given audio, which is part of the result.
    AudioToVideo {
        /// The audio to keep.
        audio: InputRef,
        /// Conditioning images, as in [`Task::ImageToVideo`].
        images: Vec<ImageInput>,
    },
    /// Video from the noised latents of another video, whose audio is kept.
    VideoToVideo {
        /// The source video.
        video: InputRef,
        /// Noise level: 1 ignores the source, 0 keeps it.
        strength: f64,
    },
}

/// End of a video at which frames are added.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    strum::IntoStaticStr,
    strum::EnumString,
    strum::VariantNames,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case", parse_err_ty = String, parse_err_fn = unknown_side)]
pub enum ExtendSide {
    /// Before the first frame.
    Start,
    /// After the last frame.
    End,
}

fn unknown_side(value: &str) -> String {
    unknown_name::<ExtendSide>("direction", value)
}

/// Noise level of [`Task::VideoToVideo`] unless the request has one.
pub const DEFAULT_STRENGTH: f64 = 0.7;

/// A video to extend.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExtendTask {
    /// The video.
    pub video: InputRef,
    /// End of the video at which frames are added.
    pub side: ExtendSide,
    /// Length of the part of the video that the new frames follow from, seconds; `None` for as much as fits.
    pub context: Option<f64>,
    /// Conditioning strength of the video: 1 keeps it, 0 ignores it.
    pub video_strength: f64,
    /// Conditioning strength of the video's audio.
    pub audio_strength: f64,
}

impl ExtendTask {
    /// Returns the extension of `video` at its end, with strength 1 and as much context as fits.
    pub fn new(video: InputRef) -> Self {
        Self { video, side: ExtendSide::End, context: None, video_strength: 1.0, audio_strength: 1.0 }
    }
}

/// Modalities that a retake generates.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    strum::IntoStaticStr,
    strum::EnumString,
    strum::VariantNames,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case", parse_err_ty = String, parse_err_fn = unknown_part)]
pub enum RetakePart {
    /// Video and audio.
    Both,
    /// The video; the audio is kept.
    Video,
    /// The audio; the video is kept.
    Audio,
}

fn unknown_part(value: &str) -> String {
    unknown_name::<RetakePart>("part", value)
}

impl Task {
    /// Returns the inputs in the order of their ids.
    pub fn inputs(&self) -> Vec<TaskInput<'_>> {
        let images = self.images().iter().map(|image| (InputKind::Image, &image.source));
        let inputs = self.source().into_iter().chain(images);
        (0..).zip(inputs).map(|(id, (kind, source))| TaskInput { id: InputId(id), kind, source }).collect()
    }

    /// Returns the video or audio that the task works on. It is the first input.
    pub fn source(&self) -> Option<(InputKind, &InputRef)> {
        match self {
            Self::TextToVideo | Self::ImageToVideo { .. } | Self::Keyframes { .. } => None,
            Self::Extend(ExtendTask { video, .. }) | Self::Retake { video, .. } | Self::VideoToVideo { video, .. } => {
                Some((InputKind::Video, video))
            }
            Self::AudioToVideo { audio, .. } => Some((InputKind::Audio, audio)),
        }
    }

    /// Returns the conditioning images.
    pub(crate) fn images(&self) -> &[ImageInput] {
        match self {
            Self::ImageToVideo { images } | Self::Keyframes { images } | Self::AudioToVideo { images, .. } => images,
            Self::TextToVideo | Self::Extend(_) | Self::Retake { .. } | Self::VideoToVideo { .. } => &[],
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
        let inputs = |task: &Task| -> Vec<_> {
            task.inputs().into_iter().map(|input| (input.id.0, input.kind, input.source.to_string())).collect()
        };
        assert_eq!(inputs(&task), [(0, InputKind::Image, "a".to_owned()), (1, InputKind::Image, "b".to_owned())]);
        let audio = InputRef::Upload("song".into());
        let task = Task::AudioToVideo { audio, images: vec![image("a")] };
        assert_eq!(inputs(&task), [(0, InputKind::Audio, "song".to_owned()), (1, InputKind::Image, "a".to_owned())]);
    }
}
