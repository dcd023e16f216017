//! Keyframes, adapters and samplers: what is understood, and what is refused.

use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ltx2_types::{LoraInput, LoraSource, Sampler, Task};
use serde_json::json;

use crate::support::{PNG, bench};

fn data_url() -> String {
    format!("data:image/png;base64,{}", STANDARD.encode(PNG))
}

#[tokio::test]
async fn keyframes_stand_at_their_times() {
    let bench = bench().await;
    let keyframes = json!([
        {"image": data_url(), "frame": 0},
        {"image": data_url(), "time": 2.5, "strength": 0.8},
    ]);
    let body = json!({"prompt": "a fox", "frame_rate": 24, "keyframes": keyframes}).to_string();
    let Task::Keyframes { images } = bench.accepted(bench.t2v(&body).await).await.request.task else {
        panic!("not a task of keyframes")
    };
    let places: Vec<_> = images.iter().map(|image| (image.frame, image.strength, image.crf)).collect();
    assert_eq!(places, [(0, 1.0, 33), (60, 0.8, 33)]);
    let stored = std::fs::read(bench.data.path().join("inputs").join(images[1].source.to_string())).unwrap();
    assert_eq!(stored, PNG);
}

#[tokio::test]
async fn a_form_names_its_files_and_may_have_a_first_frame_too() {
    let bench = bench().await;
    let keyframes = br#"[{"image": "end", "time": 4}]"#;
    let fields: [(&str, &[u8]); 5] =
        [("prompt", b"a fox"), ("image", PNG), ("image_strength", b"0.5"), ("end", PNG), ("keyframes", keyframes)];
    let Task::ImageToVideo { images } = bench.accepted(bench.i2v(&fields).await).await.request.task else {
        panic!("not an image-to-video")
    };
    let places: Vec<_> = images.iter().map(|image| (image.frame, image.strength)).collect();
    assert_eq!(places, [(0, 0.5), (100, 1.0)]);
}

#[tokio::test]
async fn adapters_and_samplers_have_names() {
    let bench = bench().await;
    let body = r#"{"prompt":"a fox","sampler":"gradient-estimation","loras":[{"name":"ink"},{"name":"rain","strength":-0.5}]}"#;
    let request = bench.accepted(bench.t2v(body).await).await.request;
    let lora = |name: &str, strength| LoraInput { source: LoraSource::Name(name.into()), strength };
    assert_eq!(request.loras, [lora("ink", 1.0), lora("rain", -0.5)]);
    assert_eq!(request.sampler, Some(Sampler::GradientEstimation));
}

#[tokio::test]
async fn what_is_wrong_with_them_is_named() {
    let bench = bench().await;
    let url = data_url();
    for (field, value, reason) in [
        ("keyframes", json!("not a list"), "list of objects"),
        ("keyframes", json!([1]), "list of objects"),
        ("keyframes", json!([{"image": url}]), "in number 0 there must be either a time, in seconds, or a frame"),
        ("keyframes", json!([{"image": url, "time": 1, "frame": 1}]), "either a time, in seconds, or a frame"),
        ("keyframes", json!([{"image": url, "frame": 1.5}]), "frame must be a whole number"),
        ("keyframes", json!([{"image": url, "time": -1}]), "must not be negative"),
        ("keyframes", json!([{"image": url, "time": "soon"}]), "time must be a number"),
        ("keyframes", json!([{"image": url, "time": 1000}]), "it must be below the number of frames, 121"),
        (
            "keyframes",
            json!([{"image": "nowhere", "time": 1}]),
            "image must be a file of the form, a URL or a data URL",
        ),
        ("keyframes", json!([{"image": "data:image/png,abc", "time": 1}]), "must be in base64"),
        ("keyframes", json!([{"image": "data:image/png;base64,???", "time": 1}]), "must be valid base64"),
        ("keyframes", json!([{"image": "data:image/png;base64,AAAA", "time": 1}]), "not a PNG, JPEG or WebP"),
        ("keyframes", json!(vec![json!({"image": url, "time": 1}); 33]), "there may be at most 32"),
        ("loras", json!([{"strength": 1}]), "each must have a name"),
        ("loras", json!([{"name": "ink", "strength": "much"}]), "each must have a name"),
        ("loras", json!([{"name": "ink", "strength": 9}]), "it must be between -2 and 2"),
        ("sampler", json!("magic"), "sampler is magic, but it must be one of euler, gradient-estimation, res-2s"),
    ] {
        let answer = bench.t2v(&json!({"prompt": "a fox", field: value}).to_string()).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{field} {value}");
        let faults = answer.faults();
        assert!(faults.iter().any(|(at, _, text)| at.contains(field) && text.contains(reason)), "{reason}: {faults:?}");
    }
    assert!(std::fs::read_dir(bench.data.path().join("inputs")).unwrap().next().is_none(), "nothing is kept");
}
