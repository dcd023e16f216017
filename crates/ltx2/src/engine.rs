//! `ltx2 engine`: the engine process of `ltx2 serve`. It starts with the first task and exits after the idle timeout.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::Context;
use ltx2_engine::{EngineClient, engine_socket, exit_now, host_engine};
use ltx2_types::{Failure, FailureCode};

use crate::models::ModelArguments;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    models: ModelArguments,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let socket = engine_socket().context("`ltx2 serve` starts the engine; it cannot be started by hand")?;
    host_engine(socket, || Ok(arguments.models.engine()?), exit_now)?;
    Ok(())
}

/// Starts the engine process.
pub fn launch(models: &ModelArguments) -> Result<EngineClient, Failure> {
    let mut command = Command::new(this_program()?);
    command.arg0("ltx2").arg("engine").args(models.command_line());
    EngineClient::start_process(command).map_err(|error| failure(&error))
}

/// Returns the path of this program. On Linux this is the running program even if its file was replaced by another version.
fn this_program() -> Result<std::path::PathBuf, Failure> {
    if cfg!(target_os = "linux") {
        Ok("/proc/self/exe".into())
    } else {
        std::env::current_exe().map_err(|error| failure(&error))
    }
}

fn failure(error: &std::io::Error) -> Failure {
    Failure::new(FailureCode::Internal, format!("cannot start the engine process: {error}"))
}
