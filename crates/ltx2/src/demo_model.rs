//! `ltx2 demo-model`.

use std::path::PathBuf;

use ltx2_devtools::{PublishedModel, demo_model, trained_model};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Folder to write; created if it does not exist.
    dir: PathBuf,
    /// Write synthetic weights of every kind of layer, for tests and benchmarks, instead of the trained model.
    #[arg(long)]
    synthetic: bool,
    /// Published model to write a small version of: ltx-2-19b or ltx-2.3-22b.
    #[arg(long, default_value = PublishedModel::default().name(), requires = "synthetic")]
    base: PublishedModel,
    /// Seed of the synthetic weights.
    #[arg(long, default_value_t = 0, requires = "synthetic")]
    seed: u64,
}

pub fn run(arguments: Arguments) -> anyhow::Result<()> {
    if arguments.synthetic {
        demo_model::write(&arguments.dir, arguments.base, arguments.seed)?;
    } else {
        trained_model::write(&arguments.dir)?;
    }
    println!("{}", arguments.dir.display());
    Ok(())
}
