//! Other published file formats: the same model in each of them gives the same video as in single safetensors files.

mod accepted;
#[path = "../common/mod.rs"]
mod common;
mod diffusers;
mod files;
mod gguf;
mod split;

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Tensor};
use ltx2_devtools::trace::{ReferenceRequest, trace};
use ltx2_devtools::{DecodedImages, PublishedModel, demo_model};
use ltx2_pipeline::{Engine, EngineSettings, ModelSet, Precision};
use ltx2_types::RgbImage;

/// Runs a fixture's request on the models in a folder and returns every tensor.
fn run(models: &Path, case: &str) -> BTreeMap<String, Tensor> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let fixture = fixtures.join(format!("{case}.safetensors"));
    let decode = |file: &String| {
        let rgb = image::open(fixtures.join(file)).unwrap().to_rgb8();
        RgbImage { width: rgb.width(), height: rgb.height(), data: rgb.into_raw() }
    };
    let request = ReferenceRequest::read(&fixture).unwrap();
    let images: Vec<RgbImage> =
        request.images().unwrap().iter().map(|image| decode(&image.source.to_string())).collect();
    let settings = EngineSettings::new(common::test_device(), Precision::F32);
    trace(&mut Engine::new(ModelSet::open(models).unwrap(), settings), &fixture, &mut DecodedImages(images), None)
        .unwrap()
}

/// Returns the relative error of `ours`.
fn relative_error(expected: &Tensor, ours: &Tensor) -> f64 {
    assert_eq!(expected.dims(), ours.dims());
    let flat = |x: &Tensor| x.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
    let (a, b) = (flat(expected), flat(ours));
    let apart: f64 = a.iter().zip(&b).map(|(a, b)| (a - b).powi(2)).sum();
    (apart / a.iter().map(|a| a.powi(2)).sum::<f64>().max(1e-24)).sqrt()
}

/// Returns the largest relative error of all tensors of a run.
fn largest_error(expected: &BTreeMap<String, Tensor>, ours: &BTreeMap<String, Tensor>) -> f64 {
    assert!(expected.len() > 7 && expected.keys().eq(ours.keys()));
    expected.iter().map(|(name, tensor)| relative_error(tensor, &ours[name])).fold(0.0, f64::max)
}

/// Copies files of `from` and creates folders as needed.
fn copy(from: &Path, to: &Path, names: &[&str]) {
    for name in names {
        let target = to.join(name);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(from.join(name), target).unwrap();
    }
}

/// Returns the error of opening the models in a folder.
fn open_error(folder: &Path) -> String {
    ModelSet::open(folder).map(|_| ()).unwrap_err().to_string()
}

/// Writes a demo model to a temporary folder.
fn demo(base: PublishedModel) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    demo_model::write(folder.path(), base, 7).unwrap();
    folder
}
