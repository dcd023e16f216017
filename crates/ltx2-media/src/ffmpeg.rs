//! The few things that both encoders need around ffmpeg-next: one-time setup, frames that are known to have memory,
//! colour conversion.

use std::sync::Once;

use ffmpeg_next::{
    Error, codec,
    encoder::{self, find_by_name},
    ffi,
    format::Pixel,
    frame, log,
    software::scaling,
};

/// Makes error texts available and keeps ffmpeg's progress talk off the terminal.
pub(crate) fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // It only fills the table of error texts, and cannot fail.
        let _ = ffmpeg_next::init();
        log::set_level(log::Level::Error);
    });
}

/// An encoder by its ffmpeg name, with that codec's own defaults (x264 refuses ffmpeg's general ones).
pub(crate) fn new_encoder(name: &str) -> Result<encoder::encoder::Encoder, Error> {
    let codec = find_by_name(name).ok_or(Error::EncoderNotFound)?;
    Ok(codec::Context::new_with_codec(codec).encoder())
}

/// A picture with memory behind it.
pub(crate) fn new_picture(format: Pixel, width: u32, height: u32) -> Result<frame::Video, Error> {
    let frame = frame::Video::new(format, width, height);
    // SAFETY: the frame is alive; ffmpeg-next does not tell whether its allocation worked, the pointer does.
    if unsafe { (*frame.as_ptr()).data[0].is_null() } {
        return Err(Error::Other { errno: ffmpeg_next::error::ENOMEM });
    }
    Ok(frame)
}

/// Copies the top left of tightly packed RGB rows of `row_bytes` into an RGB24 picture.
pub(crate) fn fill_rgb(picture: &mut frame::Video, rgb: &[u8], row_bytes: usize) {
    let used = picture.width() as usize * 3;
    let stride = picture.stride(0);
    for (to, from) in picture.data_mut(0).chunks_mut(stride).zip(rgb.chunks(row_bytes)) {
        to[..used].copy_from_slice(&from[..used]);
    }
}

/// The tightly packed rows of an RGB24 picture.
pub(crate) fn packed_rgb(picture: &frame::Video) -> Vec<u8> {
    let used = picture.width() as usize * 3;
    picture.data(0).chunks(picture.stride(0)).flat_map(|row| &row[..used]).copied().collect()
}

/// Converts pictures of one size from one pixel format to another.
pub(crate) struct Converter(scaling::Context);

// SAFETY: the context is owned, has no tie to the thread that made it, and is only used through `&mut`.
unsafe impl Send for Converter {}

impl Converter {
    /// With swscale's own colour matrix, BT.601.
    pub(crate) fn new(from: &frame::Video, to: Pixel, flags: scaling::Flags) -> Result<Self, Error> {
        let (width, height) = (from.width(), from.height());
        Ok(Self(scaling::Context::get(from.format(), width, height, to, width, height, flags)?))
    }

    /// With the BT.709 matrix and limited range.
    pub(crate) fn bt709(from: &frame::Video, to: Pixel, flags: scaling::Flags) -> Result<Self, Error> {
        const FULL: i32 = 1;
        const LIMITED: i32 = 0;
        const UNCHANGED: i32 = 1 << 16;
        let mut this = Self::new(from, to, flags)?;
        // SAFETY: the context is initialised, and the table is a constant of the library.
        let set = unsafe {
            let matrix = ffi::sws_getCoefficients(ffi::SWS_CS_ITU709);
            ffi::sws_setColorspaceDetails(this.0.as_mut_ptr(), matrix, FULL, matrix, LIMITED, 0, UNCHANGED, UNCHANGED)
        };
        if set < 0 { Err(Error::InvalidData) } else { Ok(this) }
    }

    /// A new picture with `picture` converted.
    pub(crate) fn run(&mut self, picture: &frame::Video) -> Result<frame::Video, Error> {
        let to = *self.0.output();
        let mut converted = new_picture(to.format, to.width, to.height)?;
        self.0.run(picture, &mut converted)?;
        Ok(converted)
    }
}
