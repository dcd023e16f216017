//! `ltx2`: video with audio from text and images, with the open LTX-2 models.

mod allocator;
mod bench;
mod demo_model;
#[cfg(feature = "media")]
mod engine;
#[cfg(feature = "media")]
mod generate;
mod inputs;
mod inspect;
mod models;
mod output;
mod plan;
mod request;
#[cfg(feature = "media")]
mod serve;
mod source;
mod trace;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(version, about, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the HTTP API.
    #[cfg(feature = "media")]
    Serve(Box<serve::Arguments>),
    /// Generate one video.
    #[cfg(feature = "media")]
    Generate(Box<generate::Arguments>),
    /// Inspect model files.
    Models(inspect::Arguments),
    /// Print the plan and the memory estimate of a request, without loading weights.
    Plan(Box<plan::Arguments>),
    /// Run the request of a reference trace and write every tensor under the reference's names.
    Trace(trace::Arguments),
    /// Measure the phases of a generation separately.
    Bench(Box<bench::Arguments>),
    /// The engine process that `serve` starts; it communicates over a socket on standard input.
    #[cfg(feature = "media")]
    #[command(hide = true)]
    Engine(engine::Arguments),
    /// Write the demo model, a small LTX-2 that draws simple shapes from a prompt on a CPU in seconds.
    DemoModel(demo_model::Arguments),
}

fn main() -> ExitCode {
    allocator::configure();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_env_filter(
            tracing_subscriber::EnvFilter::builder()
                .with_default_directive(tracing::Level::INFO.into())
                .from_env_lossy(),
        )
        .init();
    let result = match Arguments::parse().command {
        #[cfg(feature = "media")]
        Command::Serve(arguments) => serve::run(*arguments),
        #[cfg(feature = "media")]
        Command::Generate(arguments) => generate::run(&arguments),
        Command::Models(arguments) => inspect::run(&arguments),
        Command::Plan(arguments) => plan::run(&arguments),
        Command::Trace(arguments) => trace::run(arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        #[cfg(feature = "media")]
        Command::Engine(arguments) => engine::run(&arguments),
        Command::DemoModel(arguments) => demo_model::run(arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", output::error_text(&error));
            ExitCode::FAILURE
        }
    }
}
