//! `ltx2 trace`.

use std::path::PathBuf;

use ltx2_devtools::DecodedImages;
use ltx2_devtools::trace::{self, ReferenceRequest};

use crate::images;
use crate::models::ModelArguments;
use crate::output;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    models: ModelArguments,
    /// Reference trace: its request is run with its noise.
    #[arg(long, value_name = "REF.safetensors")]
    like: PathBuf,
    /// File to write.
    #[arg(long, value_name = "OUT.safetensors")]
    out: PathBuf,
}

pub fn run(arguments: Arguments) -> anyhow::Result<()> {
    let request = ReferenceRequest::read(&arguments.like)?;
    let images = request
        .images()?
        .iter()
        .map(|image| images::read(&image.source.to_string(), image.crf))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let mut engine = arguments.models.engine()?;
    let tensors = trace::trace(&mut engine, &arguments.like, &mut DecodedImages(images))?;
    trace::write(&tensors, &arguments.out)?;
    output::print(&format!("{} tensors in {}", tensors.len(), arguments.out.display()))
}
