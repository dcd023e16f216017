//! Helpers around ffmpeg-next: setup, allocation of frames, packed RGB, colour conversion.

use std::path::Path;
use std::sync::Once;

use ffmpeg_next::{
    Error, codec, color,
    encoder::{self, find_by_name},
    ffi,
    format::Pixel,
    frame, log,
    software::scaling,
};

/// Registers the error texts and limits the log of ffmpeg to errors.
pub(crate) fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Only registers error texts. It never fails.
        let _ = ffmpeg_next::init();
        log::set_level(log::Level::Error);
    });
}

/// Returns the URL of a local file, or `None` if the path is not UTF-8.
///
/// The prefix keeps a name with a colon from being parsed as a protocol.
pub(crate) fn file_url(path: &Path) -> Option<String> {
    Some(format!("file:{}", path.to_str().filter(|path| !path.contains('\0'))?))
}

/// Returns the encoder of the ffmpeg name `name` with the defaults of its codec; x264 refuses the generic defaults.
pub(crate) fn new_encoder(name: &str) -> Result<encoder::encoder::Encoder, Error> {
    let codec = find_by_name(name).ok_or(Error::EncoderNotFound)?;
    Ok(codec::Context::new_with_codec(codec).encoder())
}

/// Allocates a frame.
pub(crate) fn new_frame(format: Pixel, width: u32, height: u32) -> Result<frame::Video, Error> {
    let frame = frame::Video::new(format, width, height);
    // SAFETY: `as_ptr` returns the valid `AVFrame` that `frame` owns, and `data` is a plain array inside it.
    // ffmpeg-next ignores an allocation failure, which leaves the first pointer null.
    if unsafe { (*frame.as_ptr()).data[0].is_null() } {
        return Err(Error::Other { errno: ffmpeg_next::error::ENOMEM });
    }
    Ok(frame)
}

/// Copies packed RGB rows of `row_bytes` bytes into an RGB24 frame, cut on the right and at the bottom.
pub(crate) fn fill_rgb(frame: &mut frame::Video, rgb: &[u8], row_bytes: usize) {
    let used = frame.width() as usize * 3;
    let stride = frame.stride(0);
    for (to, from) in frame.data_mut(0).chunks_mut(stride).zip(rgb.chunks(row_bytes)) {
        to[..used].copy_from_slice(&from[..used]);
    }
}

/// Returns the packed rows of an RGB24 frame.
pub(crate) fn packed_rgb(frame: &frame::Video) -> Vec<u8> {
    let used = frame.width() as usize * 3;
    let rows = frame.data(0).chunks(frame.stride(0)).take(frame.height() as usize);
    rows.flat_map(|row| &row[..used]).copied().collect()
}

/// Converter of frames of one size and pixel format.
pub(crate) struct Converter(scaling::Context);

// SAFETY: the context is owned by this struct alone, libswscale ties no context to a thread, and every use needs
// `&mut`.
unsafe impl Send for Converter {}

/// Values of the range arguments of `sws_setColorspaceDetails`.
const LIMITED: i32 = 0;
const FULL: i32 = 1;

impl Converter {
    /// Returns a converter to pixel format `to` with the default matrix of swscale, BT.601.
    pub(crate) fn new(from: &frame::Video, to: Pixel, flags: scaling::Flags) -> Result<Self, Error> {
        let (width, height) = (from.width(), from.height());
        Ok(Self(scaling::Context::get(from.format(), width, height, to, width, height, flags)?))
    }

    /// Returns a converter from full-range RGB to limited-range YUV with the BT.709 matrix.
    pub(crate) fn bt709(from: &frame::Video, to: Pixel, flags: scaling::Flags) -> Result<Self, Error> {
        let mut this = Self::new(from, to, flags)?;
        this.set_colorspace(ffi::SWS_CS_ITU709, FULL, LIMITED)?;
        Ok(this)
    }

    /// Returns a converter of decoded frames to full-range RGB of `width` by `height`, with the matrix and range that
    /// the frame states; the matrix is BT.601 by default.
    pub(crate) fn to_rgb(from: &frame::Video, (width, height): (u32, u32)) -> Result<Self, Error> {
        // Chroma is repeated, not interpolated: its mean over 2x2 pixels, which the encoder takes, is then the original
        // value, and source frames in a result keep their colours.
        let same_size = (from.width(), from.height()) == (width, height);
        let filter = if same_size { scaling::Flags::POINT } else { scaling::Flags::BICUBIC };
        let flags = filter | scaling::Flags::ACCURATE_RND | scaling::Flags::FULL_CHR_H_INT;
        let context =
            scaling::Context::get(from.format(), from.width(), from.height(), Pixel::RGB24, width, height, flags)?;
        let mut this = Self(context);
        let matrix = match from.color_space() {
            color::Space::BT709 => ffi::SWS_CS_ITU709,
            color::Space::BT2020NCL | color::Space::BT2020CL => ffi::SWS_CS_BT2020,
            color::Space::SMPTE240M => ffi::SWS_CS_SMPTE240M,
            color::Space::FCC => ffi::SWS_CS_FCC,
            _ => ffi::SWS_CS_ITU601,
        };
        let range = if from.color_range() == color::Range::JPEG { FULL } else { LIMITED };
        this.set_colorspace(matrix, range, FULL)?;
        Ok(this)
    }

    fn set_colorspace(&mut self, matrix: i32, from_range: i32, to_range: i32) -> Result<(), Error> {
        const UNCHANGED: i32 = 1 << 16;
        // SAFETY: `as_mut_ptr` is the valid, initialised context that `self` owns, and `table` points to a constant
        // table of the library that is never freed.
        let set = unsafe {
            let table = ffi::sws_getCoefficients(matrix);
            ffi::sws_setColorspaceDetails(
                self.0.as_mut_ptr(),
                table,
                from_range,
                table,
                to_range,
                0,
                UNCHANGED,
                UNCHANGED,
            )
        };
        if set < 0 { Err(Error::InvalidData) } else { Ok(()) }
    }

    /// Whether `frame` has the size and pixel format of this converter.
    pub(crate) fn accepts(&self, frame: &frame::Video) -> bool {
        let from = self.0.input();
        (from.format, from.width, from.height) == (frame.format(), frame.width(), frame.height())
    }

    /// Returns `frame` in the other format.
    pub(crate) fn run(&mut self, frame: &frame::Video) -> Result<frame::Video, Error> {
        let to = *self.0.output();
        let mut converted = new_frame(to.format, to.width, to.height)?;
        self.0.run(frame, &mut converted)?;
        Ok(converted)
    }
}
