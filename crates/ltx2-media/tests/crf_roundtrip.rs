//! H.264 pass of conditioning images, compared with the official Python code (`fixtures/make_stills.py`).

use std::path::Path;

use ltx2_media::{crf_roundtrip, read_image};
use ltx2_types::ImageLimits;
use ltx2_types::RgbImage;

fn fixture(name: &str) -> RgbImage {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    read_image(&std::fs::read(path).unwrap(), ImageLimits::default()).unwrap()
}

fn mean_difference(a: &RgbImage, b: &RgbImage) -> f64 {
    assert_eq!((a.width, a.height, a.data.len()), (b.width, b.height, b.data.len()));
    let total: u64 = a.data.iter().zip(&b.data).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    total as f64 / a.data.len() as f64
}

/// Returns the larger mean difference from the official code, in levels, of both qualities. Measured: 0, every byte is
/// equal, although the official code ran on newer libraries (x264 165 and swscale 9 instead of 164 and 6).
fn difference_from_official(size: &str) -> f64 {
    let source = fixture(&format!("still_{size}.png"));
    let of_crf = |crf| {
        let official = fixture(&format!("still_{size}_crf{crf}.png"));
        mean_difference(&crf_roundtrip(&source, crf).unwrap(), &official)
    };
    of_crf(33_u32).max(of_crf(12))
}

#[test]
fn images_equal_those_of_the_official_code() {
    for size in ["67x45", "160x96"] {
        let difference = difference_from_official(size);
        assert!(difference < 0.05, "{size}: mean difference {difference}");
    }
}

#[test]
fn tall_images_are_encoded_in_slices_like_the_official_code() {
    // Two slices, as the official code makes on any machine with at least two cores.
    let difference = difference_from_official("64x144");
    assert!(difference < 0.05, "mean difference {difference}");
}

#[test]
fn crf_zero_returns_the_image() {
    let source = fixture("still_67x45.png");
    assert_eq!(crf_roundtrip(&source, 0).unwrap(), source);
}

#[test]
fn a_higher_crf_has_a_larger_error() {
    let source = fixture("still_160x96.png");
    let loss = |crf| mean_difference(&source, &crf_roundtrip(&source, crf).unwrap());
    assert!(loss(12) < loss(33) && loss(33) < loss(51));
}

#[test]
fn tiny_images_are_accepted() {
    for (width, height) in [(1, 1), (1, 5), (6, 1), (2, 2), (3, 3)] {
        let image = RgbImage { width, height, data: vec![200; (width * height * 3) as usize] };
        let image = crf_roundtrip(&image, 33).unwrap();
        assert_eq!((image.width, image.height), ((width / 2 * 2).max(2), (height / 2 * 2).max(2)));
        assert!(image.data.iter().all(|value| value.abs_diff(200) < 8), "{:?}", image.data);
    }
}

#[test]
fn an_image_that_x264_refuses_is_an_error_with_its_size() {
    let image = RgbImage { width: 20_000, height: 2, data: vec![0; 120_000] };
    let error = crf_roundtrip(&image, 33).unwrap_err().to_string();
    assert!(error.starts_with("cannot encode an image of 20000x2 pixels with H.264: "), "{error}");
}
