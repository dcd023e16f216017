//! A server process with a data folder, and a client for it.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::{demo_model, ltx2};

pub const IMAGE: &[u8] = include_bytes!("../../../ltx2-pipeline/tests/fixtures/image.png");

pub const SMALL: [(&str, &str); 5] =
    [("prompt", "A fox"), ("width", "64"), ("height", "128"), ("num_frames", "10"), ("num_inference_steps", "2")];

pub struct Server {
    pub process: Child,
    pub base: String,
    pub data: PathBuf,
    /// Removed when the server is dropped.
    folder: Option<TempDir>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    /// Starts a server in a temporary folder.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut server = Self::start_in(folder.path().to_owned(), &[]);
        server.folder = Some(folder);
        server
    }

    /// Starts a server in `data` with `options`; returns when it listens.
    pub fn start_in(data: PathBuf, options: &[&str]) -> Self {
        let mut command = ltx2();
        command.args(Self::arguments(&data)).args(options);
        Self::listening(command, data)
    }

    /// Returns the arguments of a server in `data`.
    pub fn arguments(data: &Path) -> Vec<String> {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let fixed = ["serve", "--port", "0", "--device", "cpu", "--models"].map(str::to_owned);
        fixed.into_iter().chain([text(demo_model()), "--data-dir".into(), text(data)]).collect()
    }

    /// Starts `command`; returns when the server listens.
    pub fn listening(mut command: Command, data: PathBuf) -> Self {
        let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = |line: String| Some(line.split_once("listening on ")?.1.split(' ').next()?.to_owned());
        let base = log.by_ref().map_while(Result::ok).find_map(address).expect("the server logs its address");
        std::thread::spawn(move || log.for_each(drop));
        Self { process, base, data, folder: None }
    }

    pub fn post(&self, path: &str, content_type: &str, body: &[u8]) -> (u16, Value) {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let mut answer = agent.post(format!("{}{path}", self.base)).content_type(content_type).send(body).unwrap();
        (answer.status().as_u16(), answer.body_mut().read_json().unwrap())
    }

    pub fn get(&self, url: &str) -> Value {
        ureq::get(url).call().unwrap().body_mut().read_json().unwrap()
    }

    pub fn path(&self, path: &str) -> Value {
        self.get(&format!("{}{path}", self.base))
    }

    /// Submits the smallest valid request.
    pub fn submit_smallest(&self, prompt: &str, seed: u32) -> (u16, Value) {
        let body = json!({
            "prompt": prompt, "seed": seed, "width": 64, "height": 64, "num_frames": 1, "num_inference_steps": 1,
            "cfg_scale_video": 1, "cfg_scale_audio": 1, "stg_scale_video": 0, "modality_scale": 1,
            "pipeline": "one-stage"
        });
        self.post("/v1/video/async_t2v", "application/json", body.to_string().as_bytes())
    }

    pub fn wait(&self, task: &str) -> Value {
        let start = Instant::now();
        loop {
            let body = self.path(&format!("/v1/video/tasks/{task}"));
            if body["status"] != "processing" {
                return body;
            }
            assert!(start.elapsed() < Duration::from_secs(120), "{body}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits for the task and downloads its video.
    pub fn download(&self, task: &str) -> PathBuf {
        let done = self.wait(task);
        assert_eq!(done["status"], "completed", "{done}");
        let url = done["url"].as_str().unwrap();
        assert_eq!(url, format!("{}/outputs/ltx2_{task}.mp4", self.base));
        let bytes = ureq::get(url).call().unwrap().body_mut().read_to_vec().unwrap();
        let file = self.data.join(format!("{task}.mp4"));
        std::fs::write(&file, bytes).unwrap();
        file
    }

    pub fn outputs(&self) -> BTreeSet<String> {
        files_in(&self.data.join("outputs"))
    }
}

pub fn files_in(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

pub fn form(fields: &[(&str, &str)], image: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in fields {
        body.extend(format!("--X\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").bytes());
    }
    body.extend(b"--X\r\nContent-Disposition: form-data; name=\"image\"; filename=\"a.png\"\r\n\r\n");
    body.extend(image);
    body.extend(b"\r\n--X--\r\n");
    body
}
