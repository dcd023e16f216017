//! The H.264 pass of stills, against what the official Python code makes of the same pictures
//! (`fixtures/make_stills.py`).

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

/// The largest mean difference in levels over both qualities. Measured: 0, every byte is equal, although the official
/// code ran on newer libraries (x264 165 and swscale 9 against 164 and 6).
fn difference_from_official(size: &str) -> f64 {
    let source = fixture(&format!("still_{size}.png"));
    let of_crf = |crf| {
        let official = fixture(&format!("still_{size}_crf{crf}.png"));
        mean_difference(&crf_roundtrip(&source, crf).unwrap(), &official)
    };
    of_crf(33_u32).max(of_crf(12))
}

#[test]
fn stills_come_out_as_from_the_official_code() {
    for size in ["67x45", "160x96"] {
        let difference = difference_from_official(size);
        assert!(difference < 0.05, "{size}: mean difference {difference}");
    }
}

#[test]
fn tall_stills_are_cut_into_slices_as_by_the_official_code() {
    // Two slices, as on any machine with two cores or more: ours does not ask how many this one has.
    let difference = difference_from_official("64x144");
    assert!(difference < 0.05, "mean difference {difference}");
}

#[test]
fn crf_zero_changes_nothing() {
    let source = fixture("still_67x45.png");
    assert_eq!(crf_roundtrip(&source, 0).unwrap(), source);
}

#[test]
fn a_higher_crf_loses_more() {
    let source = fixture("still_160x96.png");
    let loss = |crf| mean_difference(&source, &crf_roundtrip(&source, crf).unwrap());
    assert!(loss(12) < loss(33) && loss(33) < loss(51));
}

#[test]
fn the_smallest_stills_pass() {
    for (width, height) in [(1, 1), (1, 5), (6, 1), (2, 2), (3, 3)] {
        let image = RgbImage { width, height, data: vec![200; (width * height * 3) as usize] };
        let still = crf_roundtrip(&image, 33).unwrap();
        assert_eq!((still.width, still.height), ((width / 2 * 2).max(2), (height / 2 * 2).max(2)));
        assert!(still.data.iter().all(|value| value.abs_diff(200) < 8), "{:?}", still.data);
    }
}

#[test]
fn a_still_that_x264_refuses_is_an_error_with_its_size() {
    let image = RgbImage { width: 20_000, height: 2, data: vec![0; 120_000] };
    let error = crf_roundtrip(&image, 33).unwrap_err().to_string();
    assert!(error.starts_with("cannot encode an image of 20000x2 pixels with H.264: "), "{error}");
}
