//! Sizes of videos that clients request by resolution and aspect ratio.

use std::str::FromStr;

/// Divisor of both sides, pixels: two-stage pipelines generate half of each side in latent cells of 32.
const MULTIPLE: f64 = 64.0;

/// A requested size.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) enum SizeRequest {
    /// The size of the input, or the default of the server without one.
    #[default]
    Auto,
    /// Width and height, pixels.
    Exact(i64, i64),
    /// Length of the short side, pixels, and the aspect ratio.
    ShortSide(u32, AspectRatio),
}

/// Ratio of width to height.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum AspectRatio {
    /// That of the input; 16:9 without one.
    Input,
    /// A ratio of two sides.
    Ratio(u32, u32),
}

impl FromStr for AspectRatio {
    type Err = String;

    /// Parses `auto` or `WIDTH:HEIGHT`.
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Input);
        }
        let sides = text.split_once(':').and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)));
        match sides {
            Some((width, height)) if width > 0 && height > 0 => Ok(Self::Ratio(width, height)),
            _ => Err(format!("aspect ratio is {text}, but it must be auto or WIDTH:HEIGHT, such as 16:9")),
        }
    }
}

impl SizeRequest {
    /// Returns width and height for an input of the size `input`; `None` for the default of the request's task.
    pub(crate) fn resolve(self, input: Option<(u32, u32)>) -> Option<(i64, i64)> {
        match self {
            Self::Auto => None,
            Self::Exact(width, height) => Some((width, height)),
            Self::ShortSide(short, aspect) => {
                let ratio = aspect.value(input);
                let short = f64::from(short);
                let (width, height) = if ratio >= 1.0 { (short * ratio, short) } else { (short, short / ratio) };
                Some((rounded(width), rounded(height)))
            }
        }
    }
}

impl AspectRatio {
    fn value(self, input: Option<(u32, u32)>) -> f64 {
        let (width, height) = match self {
            Self::Ratio(width, height) => (width, height),
            Self::Input => input.filter(|&(width, height)| width > 0 && height > 0).unwrap_or((16, 9)),
        };
        f64::from(width) / f64::from(height)
    }
}

/// Returns the nearest multiple of 64 pixels, at least one.
pub(crate) fn rounded(side: f64) -> i64 {
    ((side / MULTIPLE).round().max(1.0) * MULTIPLE) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolutions_are_rounded_to_multiples_of_64() {
        let wide = AspectRatio::Ratio(16, 9);
        let cases = [
            (SizeRequest::ShortSide(1080, wide), None, (1920, 1088)),
            (SizeRequest::ShortSide(1080, AspectRatio::Ratio(9, 16)), None, (1088, 1920)),
            (SizeRequest::ShortSide(720, wide), None, (1280, 704)),
            (SizeRequest::ShortSide(2160, wide), None, (3840, 2176)),
            (SizeRequest::ShortSide(720, AspectRatio::Input), Some((600, 900)), (704, 1088)),
            (SizeRequest::ShortSide(720, AspectRatio::Input), None, (1280, 704)),
            (SizeRequest::Exact(100, 64), Some((9, 9)), (100, 64)),
        ];
        for (size, input, expected) in cases {
            assert_eq!(size.resolve(input), Some(expected), "{size:?}");
        }
        assert_eq!(SizeRequest::Auto.resolve(Some((640, 480))), None);
    }

    #[test]
    fn aspect_ratios_are_auto_or_two_positive_sides() {
        assert_eq!("16:9".parse(), Ok(AspectRatio::Ratio(16, 9)));
        assert_eq!("auto".parse(), Ok(AspectRatio::Input));
        for bad in ["", "16", "16:0", "a:b", "16:9:1", "16/9"] {
            assert!(bad.parse::<AspectRatio>().is_err(), "{bad}");
        }
    }
}
