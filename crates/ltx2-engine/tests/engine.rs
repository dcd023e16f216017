//! Client and host over a socket: messages, output files and failures.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ltx2_engine::{EngineClient, EngineCommand, EngineEvent, EngineJob, EngineState, PROTOCOL_VERSION, host_engine};
use ltx2_types::{
    AudioClip, Device, Failure, FailureCode, Generator, ImageLimits, Job, Limits, Output, OutputFile, OutputRole,
    OutputSpec, Phase, Pipeline, Progress, Report, ValidRequest, VideoInfo, Watch,
};

/// Generator of a grey video. The prompt `wait` waits for a cancellation, `panic` panics, `lost` loses the device.
struct Grey {
    loaded: bool,
}

impl Generator for Grey {
    fn generate(&mut self, job: Job<'_>, output: &mut dyn Output, watch: &dyn Watch) -> Result<Report, Failure> {
        self.loaded = true;
        watch.progress(Progress { phase: Phase::Denoising, step: 1, total_steps: 1 });
        let ValidRequest { width, height, num_frames, frame_rate, ref prompt, .. } = *job.request;
        match prompt.as_str() {
            "panic" => panic!("index out of bounds"),
            "lost" => return Err(Failure::new(FailureCode::DeviceLost, "the GPU has a fault")),
            "wait" => {
                while !watch.is_cancelled() {
                    std::thread::sleep(Duration::from_millis(5));
                }
                return Err(Failure::cancelled());
            }
            _ => {}
        }
        output.start(VideoInfo { width, height, num_frames, frame_rate })?;
        output.audio(AudioClip { sample_rate: 24_000, samples: Vec::new() })?;
        for _ in 0..num_frames {
            output.frame(&vec![128; (width * height * 3) as usize])?;
        }
        Ok(Report { pipeline: Pipeline::OneStage, enhanced_prompt: None })
    }

    fn is_loaded(&self) -> bool {
        self.loaded
    }

    fn device(&self) -> Device {
        Device::Cpu
    }
}

fn grey_engine() -> EngineClient {
    let host = |stream| drop(host_engine(stream, || Ok(Grey { loaded: false }), || ()));
    EngineClient::start_thread(host).unwrap()
}

/// Starts an engine that is a shell script; its socket is standard input.
fn script_engine(script: &str) -> EngineClient {
    let mut shell = Command::new("bash");
    shell.args(["-c", script]);
    EngineClient::start_process(shell).unwrap()
}

fn make(prompt: &str, dir: &Path) -> EngineCommand {
    let defaults = Limits::server().defaults;
    let request = ValidRequest { prompt: prompt.into(), width: 64, height: 64, num_frames: 9, ..defaults };
    let output = |role, name| OutputFile { role, spec: OutputSpec::default(), path: dir.join(name) };
    EngineCommand::Make(Box::new(EngineJob {
        request,
        inputs: Vec::new(),
        outputs: vec![output(OutputRole::Video, "video.mp4"), output(OutputRole::Thumbnail, "video.jpg")],
        limits: ImageLimits::default(),
    }))
}

async fn next(engine: &mut EngineClient) -> Option<EngineEvent> {
    tokio::time::timeout(Duration::from_secs(20), engine.next_event()).await.expect("an event in time")
}

/// Returns the first event that is not progress.
async fn next_but_progress(engine: &mut EngineClient) -> EngineEvent {
    loop {
        match next(engine).await.expect("an event") {
            EngineEvent::Progress(_) => {}
            event => return event,
        }
    }
}

async fn failure_of(mut engine: EngineClient) -> Failure {
    while next(&mut engine).await.is_some() {}
    engine.into_failure().await
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn the_first_event_has_the_protocol_version_and_the_device() {
    let mut engine = grey_engine();
    let ready = next(&mut engine).await;
    let Some(EngineEvent::Ready { protocol, device, gpu }) = ready else { panic!("not ready: {ready:?}") };
    assert_eq!((protocol, device, gpu), (PROTOCOL_VERSION, Device::Cpu, None));
    assert_eq!(engine.state(), EngineState::Empty);
}

#[tokio::test]
async fn all_outputs_get_their_names_after_publish() {
    let dir = tempfile::tempdir().unwrap();
    let mut engine = grey_engine();
    engine.send(&make("a fox", dir.path())).await;
    assert!(matches!(next(&mut engine).await, Some(EngineEvent::Ready { .. })));
    let EngineEvent::Made { report, outputs } = next_but_progress(&mut engine).await else { panic!("not made") };
    assert_eq!(report.pipeline, Pipeline::OneStage);
    let kinds: Vec<_> = outputs.iter().map(|output| (output.role, output.mime.as_str(), output.width)).collect();
    assert_eq!(kinds, [(OutputRole::Video, "video/mp4", Some(64)), (OutputRole::Thumbnail, "image/jpeg", Some(64))]);
    let pending = names(dir.path());
    assert!(pending.len() == 2 && pending.iter().all(|name| name.starts_with('.')), "{pending:?}");

    engine.send(&EngineCommand::Publish).await;
    let ended = next_but_progress(&mut engine).await;
    assert!(matches!(ended, EngineEvent::Ended { failure: None, state: EngineState::Loaded }), "{ended:?}");
    assert_eq!(names(dir.path()), ["video.jpg", "video.mp4"]);
    let size = |name: &str| std::fs::metadata(dir.path().join(name)).unwrap().len();
    assert_eq!([outputs[0].bytes, outputs[1].bytes], [size("video.mp4"), size("video.jpg")]);
    assert_eq!(engine.state(), EngineState::Loaded);
}

#[tokio::test]
async fn a_job_cancelled_before_publish_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut engine = grey_engine();
    engine.send(&make("a fox", dir.path())).await;
    assert!(matches!(next(&mut engine).await, Some(EngineEvent::Ready { .. })));
    assert!(matches!(next_but_progress(&mut engine).await, EngineEvent::Made { .. }));
    engine.send(&EngineCommand::Cancel).await;
    let EngineEvent::Ended { failure, .. } = next_but_progress(&mut engine).await else { panic!("not ended") };
    assert_eq!(failure, Some(Failure::cancelled()));
    assert!(names(dir.path()).is_empty());
}

