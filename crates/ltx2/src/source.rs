//! Options for a source: the video or audio that a task works on.

use std::path::PathBuf;
use std::str::FromStr;

use ltx2_types::{
    DEFAULT_STRENGTH, ExtendSide, ExtendTask, ImageInput, InputRef, RetakePart, SourceInfo, Task, TimeWindow,
};

#[derive(Debug, clap::Args)]
pub struct SourceArguments {
    /// Video to extend.
    #[arg(long, value_name = "FILE", group = "source")]
    extend: Option<PathBuf>,
    /// Length of the extension in seconds [default: --frames, or 121 frames].
    #[arg(long, value_name = "SECONDS", requires = "extend", conflicts_with = "frames")]
    extend_duration: Option<f64>,
    /// End of the video to extend: start or end.
    #[arg(long, requires = "extend", default_value = "end")]
    direction: ExtendSide,
    /// Length of the part that the extension follows from, in seconds [default: as much as fits].
    #[arg(long, value_name = "SECONDS", requires = "extend")]
    context: Option<f64>,
    /// Conditioning strength of the video to extend, 0 to 1.
    #[arg(long, requires = "extend", default_value_t = 1.0)]
    video_strength: f64,
    /// Conditioning strength of the audio of the video to extend, 0 to 1.
    #[arg(long, requires = "extend", default_value_t = 1.0)]
    audio_strength: f64,
    /// Video of which a window, in seconds, is generated again.
    #[arg(long, value_name = "FILE@START-END", group = "source")]
    retake: Option<Retake>,
    /// Part of the window to generate again: both, video or audio.
    #[arg(long, requires = "retake", default_value = "both")]
    part: RetakePart,
    /// Audio to make a video for. It is the audio of the result.
    #[arg(long, value_name = "FILE", group = "source")]
    audio: Option<PathBuf>,
    /// Video to make another one from. Its audio is kept.
    #[arg(long, value_name = "FILE", group = "source")]
    video: Option<PathBuf>,
    /// Noise level of the video: 1 ignores it, 0 keeps it.
    #[arg(long, requires = "video", default_value_t = DEFAULT_STRENGTH)]
    strength: f64,
}

impl SourceArguments {
    /// Returns the task with a source; `None` if no source is given. `images` condition a video for audio.
    pub fn task(&self, images: &[ImageInput]) -> Option<Task> {
        let upload = |file: &PathBuf| InputRef::Upload(file.display().to_string());
        if let Some(file) = &self.extend {
            return Some(Task::Extend(ExtendTask {
                video: upload(file),
                side: self.direction,
                context: self.context,
                video_strength: self.video_strength,
                audio_strength: self.audio_strength,
            }));
        }
        if let Some(Retake { file, window }) = &self.retake {
            return Some(Task::Retake { video: upload(file), window: *window, part: self.part });
        }
        if let Some(file) = &self.audio {
            return Some(Task::AudioToVideo { audio: upload(file), images: images.to_vec() });
        }
        self.video.as_ref().map(|file| Task::VideoToVideo { video: upload(file), strength: self.strength })
    }

    /// Returns the number of new frames of an extension, if its duration is given.
    pub fn extension_frames(&self, source: Option<SourceInfo>) -> Option<i64> {
        source?.frames_in(self.extend_duration?)
    }
}

/// Retake option `FILE@START-END`.
#[derive(Debug, Clone)]
struct Retake {
    file: PathBuf,
    window: TimeWindow,
}

impl FromStr for Retake {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.rsplit_once('@').and_then(|(file, window)| {
            let (start, end) = window.split_once('-')?;
            let window = TimeWindow { start: start.parse().ok()?, end: end.parse().ok()? };
            Some(Self { file: file.into(), window })
        });
        parsed.ok_or_else(|| format!("retake is {text}, but it must be FILE@START-END, such as in.mp4@1.0-2.5"))
    }
}
