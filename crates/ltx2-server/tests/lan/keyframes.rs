//! Keyframes, LoRAs and samplers.

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
async fn keyframes_condition_the_frames_at_their_times() {
    let bench = bench().await;
    let keyframes = json!([
        {"image": data_url(), "frame": 0},
        {"image": data_url(), "time": 2.5, "strength": 0.8},
    ]);
    let body = json!({"prompt": "a fox", "frame_rate": 24, "keyframes": keyframes}).to_string();
    let Task::Keyframes { images } = bench.accepted(bench.t2v(&body).await).await.request.task else {
        panic!("not a task of keyframes")
    };
    let positions: Vec<_> = images.iter().map(|image| (image.frame, image.strength, image.crf)).collect();
    assert_eq!(positions, [(0, 1.0, 33), (60, 0.8, 33)]);
    let stored = std::fs::read(bench.data.path().join("inputs").join(images[1].source.to_string())).unwrap();
    assert_eq!(stored, PNG);
}

#[tokio::test]
async fn keyframes_name_files_of_the_form_beside_a_first_frame() {
    let bench = bench().await;
    let keyframes = br#"[{"image": "end", "time": 4}]"#;
    let fields: [(&str, &[u8]); 5] =
        [("prompt", b"a fox"), ("image", PNG), ("image_strength", b"0.5"), ("end", PNG), ("keyframes", keyframes)];
    let Task::ImageToVideo { images } = bench.accepted(bench.i2v(&fields).await).await.request.task else {
        panic!("not an image-to-video")
    };
    let positions: Vec<_> = images.iter().map(|image| (image.frame, image.strength)).collect();
    assert_eq!(positions, [(0, 0.5), (100, 1.0)]);
}

#[tokio::test]
async fn loras_and_samplers_are_given_by_name() {
    let bench = bench().await;
    let body = r#"{"prompt":"a fox","sampler":"gradient-estimation","loras":[{"name":"ink"},{"name":"rain","strength":-0.5}]}"#;
    let request = bench.accepted(bench.t2v(body).await).await.request;
    let lora = |name: &str, strength| LoraInput { source: LoraSource::Name(name.into()), strength };
    assert_eq!(request.loras, [lora("ink", 1.0), lora("rain", -0.5)]);
    assert_eq!(request.sampler, Some(Sampler::GradientEstimation));
}

#[tokio::test]
async fn invalid_keyframes_and_loras_are_reported_with_their_rule() {
    let bench = bench().await;
    let url = data_url();
    for (field, value, reason) in [
        ("keyframes", json!("not a list"), "it must be a list"),
        ("keyframes", json!([1]), "in element 0, it must be an object"),
        ("keyframes", json!([{"image": url}]), "in element 0, there must be either a time, in seconds, or a frame"),
        ("keyframes", json!([{"image": url, "time": 1, "frame": 1}]), "either a time, in seconds, or a frame"),
        ("keyframes", json!([{"image": url, "frame": 1.5}]), "frame must be a whole number"),
        (
            "keyframes",
            json!([{"image": url, "time": -1}]),
            "in element 0, time -1 s is frame -25, but the video has frames 0 to 120 (times 0 to 4.80 s)",
        ),
        ("keyframes", json!([{"image": url, "time": "soon"}]), "time must be a number"),
        (
            "keyframes",
            json!([{"image": url, "time": 1000}]),
            "in element 0, time 1000 s is frame 25000, but the video has frames 0 to 120",
        ),
        (
            "keyframes",
            json!([{"image": "nowhere", "time": 1}]),
            "image must be a file of the form, a URL, a data URL or an image in base64",
        ),
        ("keyframes", json!([{"image": "data:image/png,abc", "time": 1}]), "not a PNG, JPEG or WebP"),
        ("keyframes", json!([{"image": "data:image/png;base64,???", "time": 1}]), "must be valid base64"),
        ("keyframes", json!([{"image": "data:image/png;base64,AAAA", "time": 1}]), "not a PNG, JPEG or WebP"),
        ("keyframes", json!(vec![json!({"image": url, "time": 1}); 33]), "there may be at most 32"),
        ("keyframes", json!([{"image": url, "tme": 1}]), "in element 0, tme is not a known field; did you mean time?"),
        ("keyframes", json!([{"time": 1}]), "in element 0, image is missing"),
        ("loras", json!([{"strength": 1}]), "in element 0, name is missing"),
        (
            "loras",
            json!([{"name": "ink", "weigth": 1}]),
            "in element 0, weigth is not a known field; did you mean weight?",
        ),
        ("loras", json!([{"name": "ink", "weight": 1, "strength": 1}]), "strength is given more than once"),
        ("loras", json!([{"name": "ink", "strength": "much"}]), "in element 0, strength must be a number"),
        ("loras", json!([{"name": "ink", "strength": 9}]), "it must be between -2 and 2"),
        ("sampler", json!("magic"), "sampler is magic, but it must be one of euler, gradient-estimation, res-2s"),
    ] {
        let answer = bench.t2v(&json!({"prompt": "a fox", field: value}).to_string()).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{field} {value}");
        let problems = answer.problems();
        let is_reported = problems.iter().any(|(at, _, text)| at.contains(field) && text.contains(reason));
        assert!(is_reported, "{reason}: {problems:?}");
    }
    assert!(std::fs::read_dir(bench.data.path().join("inputs")).unwrap().next().is_none(), "no input is stored");
}

#[tokio::test]
async fn a_lora_s_weight_and_scale_are_its_strength() {
    let bench = bench().await;
    for name in ["strength", "weight", "scale"] {
        let body = json!({"prompt": "x", "loras": [{"name": "ink", name: 0.5}]}).to_string();
        let claim = bench.accepted(bench.t2v(&body).await).await;
        assert_eq!(claim.request.loras[0].strength, 0.5, "{name}");
    }
}

#[tokio::test]
async fn every_invalid_element_is_reported() {
    let bench = bench().await;
    let keyframes = json!([
        {"image": data_url(), "time": "soon"},
        {"image": data_url(), "time": 1},
        {"image": data_url(), "frame": 1.5},
    ]);
    let body = json!({"prompt": "a fox", "keyframes": keyframes, "loras": [{}, 7]}).to_string();
    let problems = bench.t2v(&body).await.problems();
    let rules: Vec<_> =
        problems.iter().map(|(at, kind, text)| (&at[..], &kind[..], text.rsplit("but ").next())).collect();
    assert_eq!(
        rules,
        [
            ("keyframes", "keyframe_invalid", Some("in element 0, time must be a number")),
            ("keyframes", "keyframe_invalid", Some("in element 2, frame must be a whole number of at most 64 bits")),
            ("loras", "lora_invalid", Some("in element 0, name is missing")),
            ("loras", "lora_invalid", Some("in element 1, it must be an object")),
        ]
    );
}

#[tokio::test]
async fn files_that_no_keyframe_refers_to_are_refused() {
    let bench = bench().await;
    let fields: [(&str, &[u8]); 3] = [("prompt", b"a fox"), ("image", PNG), ("end", PNG)];
    let problems = bench.i2v(&fields).await.problems();
    let message = "end is a file that no field refers to";
    assert_eq!(problems, [("end".into(), "extra_forbidden".into(), message.into())]);
}