#[tokio::test]
async fn a_running_job_is_cancelled() {
    let dir = tempfile::tempdir().unwrap();
    let mut engine = grey_engine();
    engine.send(&make("wait", dir.path())).await;
    assert!(matches!(next(&mut engine).await, Some(EngineEvent::Ready { .. })));
    assert!(matches!(next(&mut engine).await, Some(EngineEvent::Progress(_))));
    engine.send(&EngineCommand::Cancel).await;
    let EngineEvent::Ended { failure, state } = next_but_progress(&mut engine).await else { panic!("not ended") };
    assert_eq!((failure, state), (Some(Failure::cancelled()), EngineState::Loaded));
}

#[tokio::test]
async fn a_panic_and_a_lost_device_break_the_engine() {
    let dir = tempfile::tempdir().unwrap();
    let panic_message = "internal error: the engine panicked; see the server log";
    for (prompt, code, message) in
        [("panic", FailureCode::Internal, panic_message), ("lost", FailureCode::DeviceLost, "the GPU has a fault")]
    {
        let mut engine = grey_engine();
        engine.send(&make(prompt, dir.path())).await;
        assert!(matches!(next(&mut engine).await, Some(EngineEvent::Ready { .. })));
        let EngineEvent::Ended { failure, state } = next_but_progress(&mut engine).await else { panic!("not ended") };
        assert_eq!((failure, state), (Some(Failure::new(code, message)), EngineState::Broken));
        assert!(next(&mut engine).await.is_none());
    }
    assert!(names(dir.path()).is_empty());
}

#[tokio::test]
async fn an_engine_that_cannot_start_reports_why() {
    let reason = Failure::new(FailureCode::Model, "no CUDA device");
    let expected = reason.clone();
    let host = move |stream| drop(host_engine(stream, || Err::<Grey, _>(reason), || ()));
    let mut engine = EngineClient::start_thread(host).unwrap();
    assert!(matches!(next(&mut engine).await, Some(EngineEvent::Unready(failure)) if failure == expected));
    assert_eq!(engine.state(), EngineState::Broken);
}

/// The other fields of the first message may have changed with the version.
#[tokio::test]
async fn another_protocol_version_asks_for_a_restart_of_the_server() {
    let engine = script_engine(r#"echo '{"ready":{"protocol":99,"device":"tpu"}}' >&0; sleep 1000"#);
    let failure = failure_of(engine).await;
    assert_eq!(failure.code, FailureCode::Internal);
    assert!(
        failure.message.starts_with("the engine has protocol version 99, but the server needs version 1"),
        "{failure}"
    );
    assert!(failure.message.ends_with("restart the server"), "{failure}");
}

#[tokio::test]
async fn invalid_messages_are_errors() {
    let ready = format!(r#"{{"ready":{{"protocol":{PROTOCOL_VERSION},"device":"cpu"}}}}"#);
    let unknown = format!(r#"{ready}\n{{"finished":{{}}}}"#);
    for messages in
        ["hello", r#"{"ready":"cpu"}"#, r#"{"ended":{"failure":null,"state":"empty"}}"#, r"\xff\xfe", &unknown]
    {
        let failure = failure_of(script_engine(&format!("echo -e '{messages}' >&0; sleep 1000"))).await;
        assert_eq!(failure.code, FailureCode::Internal);
        assert!(failure.message.starts_with("invalid message from the engine: "), "{messages}: {failure}");
    }
}

#[tokio::test]
async fn the_exit_of_the_process_is_reported_with_its_status() {
    let failure = failure_of(script_engine("kill -9 $$")).await;
    let killed = "the engine was killed, probably because memory ran out; try a smaller size or fewer frames";
    assert_eq!(failure, Failure::new(FailureCode::Internal, killed));
    let failure = failure_of(script_engine("exit 3")).await;
    let exited = "the engine exited unexpectedly (exit status: 3); see the server log";
    assert_eq!(failure, Failure::new(FailureCode::Internal, exited));
}

#[tokio::test]
async fn an_engine_that_does_not_exit_is_killed() {
    let engine = script_engine("sleep 1000");
    tokio::time::timeout(Duration::from_secs(5), engine.kill()).await.expect("killed in time");
}
