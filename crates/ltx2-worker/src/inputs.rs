//! A task's input files → what the generator takes.

use ltx2_media::{ImageLimits, conditioning_image_within};
use ltx2_store::{FileName, Store};
use ltx2_types::{Failure, FailureCode, ImageInput, RgbImage, ValidRequest};

/// The pictures of `request`, in its order.
pub(crate) fn read_images(
    store: &Store,
    request: &ValidRequest,
    limits: ImageLimits,
) -> Result<Vec<RgbImage>, Failure> {
    request.task.images().iter().map(|image| read(store, image, limits)).collect()
}

fn read(store: &Store, image: &ImageInput, limits: ImageLimits) -> Result<RgbImage, Failure> {
    let bad = |reason: String| Failure::new(FailureCode::BadInput, reason);
    let name = FileName::parse(&image.file)
        .ok_or_else(|| bad(format!("{:?} is not the name of an input file", image.file)))?;
    let bytes = std::fs::read(store.input_path(&name))
        .map_err(|error| bad(format!("the input picture {name} cannot be read: {error}")))?;
    Ok(conditioning_image_within(&bytes, image.crf, limits)?)
}
