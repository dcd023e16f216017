//! Downloads of results, with byte ranges for players.

use std::io::ErrorKind;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::response::Response;
use http_body_util::BodyExt;
use ltx2_store::{FileName, Hold, StoreError, TaskStatus};
use ltx2_types::{InputRef, OutputRole};
use tower_http::services::ServeFile;

use crate::access::is_signed;
use crate::error::ApiError;
use crate::service::StoredMedia;
use crate::state::Service;

/// Serves a file of a completed task.
pub(crate) async fn output(
    State(service): State<Arc<Service>>,
    name: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let Path(name) = name.map_err(|_| ApiError::not_found())?;
    let name = FileName::parse(&name).ok_or_else(ApiError::not_found)?;
    send(&service, &name, request).await
}

/// Returns the path of the file of an asset or of a task's video, by the digits of its id.
pub(crate) fn asset_path(id: &str, extension: &str) -> String {
    format!("/assets/{id}.{extension}")
}

/// Serves the file of an asset, or the video of a task, to a client with a signed URL.
pub(crate) async fn asset(
    State(service): State<Arc<Service>>,
    name: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let Path(name) = name.map_err(|_| ApiError::not_found())?;
    if !is_signed(&service.api_keys, request.uri()) {
        return Err(ApiError::expired_url());
    }
    let id = name.split('.').next().unwrap_or_default();
    match service.stored_media(id).await? {
        Some(StoredMedia::Task(task)) => match &task.status {
            TaskStatus::Completed(completion) => {
                let video = completion.output(OutputRole::Video).ok_or_else(ApiError::not_found)?;
                send(&service, &video.key, request).await
            }
            _ => Err(ApiError::not_found()),
        },
        Some(StoredMedia::Asset(asset)) => {
            let path = service.store.input_path(&InputRef::Asset(asset.id)).await?;
            let mut response = serve(&path, request).await?;
            if let Ok(mime) = HeaderValue::from_str(&asset.mime) {
                response.headers_mut().insert(header::CONTENT_TYPE, mime);
            }
            Ok(response)
        }
        None => Err(ApiError::not_found()),
    }
}

/// Returns the file `name`, or the byte range of it that `request` asks for.
pub(crate) async fn send(service: &Service, name: &FileName, mut request: Request) -> Result<Response, ApiError> {
    // Held before the check, so that it is not deleted in between.
    let hold = service.store.hold(name).ok_or_else(ApiError::not_found)?;
    if !service.store.is_output(name).await? {
        return Err(ApiError::not_found());
    }
    if !has_single_range(request.headers()) {
        request.headers_mut().remove(header::RANGE);
    }
    let is_download = request.uri().query().is_some_and(|query| query.split('&').any(|part| part == "download=1"));
    let path = service.store.output_path(name);
    if let Some(expected) = request.headers_mut().remove(header::IF_RANGE) {
        let current = serve(&path, head_request(request.headers())).await?;
        if current.headers().get(header::ETAG) != Some(&expected) {
            request.headers_mut().remove(header::RANGE);
        }
    }
    let mut response = serve(&path, request).await?;
    let kind = if is_download { "attachment" } else { "inline" };
    if let Ok(disposition) = HeaderValue::from_str(&format!("{kind}; filename=\"{name}\"")) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, disposition);
    }
    Ok(response.map(|body| held(body, hold)))
}

/// Whether the `Range` header asks for one range of bytes. Other units, several ranges and invalid ones are ignored, as
/// RFC 9110 allows: the response is the whole file.
fn has_single_range(headers: &HeaderMap) -> bool {
    let Some(range) = headers.get(header::RANGE).and_then(|range| range.to_str().ok()) else { return false };
    let Some((unit, range)) = range.split_once('=') else { return false };
    let Some((first, last)) = range.trim().split_once('-') else { return false };
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok());
    unit.trim().eq_ignore_ascii_case("bytes")
        && match (number(first), number(last)) {
            (Some(Some(first)), Some(Some(last))) => first <= last,
            (Some(Some(_)), Some(None)) => last.is_empty(),
            (Some(None), Some(Some(_))) => first.is_empty(),
            _ => false,
        }
}

async fn serve(path: &std::path::Path, request: Request) -> Result<Response, ApiError> {
    match ServeFile::new(path).try_call(request).await {
        Ok(response) => Ok(response.map(Body::new)),
        // Removed by hand.
        Err(error) if error.kind() == ErrorKind::NotFound => Err(ApiError::not_found()),
        Err(source) => Err(StoreError::File { path: path.into(), source }.into()),
    }
}

/// Returns a request for the headers of the whole file.
fn head_request(headers: &HeaderMap) -> Request {
    let mut request = Request::new(Body::empty());
    *request.method_mut() = Method::HEAD;
    *request.headers_mut() = headers.clone();
    for condition in [header::RANGE, header::IF_MATCH, header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE] {
        request.headers_mut().remove(condition);
    }
    request
}

/// Returns `body`, which keeps `hold` until it is sent.
fn held(body: Body, hold: Hold) -> Body {
    Body::new(body.map_frame(move |frame| {
        let _kept = &hold;
        frame
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_single_ranges_of_bytes_are_served_as_ranges() {
        let has = |range: &str| has_single_range(&HeaderMap::from_iter([(header::RANGE, range.parse().unwrap())]));
        for range in ["bytes=0-1", "bytes=5-", "bytes=-5", "Bytes=0-0"] {
            assert!(has(range), "{range}");
        }
        for range in ["items=0-1", "bytes=0-1,4-5", "bytes=5-1", "bytes=-", "bytes=a-b", "bytes", "bytes=0-1-2", ""] {
            assert!(!has(range), "{range}");
        }
    }
}
