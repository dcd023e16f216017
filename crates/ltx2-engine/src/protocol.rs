//! Messages between the server and the engine, one JSON object per line.

use ltx2_types::{Device, Failure, ImageLimits, InputFile, OutputFile, OutputInfo, Progress, Report, ValidRequest};
use serde::{Deserialize, Serialize};

/// Version of the messages. Both sides are usually the same program, but on some systems the file of the program can be
/// replaced while the server runs.
pub const PROTOCOL_VERSION: u32 = 1;

/// Message from the server.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineCommand {
    /// Runs a job. Sent only while no other job runs; answered by [`EngineEvent::Ended`].
    Make(Box<EngineJob>),
    /// Abandons the current job.
    Cancel,
    /// Whether to make previews. Off at the start of a job.
    Previews(bool),
    /// Gives the output files their final names. Answers [`EngineEvent::Made`].
    Publish,
}

/// One video to generate.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EngineJob {
    /// Validated request.
    pub request: ValidRequest,
    /// Files of the inputs of `request.task`.
    pub inputs: Vec<InputFile>,
    /// Files to write.
    pub outputs: Vec<OutputFile>,
    /// Limits for decoding images.
    pub limits: ImageLimits,
}

/// Message from the engine.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineEvent {
    /// The engine accepts jobs. Always the first message, unless it is [`EngineEvent::Unready`].
    Ready {
        /// [`PROTOCOL_VERSION`] of the engine.
        protocol: u32,
        /// Device of the engine.
        device: Device,
        /// Model name of the GPU, if known.
        gpu: Option<String>,
    },
    /// The engine cannot start and exits.
    Unready(Failure),
    /// Progress of the current job.
    Progress(Progress),
    /// A preview of the current job: a JPEG in base64.
    Preview(String),
    /// The output files are complete and wait for [`EngineCommand::Publish`].
    Made {
        /// Summary of the generation.
        report: Report,
        /// Properties of the output files, in the order of [`EngineJob::outputs`].
        outputs: Vec<OutputInfo>,
    },
    /// The job ended: either all output files have their final names, or there is a failure. After a failure no pending
    /// file is left, but a failure to publish one file may leave others under their final names.
    Ended {
        /// Reason why there is no result.
        failure: Option<Failure>,
        /// State of the engine after the job.
        state: EngineState,
    },
}

/// State of an engine between jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineState {
    /// No model is in memory.
    Empty,
    /// A model is in memory.
    Loaded,
    /// The engine must be restarted.
    Broken,
}

/// The part of [`EngineEvent::Ready`] that every version of the protocol has.
#[derive(Deserialize)]
pub(crate) struct Handshake {
    pub(crate) ready: Version,
}

/// Version of the sender's protocol.
#[derive(Deserialize)]
pub(crate) struct Version {
    pub(crate) protocol: u32,
}
