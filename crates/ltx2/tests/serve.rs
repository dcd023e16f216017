//! `ltx2 serve`: from a request over HTTP to an MP4 that plays.

mod common;

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use common::{demo_model, ffprobe, ltx2};
use serde_json::{Value, json};
use tempfile::TempDir;

struct Server {
    process: Child,
    base: String,
    data: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut process = ltx2()
            .args(["serve", "--port", "0", "--models"])
            .arg(demo_model())
            .arg("--data-dir")
            .arg(data.path())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
        let base = log
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                line.split_once("listening on ").map(|(_, rest)| rest.split(' ').next().unwrap().to_string())
            })
            .expect("the server says where it listens");
        std::thread::spawn(move || log.for_each(drop));
        Self { process, base, data }
    }

    fn post(&self, path: &str, content_type: &str, body: &[u8]) -> (u16, Value) {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let mut answer = agent.post(format!("{}{path}", self.base)).content_type(content_type).send(body).unwrap();
        (answer.status().as_u16(), answer.body_mut().read_json().unwrap())
    }

    fn get(&self, url: &str) -> Value {
        ureq::get(url).call().unwrap().body_mut().read_json().unwrap()
    }

    fn wait(&self, task: &str) -> Value {
        let start = Instant::now();
        loop {
            let body = self.get(&format!("{}/v1/video/tasks/{task}", self.base));
            if body["status"] != "processing" {
                return body;
            }
            assert!(start.elapsed() < Duration::from_secs(120), "{body}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits for the task and downloads what it made.
    fn download(&self, task: &str) -> std::path::PathBuf {
        let done = self.wait(task);
        assert_eq!(done["status"], "completed", "{done}");
        let url = done["url"].as_str().unwrap();
        assert_eq!(url, format!("{}/outputs/ltx2_{task}.mp4", self.base));
        let bytes = ureq::get(url).call().unwrap().body_mut().read_to_vec().unwrap();
        let file = self.data.path().join(format!("{task}.mp4"));
        std::fs::write(&file, bytes).unwrap();
        file
    }

    fn outputs(&self) -> usize {
        std::fs::read_dir(self.data.path().join("outputs")).unwrap().count()
    }
}

fn form(fields: &[(&str, &str)], image: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in fields {
        body.extend(format!("--X\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").bytes());
    }
    body.extend(b"--X\r\nContent-Disposition: form-data; name=\"image\"; filename=\"a.png\"\r\n\r\n");
    body.extend(image);
    body.extend(b"\r\n--X--\r\n");
    body
}

const SMALL: [(&str, &str); 5] =
    [("prompt", "A fox"), ("width", "64"), ("height", "128"), ("num_frames", "10"), ("num_inference_steps", "2")];

#[test]
fn text_and_picture_become_videos_and_mistakes_become_answers() {
    let server = Server::start();
    assert_eq!(
        server.get(&format!("{}/health", server.base)),
        json!({"status": "running", "device": "cpu", "vram_loaded": false})
    );

    let request = json!({"prompt": "A fox", "width": 128, "height": 64, "num_frames": 9, "num_inference_steps": 2, "pipeline": "one-stage"});
    let (status, text) = server.post("/v1/video/async_t2v", "application/json", request.to_string().as_bytes());
    assert_eq!((status, &text["status"]), (200, &json!("processing")));

    let picture = include_bytes!("../../ltx2-pipeline/tests/fixtures/image.png");
    let (status, image) = server.post("/v1/video/async_i2v", "multipart/form-data; boundary=X", &form(&SMALL, picture));
    assert_eq!(status, 200, "{image}");

    let wrong = json!({"prompt": "A fox", "width": 100, "num_frames": 0});
    let (status, answer) = server.post("/v1/video/async_t2v", "application/json", wrong.to_string().as_bytes());
    assert_eq!(status, 422);
    let messages: Vec<&str> =
        answer["detail"].as_array().unwrap().iter().map(|fault| fault["msg"].as_str().unwrap()).collect();
    assert_eq!(
        messages,
        ["width is 100, but it must be a multiple of 64", "num_frames is 0, but it must be between 1 and 1441"]
    );

    let wrong = json!({"prompt": "A fox", "pipeline": "three-stage"});
    let (status, answer) = server.post("/v1/video/async_t2v", "application/json", wrong.to_string().as_bytes());
    assert_eq!((status, &answer["detail"][0]["loc"]), (422, &json!(["body", "pipeline"])), "{answer}");

    let torn = form(&SMALL, &picture[..200]);
    let (status, answer) = server.post("/v1/video/async_i2v", "multipart/form-data; boundary=X", &torn);
    assert_eq!((status, &answer["detail"][0]["loc"]), (422, &json!(["body", "image"])), "{answer}");

    let file = server.download(text["task_id"].as_str().unwrap());
    let entries = "codec_name,width,height,pix_fmt,r_frame_rate,nb_read_frames";
    assert_eq!(ffprobe(&file, "v", entries), "h264,128,64,yuv420p,25/1,9");
    let task = |answer: &Value| server.wait(answer["task_id"].as_str().unwrap());
    assert_eq!((&task(&text)["pipeline"], &task(&image)["pipeline"]), (&json!("one-stage"), &json!("two-stage")));
    let file = server.download(image["task_id"].as_str().unwrap());
    assert_eq!(ffprobe(&file, "v", entries), "h264,64,128,yuv420p,25/1,10");
    assert_eq!(ffprobe(&file, "a", "codec_name,channels"), "aac,2");

    assert_eq!(server.get(&format!("{}/health", server.base))["vram_loaded"], true);
    assert_eq!(server.wait("0123456789abcdef0123456789abcdef")["status"], "failed");
    assert_eq!(server.outputs(), 2);
}
