//! `ltx2 plan`.

use ltx2_pipeline::plan::{MemoryEstimate, Plan, StagePlan, estimate, plan_request};
use ltx2_types::OutputSpec;
use serde::Serialize;

use crate::models::ModelArguments;
use crate::output;
use crate::request::RequestArguments;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    models: ModelArguments,
    #[command(flatten)]
    request: RequestArguments,
    /// Print JSON, with every value of the plan.
    #[arg(long)]
    json: bool,
}

/// Output of the command.
#[derive(Serialize)]
struct Printed {
    plan: Plan,
    memory: MemoryEstimate,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let models = arguments.models.open()?;
    let request = arguments.request.valid(&models, OutputSpec::default())?;
    let plan = plan_request(&request, &models.capabilities())?;
    models.check_loras(&plan)?;
    let execution = arguments.models.execution()?;
    let memory = estimate(&plan, &models.weight_sizes(execution.precision.dtype()), execution);
    let printed = Printed { plan, memory };
    let text = if arguments.json { serde_json::to_string_pretty(&printed)? } else { printed.text() };
    output::print(&text)
}

impl Printed {
    /// Formats the plan as tables.
    fn text(&self) -> String {
        let plan = &self.plan;
        let row = |key: &str, value: String| vec![key.to_string(), value];
        let general = [
            row("model", format!("LTX-{}", plan.model)),
            row("pipeline", plan.pipeline.name().into()),
            row("prompt", plan.prompt.clone()),
            row("seed", plan.seed.to_string()),
            row("frames", format!("{} at {:.3} per second", plan.output.num_frames, plan.output.frame_rate.as_f64())),
        ];
        let mut stages = vec![
            ["stage", "size", "frames", "video tokens", "audio tokens", "steps", "sigmas", "LoRAs"]
                .map(String::from)
                .to_vec(),
        ];
        stages.extend(plan.stages.iter().enumerate().map(|(i, stage)| stage_row(i + 1, stage)));
        let size = |bytes: usize| output::bytes(bytes as u64);
        let memory = [
            row("encoding the prompt", size(self.memory.encoding_prompt)),
            row("denoising", size(self.memory.denoising)),
            row("decoding", size(self.memory.decoding)),
            row("peak", size(self.memory.peak)),
            row("least, with streamed blocks", size(self.memory.least)),
        ];
        let tables = [&general[..], &stages, &memory].map(output::table);
        format!("{}\n\n{}\n\nestimated memory\n{}", tables[0], tables[1], tables[2])
    }
}

fn stage_row(number: usize, stage: &StagePlan) -> Vec<String> {
    let loras = stage.loras.iter().map(|lora| {
        let name = lora.file.file_stem().unwrap_or_default().to_string_lossy();
        format!("{name}:{}", lora.strength)
    });
    let loras = loras.collect::<Vec<_>>().join(", ");
    let sigma = |sigma: Option<&f32>| sigma.copied().unwrap_or_default();
    vec![
        number.to_string(),
        format!("{}x{}", stage.shape.width, stage.shape.height),
        stage.shape.frames.to_string(),
        stage.tokens.video.to_string(),
        stage.tokens.audio.to_string(),
        (stage.sigmas.len() - 1).to_string(),
        format!("{:.3} to {:.3}", sigma(stage.sigmas.first()), sigma(stage.sigmas.last())),
        if loras.is_empty() { "-".into() } else { loras },
    ]
}
