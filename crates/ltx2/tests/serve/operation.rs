//! Long operation: memory after unloading, engine crashes, idle connections, settings.

use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::{demo_model, ltx2};
use crate::server::Server;

/// Returns a value of a process's status, KiB.
pub fn memory(process: u32, line: &str) -> i64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let value = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':')).expect(line);
    value.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Returns the ids of the server's running child processes.
pub fn engines(server: &Server) -> Vec<u32> {
    let threads = std::fs::read_dir(format!("/proc/{}/task", server.process.id())).unwrap();
    let children = threads.map(|thread| std::fs::read_to_string(thread.unwrap().path().join("children")));
    children
        .flat_map(|list| list.unwrap_or_default().split_whitespace().map(|id| id.parse().unwrap()).collect::<Vec<_>>())
        .collect()
}

#[test]
fn unloading_frees_the_memory_twenty_times() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_in(folder.path().to_owned(), &["--idle-timeout", "0"]);
    server.path("/v1/internal/unload");
    let before = memory(server.process.id(), "VmRSS");
    for round in 1..=20 {
        let (_, answer) = server.submit_smallest("A fox", round);
        assert_eq!(server.wait(answer["task_id"].as_str().unwrap())["status"], "completed");
        assert_eq!(server.path("/health")["vram_loaded"], true);
        assert_eq!(engines(&server).len(), 1);
        assert_eq!(server.path("/v1/internal/unload"), json!({"status": "models unloaded"}));
        assert_eq!(server.path("/health")["vram_loaded"], false);
        assert!(engines(&server).is_empty());
        let after = memory(server.process.id(), "VmRSS");
        assert!(after <= before + before / 10, "round {round}: {after} KiB after {before} KiB");
    }
}

