//! `ltx2 generate`.

use std::path::PathBuf;
use std::sync::Mutex;

use indicatif::{ProgressBar, ProgressStyle};
use ltx2_media::{FileInputs, VideoWriter};
use ltx2_types::{Generator, ImageLimits, InputFile, Job, Phase, Progress, Watch};

use crate::models::ModelArguments;
use crate::request::RequestArguments;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    models: ModelArguments,
    #[command(flatten)]
    request: RequestArguments,
    /// MP4 file to write.
    #[arg(long, value_name = "FILE", default_value = "ltx2.mp4")]
    out: PathBuf,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut engine = arguments.models.engine()?;
    let request = arguments.request.valid(engine.models())?;
    let files = request.task.inputs().into_iter().map(|input| InputFile {
        id: input.id,
        kind: input.kind,
        path: input.source.to_string().into(),
    });
    let mut inputs = FileInputs::new(files.collect(), ImageLimits::default());
    let mut output = VideoWriter::create(&arguments.out, request.output)?;
    let bar = Bar::new();
    let report = engine.generate(Job { request: &request, inputs: &mut inputs }, &mut output, &bar)?;
    output.finish()?.publish()?;
    bar.finish();
    if let Some(prompt) = report.enhanced_prompt {
        eprintln!("prompt: {prompt}");
    }
    println!("{}", arguments.out.display());
    Ok(())
}

/// Progress bar on the terminal: phase, step and time left.
struct Bar {
    bar: ProgressBar,
    phase: Mutex<Option<Phase>>,
}

impl Bar {
    fn new() -> Self {
        let style = ProgressStyle::with_template("{msg:16} [{bar:30}] {pos}/{len}  {elapsed} elapsed, {eta} left")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        Self { bar: ProgressBar::new(1).with_style(style), phase: Mutex::new(None) }
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Watch for Bar {
    fn progress(&self, progress: Progress) {
        let mut phase = self.phase.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if *phase != Some(progress.phase) {
            *phase = Some(progress.phase);
            self.bar.reset();
            self.bar.set_message(progress.phase.name().replace('_', " "));
        }
        self.bar.set_length(progress.total_steps.into());
        self.bar.set_position(progress.step.into());
    }

    fn is_cancelled(&self) -> bool {
        false
    }
}
