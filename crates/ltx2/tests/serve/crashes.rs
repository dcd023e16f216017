//! The server process is killed again and again: every task completes, exactly once.

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::common::ffprobe;
use crate::server::{IMAGE, Server, files_in, form};

const TASKS: usize = 12;
const KILLS: u32 = 25;

/// Marsaglia's xorshift: test timing needs no better generator.
struct Random(u64);

impl Random {
    fn millis(&mut self, below: u64) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        Duration::from_millis(self.0 % below)
    }
}

/// Returns the time from a server's start to the end of its first task, milliseconds.
fn time_of_first_task() -> u64 {
    let server = Server::start();
    let start = Instant::now();
    server.wait(&submit(&server, 0));
    start.elapsed().as_millis() as u64
}

/// Submits a small task; every third one has an image.
fn submit(server: &Server, index: usize) -> String {
    let (status, answer) = if index.is_multiple_of(3) {
        let seed = index.to_string();
        let fields = [
            ("prompt", "A fox"),
            ("seed", &seed),
            ("width", "64"),
            ("height", "64"),
            ("num_frames", "1"),
            ("num_inference_steps", "1"),
            ("cfg_scale_video", "1"),
            ("cfg_scale_audio", "1"),
            ("stg_scale_video", "0"),
            ("modality_scale", "1"),
            ("pipeline", "one-stage"),
        ];
        server.post("/v1/video/async_i2v", "multipart/form-data; boundary=X", &form(&fields, IMAGE))
    } else {
        server.submit_smallest("A fox", index as u32)
    };
    assert_eq!(status, 200, "{answer}");
    answer["task_id"].as_str().unwrap().to_owned()
}

/// Returns the number of events of `kind` in the task's history.
fn count(server: &Server, task: &str, kind: &str) -> usize {
    let url = format!("{}/v1/video/tasks/{task}/events", server.base);
    let history = ureq::get(url).call().unwrap().body_mut().read_to_string().unwrap();
    history.lines().filter(|line| *line == format!("event: {kind}")).count()
}

#[test]
fn twelve_tasks_complete_once_despite_twenty_five_kills() {
    let folder = tempfile::tempdir().unwrap();
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64 | 1;
    println!("random seed {seed}");
    let mut random = Random(seed);
    // Half of the servers live long enough to complete a task, so that none is started too often on a slow machine.
    let max_uptime = 2 * time_of_first_task();
    let data = folder.path().to_owned();
    let mut server = Server::start_in(data.clone(), &[]);
    let tasks: Vec<String> = (0..TASKS).map(|index| submit(&server, index)).collect();
    for _ in 0..KILLS {
        std::thread::sleep(random.millis(max_uptime));
        server.process.kill().unwrap();
        server.process.wait().unwrap();
        server = Server::start_in(data.clone(), &[]);
    }
    let mut contents = BTreeSet::new();
    for task in &tasks {
        let done = server.wait(task);
        assert_eq!(done["status"], "completed", "{done}");
        assert_eq!(count(&server, task, "completed"), 1);
        let file = data.join("outputs").join(format!("ltx2_{task}.mp4"));
        assert_eq!(ffprobe(&file, "v", "codec_name,width,height,nb_read_frames"), "h264,64,64,1");
        contents.insert(std::fs::read(file).unwrap());
    }
    assert_eq!(contents.len(), TASKS, "each seed gives another video");
    let names = |task: &String| ["jpg", "mp4", "png"].map(|extension| format!("ltx2_{task}.{extension}"));
    let expected = tasks.iter().flat_map(names).collect();
    assert_eq!(server.outputs(), expected);
    assert!(files_in(&data.join("inputs")).is_empty());
}
