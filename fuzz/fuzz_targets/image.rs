//! Uploaded pictures. Run with a limit of memory: a small file may not ask for much.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ltx2_fuzz::MAX_PIXELS;
use ltx2_media::read_image;
use ltx2_types::ImageLimits;

fuzz_target!(|bytes: &[u8]| {
    let limits = ImageLimits { max_pixels: MAX_PIXELS, max_side: 2048 };
    if let Ok(picture) = read_image(bytes, limits) {
        let pixels = u64::from(picture.width) * u64::from(picture.height);
        assert!(pixels <= MAX_PIXELS && picture.width.max(picture.height) <= 2048);
        assert_eq!(picture.data.len() as u64, pixels * 3);
    }
});
