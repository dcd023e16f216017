//! `ltx2 demo-model`.

use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Folder to write; made if it is not there.
    dir: PathBuf,
    /// Seed of the synthetic weights.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

pub fn run(arguments: Arguments) -> anyhow::Result<()> {
    ltx2_pipeline::demo_model::write(&arguments.dir, arguments.seed)?;
    println!("{}", arguments.dir.display());
    Ok(())
}
