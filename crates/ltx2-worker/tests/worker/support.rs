//! Helpers of the worker's tests: a generator that draws colour bars, on engines in threads.

use std::f32::consts::TAU;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ltx2_engine::{EngineClient, host_engine};
use ltx2_store::{FileName, Store, TaskId, TaskStatus, Upload};
use ltx2_types::{
    AudioClip, Device, Failure, FailureCode, Generator, ImageInput, Job, Limits, Output, OutputRole, Phase, Pipeline,
    Progress, Report, RgbImage, Task, ValidRequest, VideoInfo, Watch,
};
use ltx2_worker::{Launch, Worker, WorkerHandle, WorkerSettings};

/// An image of one red pixel.
pub const PNG: &[u8] =
    b"\x89\x50\x4e\x47\x0d\x0a\x1a\x0a\x00\x00\x00\x0d\x49\x48\x44\x52\x00\x00\x00\x01\x00\x00\x00\x01\
    \x08\x02\x00\x00\x00\x90\x77\x53\xde\x00\x00\x00\x0c\x49\x44\x41\x54\x78\x9c\x63\xf8\xcf\xc0\x00\
    \x00\x03\x01\x01\x00\xc9\xfe\x92\xef\x00\x00\x00\x00\x49\x45\x4e\x44\xae\x42\x60\x82";

/// Generator of colour bars. The prompts `fail` and `panic` do so, `wait` waits for a cancellation, and `watched` makes
/// previews until it is cancelled.
pub struct Bars {
    pub loaded: bool,
    /// Counts the engines that have ended.
    pub ended: Arc<AtomicU32>,
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
        // Nearly red, after a lossy codec.
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

pub fn request(prompt: &str) -> ValidRequest {
    ValidRequest { prompt: prompt.into(), width: 64, height: 64, num_frames: 9, ..Limits::server().defaults }
}

/// A request with an image for the first frame.
pub fn image_request(image: &Upload) -> ValidRequest {
    let images = vec![ImageInput::first_frame(image.source())];
    ValidRequest { task: Task::ImageToVideo { images }, ..request("move") }
}

/// Starts a worker with engines on threads. Returns the number of engines that have ended.
pub async fn start(store: &Store, settings: WorkerSettings) -> (WorkerHandle, Arc<AtomicU32>) {
    let ended = Arc::new(AtomicU32::new(0));
    let bars = {
        let ended = ended.clone();
        move || Ok(Bars { loaded: false, ended: ended.clone() })
    };
    (Worker::spawn(store.clone(), on_threads(bars), settings).await.unwrap(), ended)
}

pub fn on_threads(open: impl Fn() -> Result<Bars, Failure> + Clone + Send + Sync + 'static) -> Launch {
    Box::new(move || {
        let open = open.clone();
        Ok(EngineClient::start_thread(move |stream| drop(host_engine(stream, open, || ()))).unwrap())
    })
}

pub async fn until_ended(ended: &AtomicU32, count: u32) {
    let reached = async {
        while ended.load(Ordering::Relaxed) < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reached).await.expect("in time");
    assert_eq!(ended.load(Ordering::Relaxed), count);
}

/// Waits until the status of `id` is as `is_reached` expects.
pub async fn until(store: &Store, id: &TaskId, is_reached: impl Fn(&TaskStatus) -> bool) -> TaskStatus {
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

pub async fn end(store: &Store, id: &TaskId) -> TaskStatus {
    until(store, id, |status| matches!(status, TaskStatus::Completed(_) | TaskStatus::Failed(_))).await
}

pub async fn video(store: &Store, id: &TaskId) -> Vec<u8> {
    let TaskStatus::Completed(completion) = end(store, id).await else { panic!("not completed") };
    let video = completion.output(OutputRole::Video).unwrap();
    assert_eq!(video.key, FileName::of_output(id, "mp4"));
    let bytes = std::fs::read(store.output_path(&video.key)).unwrap();
    assert_eq!(video.bytes, bytes.len() as u64);
    bytes
}

pub async fn failure(store: &Store, id: &TaskId) -> Failure {
    let TaskStatus::Failed(failure) = end(store, id).await else { panic!("not failed") };
    failure
}

pub fn outputs(store: &Store) -> usize {
    std::fs::read_dir(store.outputs_dir()).unwrap().count()
}

pub async fn open(data: &Path) -> Store {
    Store::open(data).await.unwrap()
}
