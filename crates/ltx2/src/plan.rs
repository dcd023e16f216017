//! `ltx2 plan`.

use ltx2_pipeline::plan::{choose, estimate};
use serde::Serialize;

use crate::models::ModelArguments;
use crate::request::RequestArguments;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    models: ModelArguments,
    #[command(flatten)]
    request: RequestArguments,
}

/// Output of the command.
#[derive(Serialize)]
struct Printed {
    plan: ltx2_pipeline::plan::Plan,
    memory: ltx2_pipeline::plan::MemoryEstimate,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let models = arguments.models.open()?;
    let request = arguments.request.valid(&models)?;
    let plan = choose(&request, &models.facts())?;
    let memory = estimate(&plan, &models, arguments.models.computing()?);
    println!("{}", serde_json::to_string_pretty(&Printed { plan, memory })?);
    Ok(())
}
