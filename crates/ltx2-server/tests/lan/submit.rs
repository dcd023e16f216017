//! Fields of a request: meaning, defaults and errors.

use std::io::Write;

use axum::http::{Request, StatusCode};
use flate2::Compression;
use flate2::write::GzEncoder;
use ltx2_types::{
    Container, FrameRate, Guidance, ImageInput, Limits, OutputSpec, Pipeline, Quality, Task, ValidRequest, VideoCodec,
};
use serde_json::json;

use crate::support::{Bench, MAX_BODY, PNG, bench, form};

/// Returns the request that `prompt` alone makes, with the pipeline that the planner of [`bench`] selects.
fn defaults(prompt: &str) -> ValidRequest {
    let pipeline = Some(Pipeline::TwoStage);
    ValidRequest { prompt: prompt.into(), pipeline, ..Limits::server().defaults }
}

fn is_empty(bench: &Bench) -> bool {
    std::fs::read_dir(bench.data.path().join("inputs")).unwrap().next().is_none()
}

#[tokio::test]
async fn the_response_equals_the_documented_one() {
    let bench = bench().await;
    let answer = bench.t2v(r#"{"prompt":"a fox"}"#).await;
    let id = answer.json()["task_id"].as_str().unwrap().to_owned();
    let message = "Task queued. Poll GET /v1/video/tasks/{task_id}";
    assert_eq!(answer.json(), json!({"task_id": id, "status": "processing", "message": message}));
    assert_eq!((answer.status, id.len()), (StatusCode::OK, 32));
    assert_eq!(answer.headers["content-type"], "application/json");
}

#[tokio::test]
async fn the_documented_example_is_accepted() {
    let bench = bench().await;
    let body = r#"{"prompt": "A cinematic wide shot of a sunset over the ocean...", "height": 512, "width": 768,
        "num_frames": 121, "frame_rate": 24.0, "num_inference_steps": 40, "seed": 42}"#;
    let request = bench.accepted(bench.t2v(body).await).await.request;
    let expected = defaults("A cinematic wide shot of a sunset over the ocean...");
    assert_eq!(request, ValidRequest { frame_rate: FrameRate::new(24.0).unwrap(), ..expected });
}

#[tokio::test]
async fn omitted_and_null_fields_have_defaults() {
    let bench = bench().await;
    let null = r#"{"prompt":"a fox","height":null,"seed":null,"frame_rate":null,"negative_prompt":null,
        "enhance_prompt":null,"cfg_scale_audio":null}"#;
    for body in [r#"{"prompt":"a fox"}"#, null] {
        assert_eq!(bench.accepted(bench.t2v(body).await).await.request, defaults("a fox"));
    }
}

#[tokio::test]
async fn fields_are_equal_as_numbers_text_and_form() {
    let bench = bench().await;
    let numbers = r#"{"prompt":"a fox","negative_prompt":"blurry","enhance_prompt":false,"height":256,"width":320,
        "num_frames":25,"frame_rate":30,"num_inference_steps":8,"seed":7,"cfg_scale_video":4,"stg_scale_video":0.5,
        "cfg_scale_audio":6.5,"modality_scale":2}"#;
    let texts = r#"{"prompt":"a fox","negative_prompt":"blurry","enhance_prompt":"false","height":"256","width":320.0,
        "num_frames":" 25 ","frame_rate":"30.0","num_inference_steps":"8.0","seed":"7","cfg_scale_video":"4",
        "stg_scale_video":"0.5","cfg_scale_audio":"6.5","modality_scale":"2e0"}"#;
    let expected = ValidRequest {
        negative_prompt: "blurry".into(),
        height: 256,
        width: 320,
        num_frames: 25,
        frame_rate: FrameRate::new(30.0).unwrap(),
        num_inference_steps: 8,
        seed: 7,
        video_guidance: Guidance { cfg: 4.0, stg: 0.5, modality: 2.0, rescale: 0.7 },
        audio_guidance: Guidance { cfg: 6.5, stg: 0.5, modality: 2.0, rescale: 0.7 },
        ..defaults("a fox")
    };
    for body in [numbers, texts] {
        assert_eq!(bench.accepted(bench.t2v(body).await).await.request, expected);
    }
    let fields: &[(&str, &[u8])] = &[
        ("prompt", b"a fox"),
        ("negative_prompt", b"blurry"),
        ("enhance_prompt", b"False"),
        ("height", b"256"),
        ("width", b"320"),
        ("num_frames", b"25"),
        ("frame_rate", b"30"),
        ("num_inference_steps", b"8"),
        ("seed", b"7"),
        ("cfg_scale_video", b"4"),
        ("stg_scale_video", b"0.5"),
        ("cfg_scale_audio", b"6.5"),
        ("modality_scale", b"2"),
        ("image", PNG),
    ];
    let request = bench.accepted(bench.i2v(fields).await).await.request;
    assert_eq!(ValidRequest { task: Task::TextToVideo, ..request }, expected);
}

