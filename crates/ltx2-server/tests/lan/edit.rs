//! Requests that work on a video or audio.

use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ltx2_types::{ExtendSide, ExtendTask, InputRef, RetakePart, Task, TimeWindow};
use serde_json::{Value, json};

use crate::support::{Answer, BOUNDARY, Bench, PNG, bench, form};

const VIDEO: &[u8] = b"a video";

fn data_url(bytes: &[u8]) -> String {
    format!("data:video/mp4;base64,{}", STANDARD.encode(bytes))
}

async fn post(bench: &Bench, task: &str, body: &Value) -> Answer {
    bench.post(&format!("/v1/video/{task}"), Some("application/json"), body.to_string()).await
}

#[tokio::test]
async fn a_video_of_a_form_is_extended() {
    let bench = bench().await;
    let fields: [(&str, &[u8]); 4] =
        [("prompt", b"on"), ("video!", VIDEO), ("duration", b"0.8"), ("direction", b"start")];
    let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
    let claim = bench.accepted(bench.post("/v1/video/extend", Some(&content_type), form(&fields)).await).await;
    let request = claim.request;
    // The size and rate are those of the video.
    assert_eq!((request.width, request.height, request.num_frames), (128, 64, 20));
    let Task::Extend(ExtendTask { video, side, context, .. }) = request.task else { panic!("not an extension") };
    assert_eq!((side, context), (ExtendSide::Start, None));
    let stored = std::fs::read(bench.data.path().join("inputs").join(video.to_string())).unwrap();
    assert_eq!(stored, VIDEO);
}

#[tokio::test]
async fn the_result_of_a_task_is_retaken() {
    let bench = bench().await;
    let id = bench.completed(b"an MP4").await;
    let body = json!({"prompt": "rain", "video": id, "start_time": 0.5, "end_time": 1, "part": "audio"});
    let task = bench.accepted(post(&bench, "retake", &body).await).await.request.task;
    let window = TimeWindow { start: 0.5, end: 1.0 };
    assert_eq!(task, Task::Retake { video: InputRef::Result(id), window, part: RetakePart::Audio });
}

#[tokio::test]
async fn audio_and_an_image_make_a_video() {
    let bench = bench().await;
    let image = format!("data:image/png;base64,{}", STANDARD.encode(PNG));
    let body = json!({"prompt": "a band", "audio": data_url(b"a song"), "image": image});
    let request = bench.accepted(post(&bench, "audio_to_video", &body).await).await.request;
    let Task::AudioToVideo { images, .. } = request.task else { panic!("not a video for audio") };
    assert_eq!((images.len(), request.num_frames, request.width), (1, 50, 768));
}

#[tokio::test]
async fn a_video_is_made_from_another_one() {
    let bench = bench().await;
    let body = json!({"prompt": "ink", "video": data_url(VIDEO), "strength": 0.4, "seed": 3});
    let request = bench.accepted(post(&bench, "video_to_video", &body).await).await.request;
    assert!(matches!(request.task, Task::VideoToVideo { strength: 0.4, .. }));
}

#[tokio::test]
async fn invalid_sources_and_fields_are_reported_with_their_rule() {
    let bench = bench().await;
    let video = data_url(VIDEO);
    for (task, body, field, message) in [
        ("extend", json!({}), "video", "Field required"),
        (
            "extend",
            json!({"video": "in.mp4"}),
            "video",
            "video must be a file of the form, a URL, a data URL or the id",
        ),
        ("extend", json!({"video": data_url(b"bad")}), "video", "video: the file is damaged"),
        ("extend", json!({"video": "0123456789abcdef0123456789abcdef"}), "video", "video: there is no completed task"),
        ("extend", json!({"video": video, "context": 3}), "context", "context is 3, but it must be above 0"),
        ("extend", json!({"video": video, "duration": 1, "num_frames": 9}), "duration", "both given"),
        ("extend", json!({"video": video, "image": "x"}), "image", "images do not condition this task"),
        ("extend", json!({"video": video, "strength": 0.5}), "strength", "strength is not a known field"),
        ("extend", json!({"video": video, "direction": "left"}), "direction", "direction is left, but"),
        ("retake", json!({"video": video, "start_time": 0}), "end_time", "Field required"),
        ("retake", json!({"video": video, "start_time": 1, "end_time": 9}), "start_time", "but it must start before"),
        ("video_to_video", json!({"video": video, "strength": 2}), "strength", "between 0 and 1"),
        ("video_to_video", json!({"video": video, "frame_rate": 24}), "frame_rate", "omit frame_rate"),
        ("audio_to_video", json!({"audio": video, "num_frames": 90}), "num_frames", "the audio lasts 50 frames"),
    ] {
        let mut body = body;
        body["prompt"] = json!("x");
        let answer = post(&bench, task, &body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        let problems = answer.json()["detail"].clone();
        let found = problems.as_array().unwrap().iter().find(|problem| problem["loc"][1] == field);
        let found = found.unwrap_or_else(|| panic!("{task} {body}: {problems}"));
        assert!(found["msg"].as_str().unwrap().contains(message), "{found}");
    }
    assert!(bench.store.claim("test", std::time::Duration::from_secs(1)).await.unwrap().is_none());
}
