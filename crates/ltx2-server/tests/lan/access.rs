//! API keys, cross-origin access and malformed requests.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use ltx2_server::{ApiKeys, CorsOrigins};
use serde_json::json;

use crate::support::{Answer, Bench, bench, bench_with};

async fn get_status(bench: &Bench, headers: &[(&str, &str)]) -> Answer {
    let request = headers.iter().fold(Request::get("/v1/internal/status"), |request, (n, v)| request.header(*n, *v));
    bench.send(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn clients_do_not_share_idempotency_keys() {
    let bench = bench_with(|service| service.api_keys = ApiKeys::new(["first", "second"])).await;
    let submit = async |api_key: &str| {
        let request = Request::post("/v1/video/async_t2v").header("x-api-key", api_key).header("idempotency-key", "1");
        bench.send(request.body(Body::from(r#"{"prompt":"x"}"#)).unwrap()).await.json()["task_id"].clone()
    };
    let first = submit("first").await;
    assert_eq!(submit("first").await, first);
    assert_ne!(submit("second").await, first);
}

#[tokio::test]
async fn only_clients_with_a_key_are_admitted() {
    let bench = bench_with(|service| service.api_keys = ApiKeys::new(["first", "second:part"])).await;
    // Basic credentials are key:secret in base64.
    let good = [
        ("authorization", "Bearer first"),
        ("authorization", "bearer second:part"),
        ("authorization", "Basic Zmlyc3Q6"),
        ("authorization", "Basic YW55Ym9keTpmaXJzdA=="),
        ("authorization", "Basic c2Vjb25kOnBhcnQ="),
        ("x-api-key", "first"),
    ];
    for header in good {
        assert_eq!(get_status(&bench, &[header]).await.status, StatusCode::OK, "{header:?}");
    }
    let bad = [
        ("authorization", "Bearer firs"),
        ("authorization", "Bearer first2"),
        ("authorization", "Bearer "),
        ("authorization", "first"),
        ("authorization", "Basic Zmlyc3Q"),
        ("authorization", "Basic ?"),
        ("x-api-key", "second"),
        ("x-api-key", ""),
        ("cookie", "first"),
    ];
    for header in bad {
        let answer = get_status(&bench, &[header]).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{header:?}");
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
    }
    assert_eq!(get_status(&bench, &[bad[0], good[5]]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn every_route_except_health_and_outputs_requires_a_key() {
    let bench = bench_with(|service| service.api_keys = ApiKeys::new(["key"])).await;
    let id = bench.store.enqueue(&ltx2_types::Limits::server().defaults, vec![]).await.unwrap();
    let claim = bench.claim().await;
    bench.complete(&claim, b"video").await;
    let closed = [
        (Method::POST, "/v1/video/async_t2v".to_owned()),
        (Method::POST, "/v1/video/async_i2v".to_owned()),
        (Method::POST, "/v1/video/t2v".to_owned()),
        (Method::POST, "/v1/video/i2v".to_owned()),
        (Method::GET, "/v1/video/tasks".to_owned()),
        (Method::GET, format!("/v1/video/tasks/{id}")),
        (Method::DELETE, format!("/v1/video/tasks/{id}")),
        (Method::GET, format!("/v1/video/tasks/{id}/events")),
        (Method::GET, "/v1/loras".to_owned()),
        (Method::POST, "/v1/internal/unload".to_owned()),
        (Method::GET, "/v1/internal/status".to_owned()),
    ];
    for (method, path) in closed {
        assert_eq!(bench.call(method, &path).await.status, StatusCode::UNAUTHORIZED, "{path}");
    }
    for open in ["/health".to_owned(), format!("/outputs/ltx2_{id}.mp4")] {
        assert_eq!(bench.get(&open).await.status, StatusCode::OK, "{open}");
    }
}

#[tokio::test]
async fn urls_in_the_body_of_a_task_work_without_a_key() {
    let bench = bench_with(|service| service.api_keys = ApiKeys::new(["key"])).await;
    let id = bench.store.enqueue(&ltx2_types::Limits::server().defaults, vec![]).await.unwrap();
    let task = async || {
        let request = Request::get(format!("/v1/video/tasks/{id}")).header("x-api-key", "key").header("host", "x");
        bench.send(request.body(Body::empty()).unwrap()).await.json()
    };
    let body = task().await;
    let path = |name: &str| body[name].as_str().unwrap().strip_prefix("http://x").unwrap().to_owned();
    let (events, preview) = (path("events_url"), path("preview_url"));
    let claim = bench.claim().await;
    bench.store.put_preview(&claim.lease, b"\xff\xd8\xff").await.unwrap();
    assert_eq!(bench.get(&preview).await.headers["content-type"], "image/jpeg");
    let server = crate::network::start(&bench).await;
    let mut watcher = crate::watch::Watcher::open_path(&server, &events, None).await;
    let update = loop {
        let (_, name, data) = watcher.next().await.unwrap();
        if name == "preview" {
            break data["url"].as_str().unwrap().to_owned();
        }
    };
    assert!(update.ends_with("&number=1"), "{update}");
    assert_eq!(bench.get(update.strip_prefix("http://x").unwrap()).await.status, StatusCode::OK);
    // The signature is for this path and method only.
    let other = events.replace(id.as_str(), &"0".repeat(32));
    let query = events.split_once('?').unwrap().1;
    for closed in [other, format!("/v1/video/tasks/{id}?{query}"), preview.split_once('?').unwrap().0.into()] {
        assert_eq!(bench.get(&closed).await.status, StatusCode::UNAUTHORIZED, "{closed}");
    }
    let delete = bench.call(Method::DELETE, &format!("/v1/video/tasks/{id}?{query}")).await;
    assert_eq!(delete.status, StatusCode::UNAUTHORIZED);
    bench.complete(&claim, b"video").await;
    assert_eq!(task().await.get("events_url"), None);
}

#[tokio::test]
async fn cors_headers_allow_configured_origins_only() {
    let preflight = async |bench: &Bench, origin: &str| {
        let request = Request::builder().method(Method::OPTIONS).uri("/v1/video/async_t2v").header("origin", origin);
        let request = request.header("access-control-request-method", "POST");
        let request = request.header("access-control-request-headers", "authorization,content-type");
        bench.send(request.body(Body::empty()).unwrap()).await.headers
    };
    let page = "http://page:3000";
    assert!(!preflight(&bench().await, page).await.contains_key("access-control-allow-origin"));
    let origins = CorsOrigins::parse(&[page.to_owned()]).unwrap();
    let some = bench_with(|service| {
        service.cors = origins;
        service.api_keys = ApiKeys::new(["key"]);
    })
    .await;
    let headers = preflight(&some, page).await;
    assert_eq!(headers["access-control-allow-origin"], page);
    assert_eq!(headers["access-control-allow-headers"], "authorization,content-type");
    assert!(!preflight(&some, "http://other").await.contains_key("access-control-allow-origin"));
    let any = bench_with(|service| service.cors = CorsOrigins::Any).await;
    assert_eq!(preflight(&any, page).await["access-control-allow-origin"], "*");
    for bad in ["page:3000", "http://page/path", "ftp://page", "http://pa\nge"] {
        assert!(CorsOrigins::parse(&[bad.to_owned()]).is_err(), "{bad}");
    }
}

#[tokio::test]
async fn hostile_requests_are_refused_or_served() {
    let bench = bench().await;
    let bodies = [
        r#"{"prompt":"x","width":1e400}"#,
        r#"{"prompt":"x","width":-9223372036854775809}"#,
        r#"{"prompt":"x","width":1e18,"height":-1e18}"#,
        r#"{"prompt":"x","frame_rate":1e-320}"#,
        r#"{"prompt":"x","cfg_scale_video":-0.0001}"#,
        r#"{"prompt":"x","seed":18446744073709551616}"#,
        r#"{"prompt":"x","num_frames":"999999999999999999999999"}"#,
        r#"{"prompt":"x","camera":"static:nan"}"#,
        r#"{"prompt":"x","priority":9e99}"#,
        r#"{"prompt":"\ud800"}"#,
    ];
    for body in bodies {
        assert_eq!(bench.t2v(body).await.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
    }
    let odd = bench.post("/v1/video/async_t2v", Some("application/x-www-form-urlencoded"), "prompt=x").await;
    assert_eq!(odd.problems()[0].1, "content_type");
    let id = bench.get("/v1/video/tasks/..%2f..%2fetc%2fpasswd/events").await;
    assert_eq!((id.status, &id.json()["status"]), (StatusCode::NOT_FOUND, &json!("failed")));
}