#[tokio::test]
async fn prompts_are_enhanced_on_request() {
    let bench = bench().await;
    let claim = bench.accepted(bench.t2v(r#"{"prompt":"a fox","enhance_prompt":true}"#).await).await;
    assert_eq!(claim.request, ValidRequest { enhance_prompt: true, ..defaults("a fox") });
    bench.complete(&claim, b"video").await;
    let task = bench.get(&format!("/v1/video/tasks/{}", claim.lease.task())).await.json();
    assert_eq!(task["enhanced_prompt"], "a fox, at length");
    let form: [(&str, &[u8]); 3] = [("prompt", b"a fox"), ("enhance_prompt", b"true"), ("image", PNG)];
    assert!(bench.accepted(bench.i2v(&form).await).await.request.enhance_prompt);
}

#[tokio::test]
async fn an_uploaded_image_becomes_the_first_frame() {
    let bench = bench().await;
    for name in ["image", "image!"] {
        let request =
            bench.accepted(bench.i2v(&[("prompt", b"move"), (name, PNG), ("height", b"")]).await).await.request;
        let Task::ImageToVideo { images } = &request.task else { panic!("one image") };
        let [image] = images.as_slice() else { panic!("one image") };
        assert_eq!(*image, ImageInput::first_frame(image.source.clone()));
        let path = bench.store.input_path(&image.source).await.unwrap();
        assert_eq!(std::fs::read(path).unwrap(), PNG);
        assert_eq!(ValidRequest { task: Task::TextToVideo, ..request }, defaults("move"));
    }
}

#[tokio::test]
async fn seed_minus_one_draws_a_seed_of_32_bits() {
    let bench = bench().await;
    let mut seeds = Vec::new();
    for _ in 0..2 {
        let claim = bench.accepted(bench.t2v(r#"{"prompt":"a fox","seed":-1}"#).await).await;
        let task = bench.get(&format!("/v1/video/tasks/{}", claim.lease.task())).await.json();
        assert_eq!(task["seed"], claim.request.seed);
        assert!(claim.request.seed <= u64::from(u32::MAX));
        seeds.push(claim.request.seed);
    }
    assert_ne!(seeds[0], seeds[1]);
}

#[tokio::test]
async fn all_problems_are_reported_at_once() {
    let bench = bench().await;
    let body = r#"{"height":100,"width":"wide","num_frames":2.5,"frame_rate":"nan","num_inference_steps":true,"seed":-2,
        "cfg_scale_video":{},"stg_scale_video":-1,"modality_scale":1000,"negative_prompt":3,"enhance_prompt":"perhaps"}"#;
    let answer = bench.t2v(body).await;
    let problems = answer.problems();
    let reported: Vec<(&str, &str, &str)> = problems.iter().map(|(a, b, c)| (&**a, &**b, &**c)).collect();
    let whole = "but it must be a whole number of at most 64 bits";
    assert_eq!(
        reported,
        [
            ("prompt", "missing", "Field required"),
            ("enhance_prompt", "bool_parsing", "enhance_prompt is \"perhaps\", but it must be true or false"),
            ("negative_prompt", "string_type", "negative_prompt is 3, but it must be a string"),
            ("width", "int_parsing", &format!("width is \"wide\", {whole}")),
            ("num_frames", "int_from_float", &format!("num_frames is 2.5, {whole}")),
            ("num_inference_steps", "int_parsing", &format!("num_inference_steps is true, {whole}")),
            ("cfg_scale_video", "float_parsing", "cfg_scale_video is {}, but it must be a number"),
            ("height", "multiple_of", "height is 100, but it must be a multiple of 64, such as 64 or 128"),
            ("frame_rate", "finite_number", "frame_rate is NaN, but it must be a finite number"),
            ("seed", "greater_than_equal", "seed is -2, but it must be at least -1"),
            ("stg_scale_video", "out_of_range", "stg_scale_video is -1, but it must be between 0 and 100"),
            ("modality_scale", "out_of_range", "modality_scale is 1000, but it must be between 0 and 100"),
        ]
    );
    let first = &answer.json()["detail"][7];
    let msg = "height is 100, but it must be a multiple of 64, such as 64 or 128";
    assert_eq!(*first, json!({"type": "multiple_of", "loc": ["body", "height"], "msg": msg, "input": 100}));
    assert!(bench.store.claim("test", std::time::Duration::ZERO).await.unwrap().is_none());
}

#[tokio::test]
async fn forms_are_checked_like_json() {
    let bench = bench().await;
    let answer = bench.i2v(&[("height", b"100"), ("seed", b"\xff"), ("prompt", b""), ("enhance_prompt", b"2")]).await;
    let fields: Vec<(String, String)> = answer.problems().into_iter().map(|(field, kind, _)| (field, kind)).collect();
    let expected = [
        ("seed", "string_unicode"),
        ("image", "missing"),
        ("prompt", "missing"),
        ("enhance_prompt", "bool_parsing"),
        ("height", "multiple_of"),
    ];
    assert_eq!(fields, expected.map(|(field, kind)| (field.to_owned(), kind.to_owned())));
}

#[tokio::test]
async fn images_are_checked_before_the_task_is_queued() {
    let bench = bench().await;
    let damaged = [PNG, b"bad"].concat();
    let cases: [(&[u8], &str); 3] = [
        (b"", "image: the file is empty; it must be a PNG, JPEG or WebP image"),
        (b"GIF89a", "image: the file is a GIF image, but it must be a PNG, JPEG or WebP image; convert it first"),
        (&damaged, "image: the PNG is damaged"),
    ];
    for (bytes, message) in cases {
        let problems = bench.i2v(&[("prompt", b"move"), ("image", bytes)]).await.problems();
        assert_eq!(problems, [("image".into(), "image_invalid".into(), message.into())]);
    }
    assert!(is_empty(&bench));
}

#[tokio::test]
async fn a_panic_of_the_image_check_is_an_internal_error() {
    let bench = bench().await;
    let answer = bench.i2v(&[("prompt", b"move"), ("image", &[PNG, b"panic"].concat())]).await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(answer.json(), json!({"detail": "Internal Server Error"}));
}

#[tokio::test]
async fn bodies_that_are_not_json_objects_are_refused() {
    let bench = bench().await;
    let cases = [
        ("", "missing", "Field required"),
        (
            "{'prompt': 1}",
            "json_invalid",
            "JSON decode error: key must be a string at line 1 column 2; the shell removed or changed the quotes; write the body to a file and send it with -d @FILE",
        ),
        (
            "'{prompt:",
            "json_invalid",
            "JSON decode error: expected value at line 1 column 1; the shell removed or changed the quotes; write the body to a file and send it with -d @FILE",
        ),
        (r#"{"prompt":"x","seed":NaN}"#, "json_invalid", "JSON decode error: expected value at line 1 column 22"),
        (r#"{"prompt":"x""#, "json_invalid", "JSON decode error: EOF while parsing an object at line 1 column 13"),
        ("[1]", "model_attributes_type", "the body must be a JSON object"),
    ];
    for (body, kind, message) in cases {
        assert_eq!(bench.t2v(body).await.problems(), [(String::new(), kind.into(), message.into())], "{body}");
    }
    let nested = "[".repeat(10_000);
    assert_eq!(bench.t2v(&nested).await.problems()[0].1, "json_invalid");
    let latin1 = bench.post("/v1/video/async_t2v", Some("application/json"), &b"{\"prompt\":\"caf\xe9\"}"[..]).await;
    assert_eq!(latin1.problems()[0].1, "string_unicode");
}

#[tokio::test]
async fn a_field_that_is_given_twice_is_refused() {
    let bench = bench().await;
    let repeated = |name: &str| {
        (name.to_owned(), "duplicate_field".to_owned(), format!("{name} is given more than once; send one value"))
    };
    let json = bench.t2v(r#"{"prompt":"a","seed":1,"prompt":"b","seed":2}"#).await;
    assert_eq!(json.problems(), [repeated("prompt"), repeated("seed")]);
    let form = bench.i2v(&[("prompt", b"a"), ("image", PNG), ("image", PNG), ("prompt", b"b")]).await;
    assert_eq!(form.problems(), [repeated("image"), repeated("prompt")]);
    let file_and_text = bench.i2v(&[("prompt", b"a"), ("image", PNG), ("image!", b"http://x/y.png")]).await;
    assert_eq!(file_and_text.problems(), [repeated("image")]);
    assert!(is_empty(&bench));
}

#[tokio::test]
async fn files_that_are_not_selected_in_a_browser_count_as_omitted() {
    let bench = bench().await;
    let part = |head: &str, value: &[u8]| {
        [format!("--xyz\r\nContent-Disposition: form-data; {head}\r\n\r\n").as_bytes(), value, b"\r\n"].concat()
    };
    let body = [
        part("name=\"prompt\"", b"x"),
        part("name=\"image\"; filename=\"\"\r\nContent-Type: application/octet-stream", b""),
        part("name=\"keyframes\"", br#"[{"image":"end","frame":8}]"#),
        part("name=\"end\"; filename=\"e.png\"\r\nContent-Type: image/png", PNG),
        b"--xyz--\r\n".to_vec(),
    ];
    let form = bench.post("/v1/video/async_i2v", Some("multipart/form-data; boundary=xyz"), body.concat()).await;
    let task = bench.accepted(form).await.request.task;
    assert!(matches!(&task, Task::Keyframes { images } if images.len() == 1 && images[0].frame == 8), "{task:?}");
}

#[tokio::test]
async fn seeds_above_63_bits_are_kept() {
    let bench = bench().await;
    for body in [r#"{"prompt":"x","seed":18446744073709551615}"#, r#"{"prompt":"x","seed":"18446744073709551615"}"#] {
        assert_eq!(bench.accepted(bench.t2v(body).await).await.request.seed, u64::MAX);
    }
    let problems = bench.t2v(r#"{"prompt":"x","seed":18446744073709551616}"#).await.problems();
    assert_eq!(problems[0].1, "less_than_equal");
}

#[tokio::test]
async fn compressed_bodies_are_decoded_within_the_size_limit() {
    let bench = bench().await;
    let gzip = |text: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    };
    let post = async |encoding: &str, body: Vec<u8>| {
        let request = Request::post("/v1/video/async_t2v").header("content-encoding", encoding).body(body.into());
        bench.send(request.unwrap()).await
    };
    for encoding in ["gzip", "GZIP", "x-gzip"] {
        let sent = post(encoding, gzip(br#"{"prompt":"zipped"}"#)).await;
        assert_eq!(bench.accepted(sent).await.request.prompt, "zipped", "{encoding}");
    }
    let plain = post("identity", br#"{"prompt":"plain"}"#.to_vec()).await;
    assert_eq!(bench.accepted(plain).await.request.prompt, "plain");
    let bomb = post("gzip", gzip(&[b' '; 4 * MAX_BODY])).await;
    assert_eq!(bomb.status, StatusCode::PAYLOAD_TOO_LARGE);
    let damaged = post("gzip", b"not gzip".to_vec()).await;
    assert_eq!(damaged.problems()[0].1, "body_invalid");
    let unknown = post("br", vec![0]).await;
    assert_eq!(unknown.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(unknown.json()["detail"], "Content-Encoding is \"br\", but it must be gzip, deflate or absent");
}

#[tokio::test]
async fn format_quality_and_audio_of_the_result_are_chosen_by_the_request() {
    let bench = bench().await;
    let body = r#"{"prompt":"x","format":"webm","quality":"low","generate_audio":false,"max_bytes":16000000,"metadata":false}"#;
    let output = bench.accepted(bench.t2v(body).await).await.request.output;
    let expected = OutputSpec {
        container: Container::Webm,
        codec: VideoCodec::Vp9,
        quality: Quality::Low,
        audio: false,
        max_bytes: Some(16_000_000),
        metadata: false,
    };
    assert_eq!(output, expected);
    for (format, container, codec) in
        [("gif", Container::Gif, VideoCodec::Gif), ("png-zip", Container::Zip, VideoCodec::Png)]
    {
        let body = format!(r#"{{"prompt":"x","format":"{format}","generate_audio":true}}"#);
        let output = bench.accepted(bench.t2v(&body).await).await.request.output;
        assert_eq!((output.container, output.codec, output.audio), (container, codec, false));
    }
    for (body, message) in [
        (
            r#"{"prompt":"x","format":"avi"}"#,
            "format is avi, but it must be one of mp4, mp4-h265, webm, mov, gif, png-zip",
        ),
        (
            r#"{"prompt":"x","format":"mov","quality":"lossless"}"#,
            "quality is lossless, but ProRes has no lossless mode; it must be low, balanced or high",
        ),
        (r#"{"prompt":"x","max_bytes":0}"#, "max_bytes is 0, but it must be at least 1"),
    ] {
        assert_eq!(bench.t2v(body).await.problems()[0].2, message);
    }
}

#[tokio::test]
async fn prompts_must_be_strings_within_the_limit() {
    let bench = bench().await;
    let problems = bench.t2v(r#"{"prompt":null}"#).await.problems();
    assert_eq!(problems, [("prompt".into(), "string_type".into(), "prompt: it must be a string".into())]);
    let long = format!(r#"{{"prompt":"{}"}}"#, "x".repeat(20_001));
    let answer = bench.t2v(&long).await;
    assert_eq!(answer.problems()[0].2, "prompt is 20001 characters long, but it must have at most 20000 characters");
    assert!(answer.body.len() < 1000);
}

#[tokio::test]
async fn content_types_are_checked() {
    let bench = bench().await;
    let body = r#"{"prompt":"a fox"}"#;
    for good in [None, Some("application/json; charset=utf-8"), Some("Application/vnd.x+JSON")] {
        let answer = bench.post("/v1/video/async_t2v", good, body).await;
        assert_eq!(answer.status, StatusCode::OK, "{good:?}");
    }
    let with_mark = bench.post("/v1/video/async_t2v", None, format!("\u{feff}{body}")).await;
    assert_eq!(with_mark.status, StatusCode::OK);
    let plain = bench.post("/v1/video/async_t2v", Some("text/plain"), body).await;
    assert_eq!(plain.problems()[0].2, "Content-Type is \"text/plain\", but it must be application/json");
    let without_image = bench.post("/v1/video/async_i2v", Some("application/json"), body).await;
    assert_eq!(without_image.problems(), [("image".into(), "missing".into(), "Field required".into())]);
    for bad in [None, Some("text/plain"), Some("multipart/form-data")] {
        let (_, kind, message) = bench.post("/v1/video/async_i2v", bad, body).await.problems().remove(0);
        assert_eq!(kind, "content_type");
        assert!(
            message.ends_with("but it must be multipart/form-data with a boundary, or application/json"),
            "{message}"
        );
    }
}

#[tokio::test]
async fn truncated_forms_are_refused() {
    let bench = bench().await;
    let mut body = form(&[("prompt", b"move"), ("image", PNG)]);
    body.truncate(body.len() - 20);
    let answer = bench.post("/v1/video/async_i2v", Some("multipart/form-data; boundary=xyz"), body).await;
    assert_eq!(answer.problems()[0].1, "body_invalid");
}

#[tokio::test]
async fn large_bodies_are_refused() {
    let bench = bench().await;
    let detail = json!({"detail": format!("the body is too large; this server takes at most {MAX_BODY} bytes")});
    let json = bench.t2v(&format!(r#"{{"prompt":"{}"}}"#, "x".repeat(MAX_BODY))).await;
    let form = bench.i2v(&[("prompt", b"move"), ("image", &vec![0; MAX_BODY])]).await;
    for answer in [json, form] {
        assert_eq!((answer.status, answer.json()), (StatusCode::PAYLOAD_TOO_LARGE, detail.clone()));
    }
    assert!(is_empty(&bench));
}
