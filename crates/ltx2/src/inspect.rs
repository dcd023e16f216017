//! `ltx2 models inspect`.

use std::path::PathBuf;

use anyhow::bail;
use ltx2_pipeline::Inspection;

use crate::models::FileArguments;
use crate::output;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the model files in a folder: the kind of each, the files in use and the missing ones.
    Inspect(InspectArguments),
}

#[derive(Debug, clap::Args)]
struct InspectArguments {
    /// Folder with the model files.
    #[arg(value_name = "DIR", default_value = "weights")]
    dir: PathBuf,
    #[command(flatten)]
    files: FileArguments,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let Command::Inspect(arguments) = &arguments.command;
    let inspection = Inspection::of(&arguments.dir, &arguments.files.choice())?;
    if arguments.json {
        output::print(&serde_json::to_string_pretty(&inspection)?)?;
    } else {
        output::print(&text(&inspection))?;
    }
    match inspection.missing.as_slice() {
        [] => Ok(()),
        missing => bail!("{} is not a model set: it lacks {}", arguments.dir.display(), missing.join(", and ")),
    }
}

/// Formats a table of the files, and the remarks.
fn text(inspection: &Inspection) -> String {
    let mut rows = vec![["file", "size", "content", "used as"].map(String::from).to_vec()];
    rows.extend(inspection.files.iter().map(|file| {
        let path = file.path.strip_prefix(&inspection.folder).unwrap_or(&file.path);
        let used_as = if file.used_as.is_empty() { "-".into() } else { file.used_as.join(", ") };
        vec![path.display().to_string(), output::bytes(file.bytes), file.content.clone(), used_as]
    }));
    let notes = inspection.notes.iter().map(|note| format!("\n{note}"));
    output::table(&rows) + &notes.collect::<String>()
}
