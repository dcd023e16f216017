//! `ltx2 demo-model`.

use std::path::PathBuf;

use ltx2_devtools::{PublishedModel, demo_model};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Folder to write; created if it does not exist.
    dir: PathBuf,
    /// Published model to write a small version of: ltx-2-19b or ltx-2.3-22b.
    #[arg(long, default_value = PublishedModel::default().name())]
    base: PublishedModel,
    /// Seed of the synthetic weights.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

pub fn run(arguments: Arguments) -> anyhow::Result<()> {
    demo_model::write(&arguments.dir, arguments.base, arguments.seed)?;
    println!("{}", arguments.dir.display());
    Ok(())
}
