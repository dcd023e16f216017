//! `ltx2 plan`.

use ltx2_pipeline::plan::{estimate, plan_request};
use ltx2_types::OutputSpec;
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
    let request = arguments.request.valid(&models, OutputSpec::default())?;
    let plan = plan_request(&request, &models.capabilities())?;
    models.check_loras(&plan)?;
    let execution = arguments.models.execution()?;
    let memory = estimate(&plan, &models.weight_sizes(execution.precision.dtype()), execution);
    println!("{}", serde_json::to_string_pretty(&Printed { plan, memory })?);
    Ok(())
}
