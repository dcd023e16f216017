//! Scenario's API: generation by model id, jobs, assets and models.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ltx2_types::{InputRef, RetakePart, Task};
use serde_json::{Value, json};

use crate::support::{Answer, Bench, PNG, bench, bench_with};

impl Bench {
    async fn run_model(&self, model: &str, body: Value) -> Answer {
        self.post(&format!("/v1/generate/custom/{model}"), Some("application/json"), body.to_string()).await
    }

    async fn upload_image(&self) -> String {
        let body = json!({ "name": "first.png", "image": STANDARD.encode(PNG) });
        let answer = self.post("/v1/assets", Some("application/json"), body.to_string()).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", String::from_utf8_lossy(&answer.body));
        answer.json()["asset"]["id"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn a_model_is_run_with_the_defaults_of_its_page() {
    let bench = bench().await;
    let answer = bench.run_model("model_ltx-2-19b", json!({ "prompt": "a fox", "seed": 7 })).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", String::from_utf8_lossy(&answer.body));
    let body = answer.json();
    assert_eq!((&body["job"]["status"], &body["status"]), (&json!("queued"), &json!("queued")));
    let request = bench.claim().await.request;
    assert_eq!((request.width, request.height, request.num_frames), (1920, 1088, 150));
    assert_eq!((request.num_inference_steps, request.video_guidance.cfg, request.seed), (40, 3.0, 7));
    assert!(request.output.audio && request.task == Task::TextToVideo && request.notes.is_empty());
}

#[tokio::test]
async fn a_job_ends_with_an_asset_whose_url_expires() {
    let bench = bench().await;
    let body = bench.run_model("model_ltx-2-3-fast", json!({ "prompt": "a fox" })).await.json();
    let job = body["job"]["jobId"].as_str().unwrap().to_owned();
    let claim = bench.claim().await;
    bench.complete(&claim, b"video").await;
    let body = bench.get(&format!("/v1/jobs/{job}")).await.json();
    assert_eq!((&body["job"]["status"], &body["job"]["progress"]), (&json!("success"), &json!(1.0)));
    // The set is of another generation and not distilled, which the job says.
    assert!(body["job"]["metadata"]["hint"].as_str().unwrap().contains("2.3"));
    let asset = body["job"]["metadata"]["assetIds"][0].as_str().unwrap();
    let asset = bench.get(&format!("/v1/assets/{asset}")).await.json();
    let url = asset["asset"]["url"].as_str().unwrap();
    let path = url.strip_prefix("http://lan:8004").unwrap();
    let file = bench.get(path).await;
    assert_eq!((file.status, file.body.as_slice()), (StatusCode::OK, b"video".as_slice()));
    assert_eq!(file.headers[header::CONTENT_TYPE], "video/mp4");
    let unsigned = bench.get(path.split_once('?').unwrap().0).await;
    assert_eq!(unsigned.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn keyframes_name_uploaded_assets() {
    let bench = bench().await;
    let (first, last) = (bench.upload_image().await, bench.upload_image().await);
    let keyframes = json!([{ "image": first, "time": 0 }, { "assetId": last, "time": 2, "strength": 0.5 }]);
    let body = json!({ "prompt": "x", "keyframes": keyframes, "aspectRatio": "auto", "resolution": "720p" });
    let answer = bench.run_model("model_ltx-2-19b-keyframes-to-video", body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", String::from_utf8_lossy(&answer.body));
    let request = bench.claim().await.request;
    let Task::Keyframes { images } = &request.task else { panic!("{:?}", request.task) };
    assert_eq!(images.iter().map(|image| (image.frame, image.strength)).collect::<Vec<_>>(), [(0, 1.0), (50, 0.5)]);
    assert!(matches!(&images[1].source, InputRef::Asset(id) if last.ends_with(id.as_str())));
    // The test's images are 64x32 pixels.
    assert_eq!((request.width, request.height), (1472, 704));
}

#[tokio::test]
async fn a_result_is_extended_and_retaken_by_its_asset() {
    let bench = bench().await;
    let id = bench.completed(b"video").await;
    let body = json!({ "prompt": "x", "video": format!("asset_{id}"), "extendDuration": 2, "contextDuration": 1 });
    bench.run_model("model_ltx-2-19b-extend-video", body).await;
    let request = bench.claim().await.request;
    let Task::Extend(task) = &request.task else { panic!("{:?}", request.task) };
    assert_eq!((&task.video, task.context, request.num_frames), (&InputRef::Result(id.clone()), Some(1.0), 50));
    let body = json!({ "prompt": "x", "video": format!("asset_{id}"), "mode": "replace_audio", "duration": 2 });
    bench.run_model("model_ltx-2-retake", body).await;
    let request = bench.claim().await.request;
    assert!(matches!(&request.task, Task::Retake { part: RetakePart::Audio, window, .. } if window.end == 2.0));
}

#[tokio::test]
async fn invalid_fields_are_a_bad_request_with_a_reason() {
    let bench = bench().await;
    for (body, reason) in [
        (json!({}), "prompt"),
        (json!({ "prompt": "x", "duration": 2 }), "duration"),
        (json!({ "prompt": "x", "cameraMotion": "zoom" }), "cameraMotion"),
        (json!({ "prompt": "x", "width": 512 }), "height"),
        (json!({ "prompt": "x", "image": "asset_0123456789abcdef0123456789abcdef" }), "image"),
        (json!({ "prompt": "x", "promt": "y" }), "did you mean prompt"),
        (json!({ "prompt": "x", "seed": -2 }), "seed"),
    ] {
        let answer = bench.run_model("model_ltx-2-19b", body.clone()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
        let error = answer.json();
        assert!(error["reason"].as_str().unwrap().contains(reason), "{error}");
        assert_eq!(error["reason"], error["error"]["message"]);
    }
    let keyframes = json!({ "prompt": "x", "keyframes": null });
    let answer = bench.run_model("model_ltx-2-19b-keyframes-to-video", keyframes).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let unknown = bench.run_model("model_ltx-9", json!({ "prompt": "x" })).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_repeated_request_of_a_client_library_makes_no_second_job() {
    let bench = bench_with(|service| service.max_waiting = 2).await;
    let send = async |retries: &str, prompt: &str| {
        let request = Request::post("/v1/generate/custom/model_ltx-2-19b")
            .header(header::CONTENT_TYPE, "application/json")
            .header("x-stainless-retry-count", retries)
            .body(Body::from(json!({ "prompt": prompt }).to_string()));
        bench.send(request.unwrap()).await
    };
    let job = |answer: &Answer| answer.json()["job"]["jobId"].clone();
    let first = send("0", "x").await;
    assert_eq!(job(&send("1", "x").await), job(&first));
    assert_ne!(job(&send("0", "x").await), job(&first));
    let full = send("0", "y").await;
    assert_eq!(
        (full.status, &full.headers["x-should-retry"]),
        (StatusCode::TOO_MANY_REQUESTS, &"false".parse().unwrap())
    );
}

#[tokio::test]
async fn jobs_are_listed_by_status_and_cancelled() {
    let bench = bench().await;
    for prompt in ["1", "2", "3"] {
        bench.run_model("model_ltx-2-19b", json!({ "prompt": prompt })).await;
    }
    let page = bench.get("/v1/jobs?pageSize=2&hideResults=false&status=queued&types=custom%2Cupload").await.json();
    assert_eq!(page["jobs"].as_array().unwrap().len(), 2);
    let token = page["nextPaginationToken"].as_str().unwrap();
    let page = bench.get(&format!("/v1/jobs?pageSize=2&status=queued&paginationToken={token}")).await.json();
    assert_eq!((page["jobs"].as_array().unwrap().len(), page.get("nextPaginationToken")), (1, None));
    let id = page["jobs"][0]["jobId"].as_str().unwrap();
    let path = format!("/v1/jobs/{id}/action");
    let answer = bench.post(&path, Some("application/json"), r#"{"action":"cancel"}"#).await;
    assert_eq!(answer.json()["job"]["status"], "canceled");
    let answer = bench.post(&path, Some("application/json"), r#"{"action":"cancel"}"#).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    for query in ["status=done", "pageSize=0", "paginationToken=x", "colour=red"] {
        assert_eq!(bench.get(&format!("/v1/jobs?{query}")).await.status, StatusCode::BAD_REQUEST, "{query}");
    }
}

#[tokio::test]
async fn assets_are_listed_fetched_in_bulk_and_deleted() {
    let bench = bench().await;
    let asset = bench.upload_image().await;
    let result = format!("asset_{}", bench.completed(b"video").await);
    let page = bench.get("/v1/assets?pageSize=5").await.json();
    let ids: Vec<&str> = page["assets"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [&result, &asset]);
    let ids = json!({ "assetIds": [asset, result, "asset_x"] }).to_string();
    let found = bench.post("/v1/assets/get-bulk", Some("application/json"), ids.clone()).await.json();
    assert_eq!(found["assets"].as_array().unwrap().len(), 2);
    for _ in 0..2 {
        let request = Request::builder().method(Method::DELETE).uri("/v1/assets");
        let request = request.header(header::CONTENT_TYPE, "application/json").body(Body::from(ids.clone()));
        assert_eq!(bench.send(request.unwrap()).await.json(), json!({}));
    }
    assert_eq!(bench.get(&format!("/v1/assets/{asset}")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn models_are_described_for_openai_and_scenario_at_once() {
    let bench = bench().await;
    let list = bench.get("/v1/models").await.json();
    assert_eq!((&list["object"], &list["data"][0]["id"]), (&json!("list"), &json!("ltx-2.0.0")));
    for model in list["models"].as_array().unwrap() {
        let id = model["id"].as_str().unwrap();
        for prefix in ["", "/scenario"] {
            let one = bench.get(&format!("{prefix}/v1/models/{id}")).await.json();
            assert_eq!((&one["id"], &one["model"]["inputs"]), (&json!(id), &model["inputs"]));
        }
        assert_eq!(model["inputs"][0]["name"], "prompt");
    }
    assert_eq!(bench.get("/v1/models/x").await.status, StatusCode::NOT_FOUND);
}
