//! Uploaded images. Run with a memory limit: a small file must not cause a large allocation.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ltx2_fuzz::MAX_PIXELS;
use ltx2_media::read_image;
use ltx2_types::ImageLimits;

fuzz_target!(|bytes: &[u8]| {
    let limits = ImageLimits { max_pixels: MAX_PIXELS, max_side: 2048 };
    if let Ok(image) = read_image(bytes, limits) {
        let pixels = u64::from(image.width) * u64::from(image.height);
        assert!(pixels <= MAX_PIXELS && image.width.max(image.height) <= 2048);
        assert_eq!(image.data.len() as u64, pixels * 3);
    }
});
