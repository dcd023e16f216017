//! Decoding of images from untrusted sources.

use std::{io::Cursor, process::Command};

use image::{
    DynamicImage, ExtendedColorType, ImageBuffer, ImageEncoder, ImageFormat, Luma, LumaA, Rgb, Rgba,
    codecs::{png::PngEncoder, webp::WebPEncoder},
};
use ltx2_media::{ImageError, read_image};
use ltx2_types::ImageLimits;
use ltx2_types::RgbImage;

const FORMATS: [ImageFormat; 3] = [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP];

fn read(bytes: &[u8]) -> Result<RgbImage, ImageError> {
    read_image(bytes, ImageLimits::default())
}

fn encode(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// Returns an image of 48x32 with one colour per quadrant: red and green above, blue and white below.
fn corners() -> image::RgbImage {
    ImageBuffer::from_fn(48, 32, |x, y| match (x < 24, y < 16) {
        (true, true) => Rgb([255, 0, 0]),
        (false, true) => Rgb([0, 255, 0]),
        (true, false) => Rgb([0, 0, 255]),
        (false, false) => Rgb([255, 255, 255]),
    })
}

/// Returns the colours of the four corners as letters, row by row.
fn corner_letters(image: &RgbImage) -> String {
    let letter = |x: u32, y: u32| {
        let at = ((y * image.width + x) * 3) as usize;
        match [0, 1, 2].map(|channel| image.data[at + channel] > 127) {
            [true, false, false] => 'r',
            [false, true, false] => 'g',
            [false, false, true] => 'b',
            [true, true, true] => 'w',
            _ => '?',
        }
    };
    let (right, bottom) = (image.width - 4, image.height - 4);
    [letter(3, 3), letter(right, 3), letter(3, bottom), letter(right, bottom)].iter().collect()
}

/// Returns an EXIF block with the orientation as its only entry.
fn exif(orientation: u8) -> Vec<u8> {
    let mut block = b"MM\0\x2a\0\0\0\x08\0\x01".to_vec();
    block.extend([0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0, 0, 0, 0, 0]);
    block
}

fn jpeg_with_exif(orientation: u8) -> Vec<u8> {
    let jpeg = encode(corners(), ImageFormat::Jpeg);
    let segment = [b"Exif\0\0".to_vec(), exif(orientation)].concat();
    let length = (segment.len() as u16 + 2).to_be_bytes();
    [&jpeg[..2], &[0xff, 0xe1], &length, &segment, &jpeg[2..]].concat()
}

fn encode_with_exif(orientation: u8, format: ImageFormat) -> Vec<u8> {
    fn run(mut encoder: impl ImageEncoder, orientation: u8) {
        encoder.set_exif_metadata(exif(orientation)).unwrap();
        encoder.write_image(&corners(), 48, 32, ExtendedColorType::Rgb8).unwrap();
    }
    let mut bytes = Vec::new();
    match format {
        ImageFormat::Png => run(PngEncoder::new(&mut bytes), orientation),
        ImageFormat::WebP => run(WebPEncoder::new_lossless(&mut bytes), orientation),
        _ => return jpeg_with_exif(orientation),
    }
    bytes
}

#[test]
fn png_jpeg_and_webp_are_decoded() {
    for format in FORMATS {
        let image = read(&encode(corners(), format)).unwrap();
        assert_eq!((image.width, image.height, image.data.len()), (48, 32, 48 * 32 * 3), "{format:?}");
        assert_eq!(corner_letters(&image), "rgbw", "{format:?}");
    }
    assert_eq!(read(&encode(corners(), ImageFormat::Png)).unwrap().data, corners().into_raw());
}

#[test]
fn lossy_webp_is_decoded() {
    let arguments = "-v error -f lavfi -i color=red:size=48x32 -frames:v 1 -c:v libwebp -f webp -";
    let run = Command::new("ffmpeg").args(arguments.split(' ')).output().expect("the ffmpeg tool is installed");
    assert_eq!(&run.stdout[12..16], b"VP8 ", "{}", String::from_utf8_lossy(&run.stderr));
    assert_eq!(corner_letters(&read(&run.stdout).unwrap()), "rrrr");
}

#[test]
fn every_exif_orientation_is_applied() {
    let upright = ["rgbw", "grwb", "wbgr", "bwrg", "rbgw", "brwg", "wgbr", "gwrb"];
    for format in FORMATS {
        for (orientation, corners) in (1..).zip(upright) {
            let image = read(&encode_with_exif(orientation, format)).unwrap();
            let size = if orientation < 5 { (48, 32) } else { (32, 48) };
            assert_eq!((image.width, image.height), size, "{format:?} {orientation}");
            assert_eq!(corner_letters(&image), corners, "{format:?} {orientation}");
        }
    }
}

fn png_with_profile(profile: Vec<u8>, samples: &[u8], color: ExtendedColorType) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = PngEncoder::new(&mut bytes);
    encoder.set_icc_profile(profile).unwrap();
    encoder.write_image(samples, 1, 1, color).unwrap();
    bytes
}

