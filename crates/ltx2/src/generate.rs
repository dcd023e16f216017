//! `ltx2 generate`.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::bail;
use bytesize::ByteSize;
use indicatif::{ProgressBar, ProgressStyle};
use ltx2_media::{VideoWriter, metadata};
use ltx2_types::{Generator, Job, OutputSpec, Phase, Progress, Quality, VideoFormat, Watch};

use crate::inputs;
use crate::models::ModelArguments;
use crate::output;
use crate::request::RequestArguments;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    models: ModelArguments,
    #[command(flatten)]
    request: RequestArguments,
    /// Video file to write.
    #[arg(long, value_name = "FILE", default_value = "ltx2.mp4")]
    out: PathBuf,
    /// Format: mp4 (H.264), mp4-h265, webm (VP9), mov (ProRes), gif or png-zip (one PNG per frame) [default: by the extension of --out].
    #[arg(long)]
    format: Option<VideoFormat>,
    /// Quality: low, balanced, high or lossless.
    #[arg(long, default_value = "high")]
    quality: Quality,
    /// Maximum size of the file, such as 16MB; a larger video is encoded again at a lower quality.
    #[arg(long, value_name = "SIZE")]
    max_bytes: Option<ByteSize>,
    /// Write a video without audio. A GIF and a ZIP of PNGs have none.
    #[arg(long)]
    no_audio: bool,
    /// Write no prompt, seed, model version and settings into the file.
    #[arg(long)]
    no_metadata: bool,
}

impl Arguments {
    /// Returns the format of the file.
    fn output(&self) -> anyhow::Result<OutputSpec> {
        let default = OutputSpec::new(self.format.map_or_else(|| format_of(&self.out), Ok)?);
        Ok(OutputSpec {
            quality: self.quality,
            audio: default.audio && !self.no_audio,
            max_bytes: self.max_bytes.map(|size| size.as_u64()),
            metadata: !self.no_metadata,
            ..default
        })
    }
}

/// Returns the format that the extension of `path` names; MP4 without an extension.
fn format_of(path: &Path) -> anyhow::Result<VideoFormat> {
    let Some(extension) = path.extension() else { return Ok(VideoFormat::Mp4) };
    match extension.to_ascii_lowercase().to_str() {
        Some("mp4" | "m4v") => Ok(VideoFormat::Mp4),
        Some("webm") => Ok(VideoFormat::Webm),
        Some("mov") => Ok(VideoFormat::Mov),
        Some("gif") => Ok(VideoFormat::Gif),
        Some("zip") => Ok(VideoFormat::PngZip),
        _ => bail!(
            "out is {}, but its extension must be mp4, webm, mov, gif or zip, unless --format is given",
            path.display()
        ),
    }
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let output = arguments.output()?;
    let mut engine = arguments.models.engine()?;
    let request = arguments.request.valid(engine.models(), output)?;
    let mut inputs = inputs::open(&request.task)?;
    let metadata = metadata(&request, engine.provenance(&request).as_ref());
    let mut output = VideoWriter::create(&arguments.out, request.output)?.with_metadata(metadata);
    let bar = Bar::new();
    let report = engine.generate(Job { request: &request, inputs: inputs.as_mut() }, &mut output, &bar)?;
    let written = output.finish()?.publish()?;
    bar.finish();
    if let Some(note) = written.note {
        eprintln!("note: {note}");
    }
    if let Some(prompt) = report.enhanced_prompt {
        eprintln!("prompt: {prompt}");
    }
    output::print(&format!("{}", arguments.out.display()))
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
