//! `ltx2 trace`.

use std::path::PathBuf;

use ltx2_devtools::trace::{self, ReferenceRequest};

use crate::inputs;
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
    let task = request.task()?;
    let (mut inputs, source) = (inputs::open(&task)?, inputs::probe(&task)?);
    let mut engine = arguments.models.engine()?;
    let tensors = trace::trace(&mut engine, &arguments.like, inputs.as_mut(), source)?;
    trace::write(&tensors, &arguments.out)?;
    output::print(&format!("{} tensors in {}", tensors.len(), arguments.out.display()))
}
