//! The finished videos, with ranges, as players want them.

use std::io::ErrorKind;
use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use ltx2_store::{FileName, StoreError};
use tower_http::services::ServeFile;

use crate::Service;
use crate::error::ApiError;

pub(crate) async fn output(
    State(service): State<Arc<Service>>,
    name: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let Path(name) = name.map_err(|_| ApiError::NotFound)?;
    let name = FileName::parse(&name).ok_or(ApiError::NotFound)?;
    if !service.store.is_output(&name).await? {
        return Err(ApiError::NotFound);
    }
    let path = service.store.output_path(&name);
    match ServeFile::new(&path).try_call(request).await {
        Ok(response) => Ok(response.into_response()),
        // Someone has removed the file by hand.
        Err(error) if error.kind() == ErrorKind::NotFound => Err(ApiError::NotFound),
        Err(source) => Err(StoreError::File { path, source }.into()),
    }
}
