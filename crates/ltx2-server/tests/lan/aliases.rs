//! Unknown fields and aliases.

use ltx2_types::{FrameRate, Task};
use serde_json::{Value, json};

use crate::support::{PNG, bench};

#[tokio::test]
async fn unknown_fields_are_refused_with_the_nearest_known_one() {
    let bench = bench().await;
    let body = json!({"prompt": "a fox", "widht": 768, "colour": "red", "height": 100}).to_string();
    let answer = bench.t2v(&body).await;
    let problem = |kind: &str, field: &str, msg: &str, input: Value| {
        let loc = ["body", field];
        json!({"type": kind, "loc": loc, "msg": msg, "input": input})
    };
    let expected = [
        problem("extra_forbidden", "colour", "colour is not a known field", "red".into()),
        problem("extra_forbidden", "widht", "widht is not a known field; did you mean width?", 768.into()),
        problem(
            "multiple_of",
            "height",
            "height is 100, but it must be a multiple of 64, such as 64 or 128",
            100.into(),
        ),
    ];
    assert_eq!((answer.status.as_u16(), answer.json()), (422, json!({"detail": expected})));
    let form: [(&str, &[u8]); 3] = [("prompt", b"a fox"), ("image", PNG), ("num_frame", b"9")];
    let message = "num_frame is not a known field; did you mean num_frames?";
    assert_eq!(bench.i2v(&form).await.problems()[0].2, message);
}

#[tokio::test]
async fn many_unknown_fields_get_a_short_answer() {
    let bench = bench().await;
    let fields: Vec<String> = (0..5000).map(|i| format!("\"x{i}\":1")).collect();
    let answer = bench.t2v(&format!("{{{}}}", fields.join(","))).await;
    assert_eq!(answer.problems().len(), 100);
}

#[tokio::test]
async fn aliases_set_the_fields_they_stand_for() {
    let bench = bench().await;
    let body = json!({"prompt": "a fox", "fps": 30, "steps": "8", "frames": 25, "guidance_scale": 4.5}).to_string();
    let request = bench.accepted(bench.t2v(&body).await).await.request;
    assert_eq!((request.frame_rate, request.num_inference_steps), (FrameRate::new(30.0).unwrap(), 8));
    assert_eq!((request.num_frames, request.video_guidance.cfg, request.audio_guidance.cfg), (25, 4.5, 4.5));
    let url = "data:image/png;base64,iVBORw0KGgpyZXN0";
    let body = json!({"prompt": "a fox", "num_steps": 9, "fps": null, "image_url": url}).to_string();
    let answer = bench.post("/v1/video/async_i2v", Some("application/json"), body).await;
    let request = bench.accepted(answer).await.request;
    assert_eq!(request.num_inference_steps, 9);
    assert!(matches!(request.task, Task::ImageToVideo { .. }));
}

#[tokio::test]
async fn errors_name_the_alias_that_was_sent() {
    let bench = bench().await;
    let body = json!({"prompt": "a fox", "fps": 1000, "steps": "many", "guidance_scale": -1}).to_string();
    let problems = bench.t2v(&body).await.problems();
    let expected = [
        ("steps", "int_parsing", "steps is \"many\", but it must be a whole number of at most 64 bits"),
        ("fps", "out_of_range", "fps is 1000, but it must be between 1 and 120"),
        ("guidance_scale", "out_of_range", "guidance_scale is -1, but it must be between 0 and 100"),
    ];
    assert_eq!(problems, expected.map(|(field, kind, message)| (field.into(), kind.into(), message.into())));
}

#[tokio::test]
async fn a_field_and_its_alias_exclude_each_other() {
    let bench = bench().await;
    for (body, field, other) in [
        (json!({"fps": 24, "frame_rate": 24}), "fps", "frame_rate"),
        (json!({"steps": 8, "num_steps": 8}), "num_steps", "steps"),
        (json!({"guidance_scale": 3, "cfg_scale_audio": 7}), "guidance_scale", "cfg_scale_audio"),
    ] {
        let mut body = body;
        body["prompt"] = "a fox".into();
        let message = format!("{field} and {other} are both given, but they set the same; send one of them");
        let problems = bench.t2v(&body.to_string()).await.problems();
        assert_eq!(problems, [(field.to_owned(), "duplicate_field".into(), message)]);
    }
    let form: [(&str, &[u8]); 3] = [("prompt", b"a fox"), ("image", PNG), ("image_url", b"http://example.com/x.png")];
    assert_eq!(bench.i2v(&form).await.problems()[0].1, "duplicate_field");
}
