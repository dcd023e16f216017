//! `ltx2`: text and images to video with sound, with the open LTX-2 model.

mod allocator;
mod bench;
mod demo_model;
#[cfg(feature = "media")]
mod engine;
#[cfg(feature = "media")]
mod generate;
mod models;
mod pictures;
mod plan;
mod request;
#[cfg(feature = "media")]
mod serve;
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
    /// Make one video.
    #[cfg(feature = "media")]
    Generate(Box<generate::Arguments>),
    /// Print what a request would do, without loading weights.
    Plan(Box<plan::Arguments>),
    /// Run a reference trace's request and write every tensor under the reference's names.
    Trace(trace::Arguments),
    /// Measure the phases of a run one by one.
    Bench(Box<bench::Arguments>),
    /// What `serve` runs to make videos; it talks to the server over a socket on standard input.
    #[cfg(feature = "media")]
    #[command(hide = true)]
    Engine(engine::Arguments),
    /// Write a small model with synthetic weights, to try everything out without the real one.
    DemoModel(demo_model::Arguments),
}

fn main() -> ExitCode {
    allocator::settle();
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
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
