//! Validation against the streams of a source: the video or audio that a task works on.

use super::{Checker, Dimensions};
use crate::{
    AudioInfo, ExtendTask, Field, FrameRate, GenerationRequest, InputKind, Rule, SourceInfo, Task, TimeWindow,
    VideoInfo,
};

/// Largest relative difference of frame rates that count as equal, such as 29.97 and 30000/1001.
const SAME_RATE: f64 = 1e-4;

impl Checker<'_> {
    /// Checks a task with a source, whose size, length and rate are the defaults.
    pub(super) fn source_dimensions(
        &mut self,
        request: &GenerationRequest,
        kind: InputKind,
        fallback: Dimensions,
    ) -> Dimensions {
        let source = request.source.unwrap_or(SourceInfo { video: None, audio: None });
        match (kind, source.video, source.audio) {
            (InputKind::Video, Some(video), _) => self.video_source(request, video, fallback),
            (InputKind::Audio, _, Some(audio)) => self.audio_source(request, audio, fallback),
            _ => {
                let field = if kind == InputKind::Audio { Field::Audio } else { Field::Video };
                self.reject(field, "a file without one", Rule::Supported(format!("it must have {} data", kind.name())));
                fallback
            }
        }
    }

    fn video_source(&mut self, request: &GenerationRequest, video: VideoInfo, fallback: Dimensions) -> Dimensions {
        let extends = matches!(request.task, Task::Extend(_));
        let (width, height) = self.size_of(request, video);
        let fallback = Dimensions {
            width,
            height,
            num_frames: if extends { fallback.num_frames } else { video.num_frames },
            frame_rate: video.frame_rate,
        };
        let dimensions = self.requested_dimensions(request, fallback);
        self.equal_rate(dimensions.frame_rate, video.frame_rate);
        if video.num_frames > self.limits.max_frames && !extends {
            self.reject(
                Field::Video,
                format!("{} frames long", video.num_frames),
                Rule::AtMost(self.limits.max_frames.into()),
            );
        } else if !extends && dimensions.num_frames != video.num_frames {
            let rule = format!("the video has {} frames; omit num_frames", video.num_frames);
            self.reject(Field::NumFrames, dimensions.num_frames, Rule::Supported(rule));
        }
        let seconds = video.frame_rate.seconds(video.num_frames);
        match &request.task {
            Task::Extend(task) => self.extension(task, seconds),
            Task::Retake { window, .. } => self.window(*window, seconds),
            Task::VideoToVideo { strength, .. } => self.number(Field::Strength, *strength, 0.0, 1.0),
            _ => {}
        }
        // The rate of the container, of which a requested one is a rounded form.
        Dimensions { frame_rate: video.frame_rate, ..dimensions }
    }

    /// Returns the size of the result if the request has none: that of the video, with even sides. One requested side
    /// determines the other by the ratio of the video.
    fn size_of(&mut self, request: &GenerationRequest, video: VideoInfo) -> (u32, u32) {
        let multiple = f64::from(self.limits.size_multiple);
        let scaled = |side: u32, requested: i64, by: u32| {
            let exact = f64::from(side) * requested as f64 / f64::from(by);
            ((exact / multiple).round() * multiple) as u32
        };
        let even = |side: u32| side / 2 * 2;
        let (width, height) = match (request.width, request.height) {
            (Some(width), None) => (even(video.width), scaled(video.height, width, video.width)),
            (None, Some(height)) => (scaled(video.width, height, video.height), even(video.height)),
            _ => (even(video.width), even(video.height)),
        };
        let (low, high) = (self.limits.min_size, self.limits.max_size);
        let fits = [width, height].iter().all(|side| (low..=high).contains(side));
        let is_requested = request.width.is_some() && request.height.is_some();
        if !is_requested && !fits {
            let rule = format!("each side must be between {low} and {high} pixels; request a width and a height");
            self.reject(Field::Video, format!("{}x{}", video.width, video.height), Rule::Supported(rule));
        }
        (width, height)
    }

    fn equal_rate(&mut self, requested: FrameRate, of_video: FrameRate) {
        let (requested, of_video) = (requested.as_f64(), of_video.as_f64());
        if (requested / of_video - 1.0).abs() > SAME_RATE {
            let rule = format!("the video has {of_video:.3} frames per second; omit frame_rate");
            self.reject(Field::FrameRate, requested, Rule::Supported(rule));
        }
    }

    fn extension(&mut self, task: &ExtendTask, seconds: f64) {
        self.number(Field::VideoStrength, task.video_strength, 0.0, 1.0);
        self.number(Field::AudioStrength, task.audio_strength, 0.0, 1.0);
        if let Some(context) = task.context
            && !(context > 0.0 && context <= seconds)
        {
            let rule = format!("it must be above 0 and at most the length of the video, {seconds:.3} seconds");
            self.reject(Field::Context, context, Rule::Supported(rule));
        }
    }

    fn window(&mut self, TimeWindow { start, end }: TimeWindow, seconds: f64) {
        if !(start >= 0.0 && start < end && end <= seconds + 1e-6) {
            let rule = format!("it must start before its end and be within the video, 0 to {seconds:.3} seconds");
            self.reject(Field::Window, format!("{start}-{end}"), Rule::Supported(rule));
        }
    }

    /// Checks a video for given audio. By default it is as long as the audio, up to the maximum of frames.
    fn audio_source(&mut self, request: &GenerationRequest, audio: AudioInfo, fallback: Dimensions) -> Dimensions {
        let rate = request.frame_rate.and_then(FrameRate::new).unwrap_or(fallback.frame_rate).as_f64();
        let frames = (audio.seconds * rate + 1e-6).floor();
        if frames < 1.0 {
            self.reject(Field::Audio, format!("{} seconds long", audio.seconds), Rule::Supported(TOO_SHORT.into()));
            return fallback;
        }
        let longest = frames.min(self.limits.max_frames.into()) as u32;
        let dimensions = self.requested_dimensions(request, Dimensions { num_frames: longest, ..fallback });
        if f64::from(dimensions.num_frames) > frames {
            let rule = format!("the audio lasts {frames} frames; request fewer, or longer audio");
            self.reject(Field::NumFrames, dimensions.num_frames, Rule::Supported(rule));
        }
        dimensions
    }
}