/// Waits until `task` denoises on an engine other than `previous`, and returns the engine's process.
fn wait_for_denoising(server: &Server, task: &str, previous: Option<u32>) -> u32 {
    let start = Instant::now();
    loop {
        let is_denoising = server.path(&format!("/v1/video/tasks/{task}"))["stage"] == "denoising";
        if let [engine] = engines(server)[..]
            && is_denoising
            && previous != Some(engine)
        {
            return engine;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "the task does not start");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_task_whose_engine_is_killed_three_times_fails_and_the_next_one_completes() {
    let server = Server::start();
    let long = json!({"prompt": "A fox", "width": 64, "height": 64, "num_frames": 9, "num_inference_steps": 200});
    let (_, killed) = server.post("/v1/video/async_t2v", "application/json", long.to_string().as_bytes());
    let killed = killed["task_id"].as_str().unwrap();
    let (_, next) = server.submit_smallest("A fox", 2);
    let mut engine = None;
    for _ in 0..3 {
        engine = Some(wait_for_denoising(&server, killed, engine));
        Command::new("kill").args(["-9", &engine.unwrap().to_string()]).status().unwrap();
    }
    let failed = server.wait(killed);
    assert_eq!(failed["status"], "failed", "{failed}");
    let reason = "given up after 3 engine crashes; the last one: the engine was killed";
    assert!(failed["error"].as_str().unwrap().starts_with(reason), "{failed}");
    assert_eq!(server.wait(next["task_id"].as_str().unwrap())["status"], "completed");
    assert_eq!(server.outputs().len(), 3);
}

#[test]
fn a_model_that_fails_to_load_fails_the_task_only() {
    let folder = tempfile::tempdir().unwrap();
    let (models, hidden, data) =
        (folder.path().join("models"), folder.path().join("hidden"), folder.path().join("data"));
    assert!(Command::new("cp").arg("-r").args([demo_model(), &models]).status().unwrap().success());
    let mut command = ltx2();
    command.args(["serve", "--port", "0", "--device", "cpu", "--models"]).arg(&models).arg("--data-dir").arg(&data);
    let server = Server::listening(command, data);
    server.path("/v1/internal/unload");
    std::fs::rename(&models, &hidden).unwrap();
    let (_, answer) = server.submit_smallest("A fox", 1);
    let failed = server.wait(answer["task_id"].as_str().unwrap());
    assert_eq!(failed["status"], "failed", "{failed}");
    assert!(failed["error"].as_str().unwrap().contains("is not a model set"), "{failed}");
    assert_eq!(server.path("/health")["vram_loaded"], false);
    std::fs::rename(&hidden, &models).unwrap();
    let (_, answer) = server.submit_smallest("A fox", 2);
    assert_eq!(server.wait(answer["task_id"].as_str().unwrap())["status"], "completed");
}

#[test]
fn a_lora_that_does_not_fit_is_refused_when_it_is_requested() {
    let folder = tempfile::tempdir().unwrap();
    let (models, data) = (folder.path().join("models"), folder.path().join("data"));
    assert!(Command::new("cp").arg("-r").args([demo_model(), &models]).status().unwrap().success());
    std::fs::create_dir(models.join("loras")).unwrap();
    let values = [0; 4];
    let matrix = |name: &str| {
        let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![1, 1], &values).unwrap();
        (format!("diffusion_model.patchify_proj.lora_{name}.weight"), view)
    };
    let file = safetensors::serialize([matrix("A"), matrix("B")], None).unwrap();
    std::fs::write(models.join("loras/other.safetensors"), file).unwrap();
    let mut command = ltx2();
    command.args(["serve", "--port", "0", "--device", "cpu", "--models"]).arg(&models).arg("--data-dir").arg(&data);
    let server = Server::listening(command, data);
    let body = br#"{"prompt": "A fox", "loras": [{"name": "other"}]}"#;
    let (status, answer) = server.post("/v1/video/async_t2v", "application/json", body);
    assert_eq!(status, 422, "{answer}");
    let text = answer.to_string();
    assert!(text.contains("its update of model.diffusion_model.patchify_proj.weight has shape [1, 1]"), "{text}");
    let list = server.path("/v1/loras");
    assert!(list["loras"].as_array().unwrap().iter().all(|name| name != "other"), "{list}");
    assert_eq!(list["unusable"][0]["file"], "loras/other.safetensors", "{list}");
}

#[test]
fn an_idle_model_is_unloaded_and_unloading_waits_for_the_running_task() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_in(folder.path().to_owned(), &["--idle-timeout", "1"]);
    let (_, answer) = server.submit_smallest("A fox", 1);
    // The request arrives while the task is queued or runs, and takes effect before or after it.
    server.path("/v1/internal/unload");
    assert_eq!(server.wait(answer["task_id"].as_str().unwrap())["status"], "completed");
    let start = Instant::now();
    while server.path("/health")["vram_loaded"] == true {
        assert!(start.elapsed() < Duration::from_secs(30), "the model stays loaded");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn ten_thousand_idle_connections_do_not_block_the_server() {
    let wanted = 10_000;
    let files = rlimit::increase_nofile_limit(wanted + 500).unwrap();
    // Some systems connect slowly: the first connection must still be open when the last one is made.
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_in(folder.path().to_owned(), &["--head-timeout", "300"]);
    let count = wanted.min(files.saturating_sub(500)) as usize;
    let address = server.base.strip_prefix("http://").unwrap();
    let open = || (0..count / 100).map(|_| TcpStream::connect(address).unwrap()).collect::<Vec<_>>();
    let idle: Vec<Vec<TcpStream>> = thread::scope(|scope| {
        let openers: Vec<_> = (0..100).map(|_| scope.spawn(open)).collect();
        openers.into_iter().map(|opener| opener.join().unwrap()).collect()
    });
    let count: usize = idle.iter().map(Vec::len).sum();
    println!("{count} connections are open");
    let start = Instant::now();
    assert_eq!(server.path("/health")["status"], "running");
    let (status, answer) = server.submit_smallest("A fox", 1);
    assert_eq!(status, 200, "{answer}");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?} with {count} idle connections", start.elapsed());
    drop(idle);
    assert_eq!(server.wait(answer["task_id"].as_str().unwrap())["status"], "completed");
}

#[test]
fn options_configure_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    std::fs::write(&keys, "first\n\n second \n").unwrap();
    let options = ["--api-key-file", keys.to_str().unwrap(), "--max-frames", "9", "--max-memory", "0.001"];
    let server = Server::start_in(folder.path().join("data"), &options);
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let post = |key: &str, body: Value| {
        let request = agent.post(format!("{}/v1/video/async_t2v", server.base)).header("x-api-key", key);
        let mut answer = request.send_json(body).unwrap();
        (answer.status().as_u16(), answer.body_mut().read_json::<Value>().unwrap()["detail"][0]["msg"].clone())
    };
    assert_eq!(post("wrong", json!({"prompt": "a fox"})).0, 401);
    let long = post("first", json!({"prompt": "a fox", "num_frames": 10}));
    assert_eq!(long, (422, json!("num_frames is 10, but it must be between 1 and 9")));
    let (status, message) = post("second", json!({"prompt": "a fox", "num_frames": 9, "width": 64, "height": 64}));
    let message = message.as_str().unwrap();
    assert!(status == 422 && message.starts_with("num_frames is 9, but 64x64 with 9 frames takes about"), "{message}");
    assert!(message.ends_with("and this server allows 0.0 GiB; take fewer frames or a smaller size"), "{message}");
}
