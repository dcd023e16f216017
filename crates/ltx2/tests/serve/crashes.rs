//! The process is killed again and again; no task is lost, and none is run once more than needed.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::common::ffprobe;
use crate::server::{PICTURE, Server, files_in, form};

const TASKS: usize = 30;
const KILLS: u32 = 15;

/// Marsaglia's xorshift: nothing here needs better chance.
struct Chance(u64);

impl Chance {
    fn millis(&mut self, below: u64) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        Duration::from_millis(self.0 % below)
    }
}

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
        server.post("/v1/video/async_i2v", "multipart/form-data; boundary=X", &form(&fields, PICTURE))
    } else {
        server.submit_smallest("A fox", index as u32)
    };
    assert_eq!(status, 200, "{answer}");
    answer["task_id"].as_str().unwrap().to_owned()
}

fn completed(data: &Path) -> usize {
    files_in(&data.join("outputs")).iter().filter(|name| name.starts_with("ltx2_") && name.ends_with(".mp4")).count()
}

/// Lets the server make at least one more video, so that no task is given up for being killed too often.
fn wait_for_one_more(server: &Server) {
    let (before, start) = (completed(&server.data), Instant::now());
    while completed(&server.data) == before && before < TASKS {
        assert!(start.elapsed() < Duration::from_secs(60), "no task gets done");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// How often each kind of event is in the task's history.
fn count(server: &Server, task: &str, kind: &str) -> usize {
    let url = format!("{}/v1/video/tasks/{task}/events", server.base);
    let history = ureq::get(url).call().unwrap().body_mut().read_to_string().unwrap();
    history.lines().filter(|line| *line == format!("event: {kind}")).count()
}

#[test]
fn thirty_tasks_outlive_fifteen_kills() {
    let folder = tempfile::tempdir().unwrap();
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64 | 1;
    println!("chance begins with {seed}");
    let mut chance = Chance(seed);
    let data = folder.path().to_owned();
    let mut server = Server::start_in(data.clone(), &[]);
    let tasks: Vec<String> = (0..TASKS).map(|index| submit(&server, index)).collect();
    for kill in 0..KILLS {
        // Every other time at any moment, the first of them included.
        if kill % 2 == 0 {
            wait_for_one_more(&server);
        }
        std::thread::sleep(chance.millis(400));
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
    assert_eq!(contents.len(), TASKS, "every seed makes another video");
    let expected = tasks.iter().flat_map(|task| [format!("ltx2_{task}.jpg"), format!("ltx2_{task}.mp4")]).collect();
    assert_eq!(server.outputs(), expected);
    assert!(files_in(&data.join("inputs")).is_empty());
}
