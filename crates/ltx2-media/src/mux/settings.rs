//! Video encoders of ffmpeg, with options for each quality.

use ffmpeg_next::format::Pixel;
use ltx2_types::{Quality, VideoCodec};

/// Profiles of ProRes by ascending rate.
const PRORES: [&str; 4] = ["proxy", "lt", "standard", "hq"];

/// Encoder of ffmpeg with its options.
pub(super) struct VideoSettings {
    pub(super) encoder: &'static str,
    pub(super) format: Pixel,
    pub(super) options: Vec<(&'static str, String)>,
    /// Code of the stream in the container, where the muxer's default is not the common one.
    pub(super) tag: Option<&'static [u8; 4]>,
}

/// Rate of an encoder: the CRF, or the index of the profile in [`PRORES`].
#[derive(Debug, Clone, Copy)]
struct Rate {
    at_quality: u32,
    /// The last one at which the video is still acceptable.
    lowest: u32,
}

impl Rate {
    /// Returns the rate of `codec` at `quality`; `None` for a codec without a rate.
    fn of(codec: VideoCodec, quality: Quality) -> Option<Self> {
        let (by_quality, lowest) = match codec {
            VideoCodec::H264 => ([28, 23, 18, 0], 40),
            VideoCodec::H265 => ([32, 27, 22, 0], 42),
            VideoCodec::Vp9 => ([42, 34, 24, 0], 58),
            VideoCodec::ProRes => ([1, 2, 3, 3], 0),
            VideoCodec::Gif | VideoCodec::Png => return None,
        };
        Some(Self { at_quality: by_quality[quality as usize], lowest })
    }
}

/// Returns the number of steps by which the rate of `codec` can be reduced below `quality`.
pub(super) fn max_reduction(codec: VideoCodec, quality: Quality) -> u32 {
    Rate::of(codec, quality).map_or(0, |rate| rate.at_quality.abs_diff(rate.lowest))
}

impl VideoSettings {
    /// Returns the settings of `codec` at `quality`, with the rate reduced by `reduction` steps; `None` for a codec that
    /// is written without ffmpeg.
    pub(super) fn of(codec: VideoCodec, quality: Quality, reduction: u32) -> Option<Self> {
        let is_lossless = quality == Quality::Lossless;
        let full_chroma = if is_lossless { Pixel::YUV444P } else { Pixel::YUV420P };
        let rate = Rate::of(codec, quality)?.at_quality;
        let crf = (rate + reduction).to_string();
        let text = |options: &[(&'static str, &str)]| {
            options.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
        };
        Some(match codec {
            VideoCodec::H264 => Self {
                encoder: "libx264",
                format: full_chroma,
                options: text(&[
                    ("preset", "medium"),
                    ("crf", &crf),
                    ("profile", if is_lossless { "high444" } else { "high" }),
                ]),
                tag: None,
            },
            VideoCodec::H265 => Self {
                encoder: "libx265",
                format: full_chroma,
                options: text(&[
                    ("preset", "medium"),
                    ("crf", &crf),
                    ("x265-params", if is_lossless { "log-level=error:lossless=1" } else { "log-level=error" }),
                ]),
                // Apple's players require it.
                tag: Some(b"hvc1"),
            },
            VideoCodec::Vp9 => Self {
                encoder: "libvpx-vp9",
                format: full_chroma,
                options: text(&[
                    ("crf", &crf),
                    ("b", "0"),
                    ("lossless", if is_lossless { "1" } else { "0" }),
                    ("deadline", "good"),
                    ("cpu-used", "4"),
                    ("row-mt", "1"),
                ]),
                tag: None,
            },
            VideoCodec::ProRes => Self {
                encoder: "prores_ks",
                format: Pixel::YUV422P10LE,
                options: text(&[("profile", PRORES[rate.saturating_sub(reduction) as usize]), ("vendor", "apl0")]),
                tag: None,
            },
            VideoCodec::Gif | VideoCodec::Png => return None,
        })
    }

    /// Returns the settings of a file with exactly the RGB frames.
    pub(super) fn intermediate() -> Self {
        let options = [("level", "3"), ("slices", "4"), ("threads", "4")];
        let options = options.map(|(name, value)| (name, value.to_owned())).into();
        Self { encoder: "ffv1", format: Pixel::BGRZ, options, tag: None }
    }

    /// Whether the frames are converted to YUV.
    pub(super) fn is_yuv(&self) -> bool {
        self.format != Pixel::BGRZ
    }
}
