//! Requests over HTTP and the MP4 files that they produce.

use serde_json::{Value, json};

use crate::common::ffprobe;
use crate::server::{IMAGE, SMALL, Server, form};

#[test]
fn requests_produce_videos_and_invalid_requests_are_refused() {
    let server = Server::start();
    assert_eq!(
        server.get(&format!("{}/health", server.base)),
        json!({"status": "running", "device": "cpu", "vram_loaded": false})
    );

    let request = json!({"prompt": "A fox", "width": 128, "height": 64, "num_frames": 9, "num_inference_steps": 2, "pipeline": "one-stage"});
    let (status, text) = server.post("/v1/video/async_t2v", "application/json", request.to_string().as_bytes());
    assert_eq!((status, &text["status"]), (200, &json!("processing")));

    let (status, image) = server.post("/v1/video/async_i2v", "multipart/form-data; boundary=X", &form(&SMALL, IMAGE));
    assert_eq!(status, 200, "{image}");

    let wrong = json!({"prompt": "A fox", "width": 100, "num_frames": 0});
    let (status, answer) = server.post("/v1/video/async_t2v", "application/json", wrong.to_string().as_bytes());
    assert_eq!(status, 422);
    let messages: Vec<&str> =
        answer["detail"].as_array().unwrap().iter().map(|problem| problem["msg"].as_str().unwrap()).collect();
    assert_eq!(
        messages,
        [
            "width is 100, but it must be a multiple of 64, such as 64 or 128",
            "num_frames is 0, but it must be between 1 and 1441"
        ]
    );

    let wrong = json!({"prompt": "A fox", "pipeline": "three-stage"});
    let (status, answer) = server.post("/v1/video/async_t2v", "application/json", wrong.to_string().as_bytes());
    assert_eq!((status, &answer["detail"][0]["loc"]), (422, &json!(["body", "pipeline"])), "{answer}");

    let torn = form(&SMALL, &IMAGE[..200]);
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

    // The first result, with eight further frames.
    let extension = json!({"prompt": "A fox", "video": text["task_id"], "num_frames": 8, "num_inference_steps": 2});
    let (status, extended) = server.post("/v1/video/extend", "application/json", extension.to_string().as_bytes());
    assert_eq!(status, 200, "{extended}");
    let file = server.download(extended["task_id"].as_str().unwrap());
    assert_eq!(ffprobe(&file, "v", entries), "h264,128,64,yuv420p,25/1,17");
    let late = json!({"prompt": "A fox", "video": text["task_id"], "start_time": 0.2, "end_time": 0.5});
    let (status, answer) = server.post("/v1/video/retake", "application/json", late.to_string().as_bytes());
    assert_eq!((status, &answer["detail"][0]["loc"]), (422, &json!(["body", "start_time"])), "{answer}");

    assert_eq!(server.get(&format!("{}/health", server.base))["vram_loaded"], true);
    assert_eq!(server.wait("0123456789abcdef0123456789abcdef")["status"], "failed");
    // Each video with its thumbnail and last frame.
    assert_eq!(server.outputs().len(), 9);
}
