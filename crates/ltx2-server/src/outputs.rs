//! Downloads of results, with byte ranges for players.

use std::io::ErrorKind;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::response::Response;
use http_body_util::BodyExt;
use ltx2_store::{FileName, Hold, StoreError};
use tower_http::services::ServeFile;

use crate::error::ApiError;
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

/// Returns the file `name`, or the byte range of it that `request` asks for.
pub(crate) async fn send(service: &Service, name: &FileName, mut request: Request) -> Result<Response, ApiError> {
    // Held before the check, so that it is not deleted in between.
    let hold = service.store.hold(name).ok_or_else(ApiError::not_found)?;
    if !service.store.is_output(name).await? {
        return Err(ApiError::not_found());
    }
    let is_download = request.uri().query().is_some_and(|query| query.split('&').any(|part| part == "download=1"));
    if let Some(expected) = request.headers_mut().remove(header::IF_RANGE) {
        let current = serve(service, name, head_request(request.headers())).await?;
        if current.headers().get(header::ETAG) != Some(&expected) {
            request.headers_mut().remove(header::RANGE);
        }
    }
    let mut response = serve(service, name, request).await?;
    let kind = if is_download { "attachment" } else { "inline" };
    if let Ok(disposition) = HeaderValue::from_str(&format!("{kind}; filename=\"{name}\"")) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, disposition);
    }
    Ok(response.map(|body| held(body, hold)))
}

async fn serve(service: &Service, name: &FileName, request: Request) -> Result<Response, ApiError> {
    let path = service.store.output_path(name);
    match ServeFile::new(&path).try_call(request).await {
        Ok(response) => Ok(response.map(Body::new)),
        // Removed by hand.
        Err(error) if error.kind() == ErrorKind::NotFound => Err(ApiError::not_found()),
        Err(source) => Err(StoreError::File { path, source }.into()),
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