/// Returns the sRGB code of a linear value from 0 to 1.
fn srgb(linear: f64) -> f64 {
    255.0 * if linear <= 0.0031308 { 12.92 * linear } else { 1.055 * linear.powf(1.0 / 2.4) - 0.055 }
}

fn assert_near(found: &[u8], expected: [f64; 3]) {
    for (found, expected) in found.iter().zip(expected) {
        assert!((f64::from(*found) - expected).abs() <= 2.0, "{found}, expected {expected}");
    }
}

#[test]
fn icc_profiles_are_converted_to_srgb() {
    // Display P3 has the transfer curve of sRGB and wider primaries.
    let linear = [200.0, 100.0, 50.0].map(|code: f64| ((code / 255.0 + 0.055) / 1.055).powf(2.4));
    let to_srgb = [[1.2249, -0.2247, 0.0], [-0.0420, 1.0419, 0.0], [-0.0197, -0.0786, 1.0979]];
    let expected = to_srgb.map(|row: [f64; 3]| srgb((0..3).map(|i| row[i] * linear[i]).sum()));
    let p3 = moxcms::ColorProfile::new_display_p3().encode().unwrap();
    let png = png_with_profile(p3.clone(), &[200, 100, 50], ExtendedColorType::Rgb8);
    assert_near(&read(&png).unwrap().data, expected);
    let opaque = png_with_profile(p3, &[200, 100, 50, 255], ExtendedColorType::Rgba8);
    assert_near(&read(&opaque).unwrap().data, expected);

    let linear_grey = moxcms::ColorProfile::new_gray_with_gamma(1.0).encode().unwrap();
    let png = png_with_profile(linear_grey, &[64], ExtendedColorType::L8);
    assert_near(&read(&png).unwrap().data, [srgb(64.0 / 255.0); 3]);
}

#[test]
fn an_unusable_icc_profile_is_ignored() {
    for profile in [b"no profile".to_vec(), moxcms::ColorProfile::new_gray_with_gamma(1.0).encode().unwrap()] {
        let png = png_with_profile(profile, &[200, 100, 50], ExtendedColorType::Rgb8);
        assert_eq!(read(&png).unwrap().data, [200, 100, 50]);
    }
}

#[test]
fn an_invalid_orientation_is_ignored() {
    for orientation in [0, 9, 255] {
        assert_eq!(corner_letters(&read(&jpeg_with_exif(orientation)).unwrap()), "rgbw");
    }
}

#[test]
fn transparent_pixels_are_blended_over_white() {
    let pixels = ImageBuffer::from_raw(4, 1, vec![9, 9, 9, 0, 255, 0, 0, 255, 0, 0, 0, 127, 200, 100, 0, 51]).unwrap();
    let expected = [[255, 255, 255], [255, 0, 0], [128, 128, 128], [244, 224, 204]].concat();
    for format in [ImageFormat::Png, ImageFormat::WebP] {
        let image: ImageBuffer<Rgba<u8>, _> = pixels.clone();
        assert_eq!(read(&encode(image, format)).unwrap().data, expected, "{format:?}");
    }
    let gray: ImageBuffer<LumaA<u8>, _> = ImageBuffer::from_raw(2, 1, vec![7, 0, 7, 255]).unwrap();
    assert_eq!(read(&encode(gray, ImageFormat::Png)).unwrap().data, [255, 255, 255, 7, 7, 7]);
}

#[test]
fn grey_and_16_bit_images_become_8_bit_rgb() {
    let gray: ImageBuffer<Luma<u8>, _> = ImageBuffer::from_raw(2, 1, vec![3, 200]).unwrap();
    assert_eq!(read(&encode(gray, ImageFormat::Png)).unwrap().data, [3, 3, 3, 200, 200, 200]);
    let deep: ImageBuffer<Rgb<u16>, _> = ImageBuffer::from_raw(1, 1, vec![0, 0x8080, 0xffff]).unwrap();
    assert_eq!(read(&encode(deep, ImageFormat::Png)).unwrap().data, [0, 128, 255]);
    let deep: ImageBuffer<Luma<u16>, _> = ImageBuffer::from_raw(1, 1, vec![0xffff]).unwrap();
    assert_eq!(read(&encode(deep, ImageFormat::Png)).unwrap().data, [255, 255, 255]);
}

