//! The worker with a generator that draws colour bars and hums, a real store and real files.

use std::f32::consts::TAU;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ltx2_engine::{EngineClient, host_engine};
use ltx2_store::{EventKind, FileName, InputFile, Removal, Store, TaskId, TaskStatus};
use ltx2_types::{
    AudioClip, Device, Failure, FailureCode, Generator, ImageInput, InputRef, Job, Limits, Output, Phase, Pipeline,
    Progress, Report, RgbImage, Task, ValidRequest, VideoInfo, Watch,
};
use ltx2_worker::{Activity, Launch, Settings, Worker, WorkerHandle};

/// A picture of one red pixel.
const PNG: &[u8] = b"\x89\x50\x4e\x47\x0d\x0a\x1a\x0a\x00\x00\x00\x0d\x49\x48\x44\x52\x00\x00\x00\x01\x00\x00\x00\x01\
    \x08\x02\x00\x00\x00\x90\x77\x53\xde\x00\x00\x00\x0c\x49\x44\x41\x54\x78\x9c\x63\xf8\xcf\xc0\x00\
    \x00\x03\x01\x01\x00\xc9\xfe\x92\xef\x00\x00\x00\x00\x49\x45\x4e\x44\xae\x42\x60\x82";

/// Does what the prompt says: `fail`, `panic`, `wait` for a cancellation, show pictures
/// while it is `watched`, or make a video.
struct Bars {
    loaded: bool,
    /// How many engines have ended.
    ended: Arc<AtomicU32>,
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.ended.fetch_add(1, Ordering::Relaxed);
    }
}