const TOO_SHORT: &str = "it must last at least one frame";

#[cfg(test)]
mod tests {
    use crate::{
        AudioInfo, ExtendTask, FrameRate, GenerationRequest, InputRef, Limits, RetakePart, SourceInfo, Task,
        TimeWindow, ValidRequest, VideoInfo, validate,
    };

    fn video() -> InputRef {
        InputRef::Upload("in.mp4".into())
    }

    fn request(task: Task) -> GenerationRequest {
        let frame_rate = FrameRate::new(30000.0 / 1001.0).unwrap();
        let info = VideoInfo { width: 641, height: 360, num_frames: 60, frame_rate };
        let audio = AudioInfo { sample_rate: 48000, seconds: 2.0 };
        let source = Some(SourceInfo { video: Some(info), audio: Some(audio) });
        GenerationRequest { source, ..GenerationRequest::new(task, "a fox") }
    }

    fn valid(request: GenerationRequest) -> Result<ValidRequest, Vec<String>> {
        validate(request, &Limits::server(), || 7).map_err(|errors| errors.iter().map(ToString::to_string).collect())
    }

    fn retake(start: f64, end: f64) -> Task {
        Task::Retake { video: video(), window: TimeWindow { start, end }, part: RetakePart::Both }
    }

    #[test]
    fn size_length_and_rate_are_those_of_the_video() {
        let retaken = valid(request(retake(0.5, 1.0))).unwrap();
        assert_eq!((retaken.width, retaken.height, retaken.num_frames), (640, 360, 60));
        assert!((retaken.frame_rate.as_f64() - 29.97).abs() < 1e-3);
        let extended = valid(request(Task::Extend(ExtendTask::new(video())))).unwrap();
        assert_eq!((extended.width, extended.num_frames), (640, 121));
        let narrow = GenerationRequest { width: Some(320), ..request(retake(0.5, 1.0)) };
        assert_eq!((valid(narrow.clone()).unwrap().width, valid(narrow).unwrap().height), (320, 192));
    }

    #[test]
    fn values_that_do_not_fit_the_video_are_refused() {
        let cases = [
            (request(retake(1.5, 3.0)), "window is 1.5-3, but it must start before its end"),
            (request(retake(1.0, 1.0)), "window is 1-1, but"),
            (
                GenerationRequest { frame_rate: Some(24.0), ..request(retake(0.0, 1.0)) },
                "frame_rate is 24, but the video",
            ),
            (
                GenerationRequest { num_frames: Some(9), ..request(retake(0.0, 1.0)) },
                "num_frames is 9, but the video has 60",
            ),
            (
                request(Task::Extend(ExtendTask { context: Some(9.0), ..ExtendTask::new(video()) })),
                "context is 9, but it must be above 0 and at most the length of the video, 2.002 seconds",
            ),
            (request(Task::VideoToVideo { video: video(), strength: 1.5 }), "strength is 1.5, but"),
            (GenerationRequest { source: None, ..request(retake(0.0, 1.0)) }, "video is a file without one"),
        ];
        for (request, message) in cases {
            let errors = valid(request).unwrap_err();
            assert!(errors[0].starts_with(message), "{errors:?}");
        }
    }

    #[test]
    fn a_video_is_as_long_as_its_audio() {
        let task = || Task::AudioToVideo { audio: InputRef::Upload("song.wav".into()), images: Vec::new() };
        assert_eq!(valid(request(task())).unwrap().num_frames, 50);
        let longer = GenerationRequest { num_frames: Some(51), ..request(task()) };
        assert_eq!(
            valid(longer).unwrap_err(),
            ["num_frames is 51, but the audio lasts 50 frames; request fewer, or longer audio"]
        );
    }
}