#[test]
fn palette_images_are_decoded() {
    let arguments = "-v error -f lavfi -i color=blue:size=48x32 -frames:v 1 -pix_fmt pal8 -f image2pipe -c:v png -";
    let run = Command::new("ffmpeg").args(arguments.split(' ')).output().expect("the ffmpeg tool is installed");
    assert_eq!(run.stdout[25], 3, "not a palette: {}", String::from_utf8_lossy(&run.stderr));
    assert_eq!(corner_letters(&read(&run.stdout).unwrap()), "bbbb");
}

#[test]
fn an_image_of_one_pixel_is_decoded() {
    let image: image::RgbImage = ImageBuffer::from_pixel(1, 1, Rgb([1, 2, 3]));
    assert_eq!(read(&encode(image, ImageFormat::Png)).unwrap().data, [1, 2, 3]);
}

#[test]
fn a_truncated_image_is_refused() {
    for format in FORMATS {
        let whole = encode(corners(), format);
        for keep in [whole.len() / 2, whole.len() * 9 / 10] {
            let error = read(&whole[..keep]).unwrap_err();
            assert!(matches!(error, ImageError::Truncated { .. }), "{format:?} {keep}: {error}");
        }
        for keep in 1..whole.len() - 12 {
            assert!(read(&whole[..keep]).is_err(), "{format:?} cut to {keep} of {}", whole.len());
        }
    }
    let error = read(&encode(corners(), ImageFormat::Jpeg)[..300]).unwrap_err();
    assert_eq!(error.to_string(), "the JPEG is cut off: the data ends before the image is complete");
}

#[test]
fn data_that_is_not_an_image_is_refused() {
    assert_eq!(read(b"").unwrap_err().to_string(), "the image is empty: 0 bytes");
    let unknown = "unknown image format; supported formats are PNG, JPEG and WebP";
    assert_eq!(read(b"hello").unwrap_err().to_string(), unknown);
    assert_eq!(read(&[0; 4096]).unwrap_err().to_string(), unknown);
    let error = read(b"GIF89a\x01\0\x01\0\0\0\0").unwrap_err();
    assert!(matches!(error, ImageError::Unsupported(_)), "{error}");
    println!("{error}");
}

#[test]
fn a_damaged_image_is_refused() {
    let mut png = encode(corners(), ImageFormat::Png);
    let middle = png.len() / 2;
    png[middle] ^= 0x55;
    let error = read(&png).unwrap_err();
    assert!(matches!(error, ImageError::Damaged { .. }), "{error}");
    println!("{error}");
}

/// Returns a PNG whose header states a size and whose IDAT is empty.
fn png_of_size(width: u32, height: u32) -> Vec<u8> {
    let chunk = |name: &[u8], data: &[u8]| {
        let checked = [name, data].concat();
        [&(data.len() as u32).to_be_bytes()[..], &checked, &crc32(&checked).to_be_bytes()].concat()
    };
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 6, 0, 0, 0]].concat();
    [b"\x89PNG\r\n\x1a\n".to_vec(), chunk(b"IHDR", &header), chunk(b"IDAT", &[])].concat()
}

fn crc32(data: &[u8]) -> u32 {
    let shift = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !data.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), shift))
}

#[test]
fn a_huge_image_is_refused_by_its_header() {
    let error = read(&png_of_size(100_000, 100_000)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the image is 100000x100000, 10000000000 pixels; the limit is 128000000 pixels (ltx2 serve --max-image)"
    );
    let error = read(&png_of_size(20_000, 2)).unwrap_err();
    assert_eq!(error.to_string(), "the image is 20000x2; a side may have at most 16384 pixels");
    let error = read(&png_of_size(0, 5)).unwrap_err();
    assert!(matches!(error, ImageError::Damaged { .. }), "{error}");
    println!("{error}");
    let mut jpeg = encode(corners(), ImageFormat::Jpeg);
    let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xff, 0xff, 0xff, 0xff]);
    assert!(matches!(read(&jpeg), Err(ImageError::TooManyPixels { width: 65535, height: 65535, .. })));
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0, 0, 0, 16]);
    let error = read(&jpeg).unwrap_err();
    println!("{error}");
}

#[test]
fn the_number_of_pixels_is_limited() {
    let png = encode(corners(), ImageFormat::Png);
    let at = |max_pixels| read_image(&png, ImageLimits { max_pixels, ..ImageLimits::default() });
    assert!(at(48 * 32).is_ok());
    assert!(matches!(at(48 * 32 - 1), Err(ImageError::TooManyPixels { width: 48, height: 32, limit: 1535 })));
}
