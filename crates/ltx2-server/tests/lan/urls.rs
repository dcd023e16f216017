//! Images given by URL.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use ltx2_server::{AllowedNetworks, Fetcher};
use ltx2_types::Task;
use serde_json::json;
use tokio::net::TcpListener;

use crate::support::{Bench, MAX_BODY, PNG, bench, bench_with};

/// Delay of `/slow.png`.
const SLOW: Duration = Duration::from_millis(300);

/// Serves images, redirects and other responses.
async fn web() -> SocketAddr {
    let to = |target: &'static str| get(async move || (StatusCode::FOUND, [(header::LOCATION, target)]));
    let pages = Router::new()
        .route("/fox.png", get(async || PNG))
        .route(
            "/slow.png",
            get(async || {
                tokio::time::sleep(SLOW).await;
                PNG
            }),
        )
        .route("/moved", to("/fox.png"))
        .route("/loop", to("/loop"))
        .route("/inwards", to("http://10.0.0.1/fox.png"))
        .route("/file", to("file:///etc/passwd"))
        .route("/large", get(async || vec![0; MAX_BODY + 1]))
        .route(
            "/endless",
            get(async || {
                axum::body::Body::from_stream(futures_util::stream::repeat_with(|| {
                    Ok::<_, std::io::Error>(vec![0; 4096])
                }))
            }),
        )
        .route("/page", get(async || "<html>".into_response()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, pages).await.unwrap() });
    address
}

async fn allowing() -> Bench {
    let networks = AllowedNetworks(vec!["127.0.0.0/8".parse().unwrap()]);
    bench_with(|service| service.fetcher = Some(Fetcher::new(networks, MAX_BODY).unwrap())).await
}

#[tokio::test]
async fn images_are_fetched_from_urls_in_json_and_forms() {
    let bench = allowing().await;
    let web = web().await;
    let image = format!("http://{web}/moved");
    let json = json!({"prompt": "a fox", "image": image, "image_strength": 0.5}).to_string();
    let keyframes = json!([{"image": image, "frame": 8}]);
    let form: [(&str, &[u8]); 3] =
        [("prompt", b"a fox"), ("image!", image.as_bytes()), ("keyframes", &keyframes.to_string().into_bytes())];
    let bodies = [
        (bench.t2v(&json).await, vec![(0, 0.5)]),
        (bench.post("/v1/video/async_i2v", Some("application/json"), json.clone()).await, vec![(0, 0.5)]),
        (bench.i2v(&form).await, vec![(0, 1.0), (8, 1.0)]),
    ];
    for (answer, expected) in bodies {
        let Task::ImageToVideo { images } = bench.accepted(answer).await.request.task else {
            panic!("not an image-to-video")
        };
        let positions: Vec<_> = images.iter().map(|image| (image.frame, image.strength)).collect();
        assert_eq!(positions, expected);
        for image in images {
            assert_eq!(std::fs::read(bench.data.path().join("inputs").join(image.source.to_string())).unwrap(), PNG);
        }
    }
}

#[tokio::test]
async fn urls_that_cannot_be_fetched_are_reported() {
    let web = web().await;
    let (strict, lenient) = (bench().await, allowing().await);
    let closed = bench_with(|service| service.fetcher = None).await;
    let at = |path: &str| format!("http://{web}{path}");
    let cases = [
        (&strict, at("/fox.png"), "127.0.0.1 is a private address"),
        (&strict, format!("http://localhost:{}/fox.png", web.port()), "localhost has only private addresses"),
        (&strict, "http://169.254.169.254/latest".into(), "169.254.169.254 is a private address"),
        (&strict, "http://".into(), "it must be a URL like"),
        (&closed, at("/fox.png"), "this server does not fetch URLs"),
        (&lenient, at("/inwards"), "10.0.0.1 is a private address"),
        (&lenient, at("/file"), "it must begin with http:// or https://"),
        (&lenient, at("/loop"), "it redirects more than 5 times"),
        (&lenient, at("/nothing"), "it answers 404 Not Found"),
        (&lenient, at("/large"), "it has more than 65536 bytes"),
        (&lenient, at("/endless"), "it has more than 65536 bytes"),
    ];
    for (bench, url, reason) in cases {
        let body = json!({"prompt": "a fox", "image": url}).to_string();
        let problems = bench.t2v(&body).await.problems();
        let [(field, kind, message)] = &problems[..] else { panic!("{problems:?}") };
        assert_eq!((&field[..], &kind[..]), ("image", "image_unreachable"));
        assert!(message.contains(reason), "{message}, not {reason}");
    }
    let page = json!({"prompt": "a fox", "image": at("/page")}).to_string();
    assert_eq!(lenient.t2v(&page).await.problems()[0].1, "image_invalid");
    for (image, kind) in [(json!("fox.png"), "image_invalid"), (json!(7), "string_type")] {
        let body = json!({"prompt": "a fox", "image": image}).to_string();
        assert_eq!(lenient.t2v(&body).await.problems()[0].1, kind);
    }
}

#[tokio::test]
async fn keyframes_are_fetched_concurrently() {
    let bench = allowing().await;
    let url = format!("http://{}/slow.png", web().await);
    let keyframes: Vec<_> = (0..8).map(|frame| json!({"image": url, "frame": frame})).collect();
    let start = Instant::now();
    let answer = bench.t2v(&json!({"prompt": "a fox", "keyframes": keyframes}).to_string()).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(start.elapsed() < SLOW * 6, "{:?}", start.elapsed());
}