impl Generator for Bars {
    fn generate(&mut self, job: Job<'_>, output: &mut dyn Output, watch: &dyn Watch) -> Result<Report, Failure> {
        self.loaded = true;
        watch.progress(Progress { phase: Phase::Denoising, step: 1, total_steps: 8 });
        let request = job.request;
        for step in 2.. {
            if request.prompt != "watched" || watch.is_cancelled() {
                break;
            }
            if watch.wants_preview() {
                watch.preview(RgbImage { width: 512, height: 256, data: bars(512, 256, step) });
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let ValidRequest { width, height, num_frames, frame_rate, .. } = *request;
        output.start(VideoInfo { width, height, num_frames, frame_rate })?;
        output.audio(hum(frame_rate.seconds(num_frames)))?;
        for index in 0..num_frames {
            output.frame(&bars(width, height, index))?;
            match request.prompt.as_str() {
                "fail" => return Err(Failure::new(FailureCode::OutOfMemory, "the GPU has too little memory")),
                "panic" => panic!("index out of bounds"),
                "wait" | "watched" => return wait(watch),
                _ => {}
            }
        }
        // Red, but through a video codec.
        let is_red = |pixel: &[u8]| pixel[0] > 200 && pixel[1] < 60 && pixel[2] < 60;
        for input in request.task.inputs() {
            assert!(job.inputs.image(input.id, 33)?.data.chunks(3).all(is_red));
        }
        let enhanced_prompt = request.enhance_prompt.then(|| format!("{}, at length", request.prompt));
        Ok(Report { pipeline: Pipeline::OneStage, enhanced_prompt })
    }

    fn is_loaded(&self) -> bool {
        self.loaded
    }

    fn device(&self) -> Device {
        Device::Cpu
    }
}

fn wait(watch: &dyn Watch) -> Result<Report, Failure> {
    while !watch.is_cancelled() {
        std::thread::sleep(Duration::from_millis(5));
    }
    Err(Failure::new(FailureCode::Cancelled, "cancelled"))
}

fn hum(seconds: f64) -> AudioClip {
    let frames = (seconds * 48_000.0) as usize;
    let sample = |frame: usize| 0.2 * (TAU * 440.0 * frame as f32 / 48_000.0).sin();
    AudioClip { sample_rate: 48_000, samples: (0..frames * 2).map(|index| sample(index / 2)).collect() }
}

fn bars(width: u32, height: u32, index: u32) -> Vec<u8> {
    let colour =
        |x: u32| [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]][((x + index) * 4 / width % 4) as usize];
    (0..height).flat_map(|_| (0..width).flat_map(colour)).collect()
}

fn ask(prompt: &str) -> ValidRequest {
    ValidRequest { prompt: prompt.into(), width: 64, height: 64, num_frames: 9, ..Limits::server().defaults }
}

/// Engines on threads, and how many of them have ended.
async fn start(store: &Store, settings: Settings) -> (WorkerHandle, Arc<AtomicU32>) {
    let ended = Arc::new(AtomicU32::new(0));
    let bars = {
        let ended = ended.clone();
        move || Ok(Bars { loaded: false, ended: ended.clone() })
    };
    (Worker::spawn(store.clone(), on_threads(bars), settings).await.unwrap(), ended)
}

fn on_threads(open: impl Fn() -> Result<Bars, Failure> + Clone + Send + Sync + 'static) -> Launch {
    Box::new(move || {
        let open = open.clone();
        Ok(EngineClient::start_thread(move |stream| drop(host_engine(stream, open, || ()))).unwrap())
    })
}

async fn until_ended(ended: &AtomicU32, count: u32) {
    let reached = async {
        while ended.load(Ordering::Relaxed) < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reached).await.expect("in time");
    assert_eq!(ended.load(Ordering::Relaxed), count);
}

/// The status of `id` once `is_reached` likes it.
async fn until(store: &Store, id: &TaskId, is_reached: impl Fn(&TaskStatus) -> bool) -> TaskStatus {
    let reached = async {
        loop {
            let status = store.task(id).await.unwrap().unwrap().status;
            if is_reached(&status) {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reached).await.expect("in time")
}

async fn end(store: &Store, id: &TaskId) -> TaskStatus {
    until(store, id, |status| matches!(status, TaskStatus::Completed(_) | TaskStatus::Failed(_))).await
}

async fn video(store: &Store, id: &TaskId) -> Vec<u8> {
    let TaskStatus::Completed(artifact) = end(store, id).await else { panic!("not completed") };
    assert_eq!(artifact.file, FileName::of_video(id));
    std::fs::read(store.output_path(&artifact.file)).unwrap()
}

async fn failure(store: &Store, id: &TaskId) -> Failure {
    let TaskStatus::Failed(failure) = end(store, id).await else { panic!("not failed") };
    failure
}

fn outputs(store: &Store) -> usize {
    std::fs::read_dir(store.outputs_dir()).unwrap().count()
}

async fn open(data: &Path) -> Store {
    Store::open(data).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_becomes_a_video() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    std::fs::write(store.outputs_dir().join(".ltx2_x.mp4.1-0.part"), b"left by a crash").unwrap();
    let (worker, _) = start(&store, Settings::default()).await;
    assert_eq!((worker.status().loaded, worker.status().device), (false, Device::Cpu));

    let id = store.enqueue(&ValidRequest { enhance_prompt: true, ..ask("a fox") }, vec![]).await.unwrap();
    assert_eq!(&video(&store, &id).await[4..8], b"ftyp");
    let picture = std::fs::read(store.output_path(&FileName::of_thumbnail(&id))).unwrap();
    assert_eq!(picture[..3], *b"\xff\xd8\xff");
    assert_eq!(outputs(&store), 2);
    let TaskStatus::Completed(artifact) = end(&store, &id).await else { panic!("not completed") };
    assert_eq!(artifact.enhanced_prompt.as_deref(), Some("a fox, at length"));
    let mut status = worker.watch_status();
    status.wait_for(|status| status.activity == Activity::Idle).await.unwrap();
    assert!(worker.status().loaded);
    worker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_arrive_decoded_and_bad_ones_fail() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let (worker, _) = start(&store, Settings::default()).await;
    let mut ids = Vec::new();
    for bytes in [PNG, b"no picture"] {
        let input = InputFile::new(bytes.to_vec());
        let images = vec![ImageInput::first_frame(InputRef::Upload(input.name().to_string()))];
        let request = ValidRequest { task: Task::ImageToVideo { images }, ..ask("move") };
        ids.push(store.enqueue(&request, vec![input]).await.unwrap());
    }
    video(&store, &ids[0]).await;
    assert_eq!(failure(&store, &ids[1]).await.code, FailureCode::BadInput);
    worker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_and_panics_are_told_and_the_next_task_runs() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let (worker, ended) = start(&store, Settings::default()).await;
    let failing = store.enqueue(&ask("fail"), vec![]).await.unwrap();
    let panicking = store.enqueue(&ask("panic"), vec![]).await.unwrap();
    let fine = store.enqueue(&ask("a fox"), vec![]).await.unwrap();

    let expected = Failure::new(FailureCode::OutOfMemory, "the GPU has too little memory");
    assert_eq!(failure(&store, &failing).await, expected);
    let message = "internal error: the engine panicked; see the server log";
    assert_eq!(failure(&store, &panicking).await, Failure::new(FailureCode::Internal, message));
    video(&store, &fine).await;
    until_ended(&ended, 1).await;
    assert_eq!(outputs(&store), 2);
    worker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn shutting_down_gives_the_running_task_back() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let (worker, ended) = start(&store, Settings::default()).await;
    let id = store.enqueue(&ask("wait"), vec![]).await.unwrap();
    let progress = Progress { phase: Phase::Denoising, step: 1, total_steps: 8 };
    until(&store, &id, |status| *status == TaskStatus::Running { progress: Some(progress) }).await;
    assert_eq!((worker.status().loaded, worker.status().activity), (true, Activity::Busy));

    worker.shutdown().await.unwrap();
    let record = store.task(&id).await.unwrap().unwrap();
    assert_eq!((record.status, record.attempts), (TaskStatus::Queued { position: 1 }, 0));
    // This engine is a thread, which nobody waits for.
    until_ended(&ended, 1).await;
    assert_eq!(outputs(&store), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_task_is_cancelled_and_leaves_nothing() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let (worker, _) = start(&store, Settings::default()).await;
    let id = store.enqueue(&ask("wait"), vec![]).await.unwrap();
    let next = store.enqueue(&ask("a fox"), vec![]).await.unwrap();
    until(&store, &id, |status| matches!(status, TaskStatus::Running { progress: Some(_) })).await;
    assert_eq!(store.remove(&id).await.unwrap(), Some(Removal::Stopping));
    assert_eq!(failure(&store, &id).await, Failure::new(FailureCode::Cancelled, "cancelled"));
    video(&store, &next).await;
    assert_eq!(outputs(&store), 2);
    worker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_to_unload_waits_for_the_running_task() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let (worker, ended) = start(&store, Settings::default()).await;
    let control = worker.control();
    // Nothing is loaded, but an engine waits.
    control.unload().await;
    until_ended(&ended, 1).await;
    control.unload().await;

    let id = store.enqueue(&ask("wait"), vec![]).await.unwrap();
    until(&store, &id, |status| matches!(status, TaskStatus::Running { .. })).await;
    let unloading = tokio::spawn(async move { control.unload().await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!unloading.is_finished());
    store.cancel(&id).await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), unloading).await.expect("in time").unwrap();
    until_ended(&ended, 2).await;
    assert!(!worker.status().loaded);
    worker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_is_in_the_task_s_history() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let (worker, _) = start(&store, Settings::default()).await;
    let id = store.enqueue(&ask("a fox"), vec![]).await.unwrap();
    video(&store, &id).await;
    let events = store.events_after(&id, 0).await.unwrap();
    use EventKind::{Completed, Queued, Stage, Started};
    assert_eq!(events.iter().map(|event| event.kind).collect::<Vec<_>>(), [Queued, Started, Stage, Completed]);
    assert_eq!(events[2].progress, Some(Progress { phase: Phase::Denoising, step: 1, total_steps: 8 }));
    worker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_was_running_at_a_crash_runs_again() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let id = store.enqueue(&ask("a fox"), vec![]).await.unwrap();
    store.claim("dies", Duration::from_secs(3600)).await.unwrap().unwrap();
    drop(store);

    let store = open(data.path()).await;
    let (worker, _) = start(&store, Settings::default()).await;
    video(&store, &id).await;
    assert_eq!(store.task(&id).await.unwrap().unwrap().attempts, 2);
    worker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_another_worker_took_is_let_go() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let settings = Settings { lease: Duration::ZERO, ..Settings::default() };
    let (worker, _) = start(&store, settings).await;
    let id = store.enqueue(&ask("wait"), vec![]).await.unwrap();
    let mut status = worker.watch_status();
    status.wait_for(|status| status.activity == Activity::Busy).await.unwrap();

    // Taking a lapsed lease back and claiming are two statements: the worker may be quicker in between.
    let steal = async {
        loop {
            if let Some(claim) = store.claim("thief", Duration::from_secs(3600)).await.unwrap() {
                return claim;
            }
        }
    };
    let stolen = tokio::time::timeout(Duration::from_secs(20), steal).await.expect("in time");
    assert_eq!(stolen.lease.task(), &id);
    status.wait_for(|status| status.activity == Activity::Idle).await.unwrap();
    store.heartbeat(&stolen.lease).await.unwrap();
    worker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_outlive_their_length_while_the_worker_lives() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let settings = Settings { lease: Duration::from_millis(1200), ..Settings::default() };
    let (worker, _) = start(&store, settings).await;
    let id = store.enqueue(&ask("wait"), vec![]).await.unwrap();
    until(&store, &id, |status| matches!(status, TaskStatus::Running { .. })).await;
    tokio::time::sleep(Duration::from_millis(2000)).await;
    assert!(store.claim("thief", Duration::from_secs(3600)).await.unwrap().is_none());
    worker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_model_is_unloaded_and_loaded_again() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let settings = Settings { idle_timeout: Some(Duration::from_millis(50)), ..Settings::default() };
    let (worker, ended) = start(&store, settings).await;
    let mut status = worker.watch_status();
    for round in 1..=2 {
        let id = store.enqueue(&ask("a fox"), vec![]).await.unwrap();
        video(&store, &id).await;
        let unloaded = status.wait_for(|status| status.activity == Activity::Idle && !status.loaded);
        tokio::time::timeout(Duration::from_secs(20), unloaded).await.expect("in time").unwrap();
        until_ended(&ended, round).await;
    }
    worker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_a_generator_does_not_start() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let no_device = on_threads(|| Err(Failure::new(FailureCode::Model, "no CUDA device")));
    let error = Worker::spawn(store.clone(), no_device, Settings::default()).await.unwrap_err();
    assert_eq!(error.to_string(), "the engine could not start: no CUDA device");
    let mistake = on_threads(|| panic!("a mistake"));
    let error = Worker::spawn(store, mistake, Settings::default()).await.unwrap_err();
    assert_eq!(error.to_string(), "the engine could not start: the engine exited unexpectedly; see the server log");
}

/// The engine is a shell that says it is ready and goes when it is given its first task.
#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_dies_takes_one_task_with_it() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let ended = Arc::new(AtomicU32::new(0));
    let launches = AtomicU32::new(0);
    let sound = on_threads({
        let ended = ended.clone();
        move || Ok(Bars { loaded: false, ended: ended.clone() })
    });
    let launch: Launch = Box::new(move || {
        if launches.fetch_add(1, Ordering::Relaxed) > 0 {
            return sound();
        }
        let mut shell = Command::new("bash");
        shell.args(["-c", r#"echo '{"ready":{"protocol":1,"device":"cpu"}}' >&0; read -r; kill -9 $$"#]);
        Ok(EngineClient::start_process(shell).unwrap())
    });
    let worker = Worker::spawn(store.clone(), launch, Settings::default()).await.unwrap();
    let killed = store.enqueue(&ask("a fox"), vec![]).await.unwrap();
    let fine = store.enqueue(&ask("a fox"), vec![]).await.unwrap();
    let told = failure(&store, &killed).await;
    assert_eq!(told.code, FailureCode::Internal);
    assert!(told.message.starts_with("the engine was killed, probably because memory ran out"), "{told}");
    video(&store, &fine).await;
    assert_eq!(outputs(&store), 2);
    worker.shutdown().await.unwrap();
}

/// What it leaves behind is gone with it.
#[tokio::test(flavor = "multi_thread")]
async fn stopping_does_not_wait_for_an_engine_that_does_not_listen() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let part = store.outputs_dir().join(".ltx2_x.mp4.1-0.part");
    let script = format!(
        r#"echo '{{"ready":{{"protocol":1,"device":"cpu"}}}}' >&0; read -r; echo x > '{}'; sleep 1000"#,
        part.display()
    );
    let launch: Launch = Box::new(move || {
        let mut shell = Command::new("bash");
        shell.args(["-c", &script]);
        Ok(EngineClient::start_process(shell).unwrap())
    });
    let worker = Worker::spawn(store.clone(), launch, Settings::default()).await.unwrap();
    let id = store.enqueue(&ask("a fox"), vec![]).await.unwrap();
    let begun = async {
        while outputs(&store) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), begun).await.expect("in time");
    tokio::time::timeout(Duration::from_secs(5), worker.shutdown()).await.expect("at once").unwrap();
    assert_eq!((store.task(&id).await.unwrap().unwrap().attempts, outputs(&store)), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn previews_are_made_for_those_who_watch() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let (worker, _) = start(&store, Settings::default()).await;
    let id = store.enqueue(&ask("watched"), vec![]).await.unwrap();
    until(&store, &id, |status| matches!(status, TaskStatus::Running { .. })).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(store.previews_made(&id), None);
    let viewer = store.view_previews(&id);
    let second = async {
        while store.previews_made(&id).is_none_or(|made| made < 2) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), second).await.expect("two previews");
    drop(viewer);
    let jpeg = store.preview(&id).await.unwrap().unwrap();
    let picture = ltx2_media::read_image(&jpeg, ltx2_types::ImageLimits::default()).unwrap();
    assert_eq!((picture.width, picture.height), (256, 128));
    assert_eq!(store.remove(&id).await.unwrap(), Some(Removal::Stopping));
    assert_eq!(failure(&store, &id).await.code, FailureCode::Cancelled);
    assert_eq!((store.previews_made(&id), store.preview(&id).await.unwrap(), outputs(&store)), (None, None, 0));
    worker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_are_held_to_the_worker_s_limits() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let image = ltx2_types::ImageLimits { max_pixels: 0, ..ltx2_types::ImageLimits::default() };
    let (worker, _) = start(&store, Settings { image, ..Settings::default() }).await;
    let picture = InputFile::new(PNG.to_vec());
    let name = picture.name().to_string();
    let images = vec![ImageInput::first_frame(InputRef::Upload(name.clone()))];
    let request = ValidRequest { task: Task::ImageToVideo { images }, ..ask("a fox") };
    let id = store.enqueue(&request, vec![picture]).await.unwrap();
    let failure = failure(&store, &id).await;
    assert_eq!(failure.code, FailureCode::BadInput);
    let reason = "the image is 1x1, 1 pixels; the limit is 0 pixels";
    assert_eq!(failure.message, format!("cannot use image input 0 ({name}): {reason}"));
    worker.shutdown().await.unwrap();
}
