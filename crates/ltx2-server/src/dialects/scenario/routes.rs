//! Routes of Scenario's API.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::http::HeaderMap;
use axum::routing::{get, post};
use axum::{Json, Router};
use ltx2_store::{Cursor, LibraryCursor, LibraryItem, TaskId, TaskQuery, TaskRecord};
use serde::Deserialize;
use serde_json::{Value, json};

use super::jobs::{job, job_response, states};
use super::models::Model;
use super::wire::{AssetBody, DIALECT, JobResponse, JobStatus};
use super::{assets, generate};
use crate::body::{self, Fields, Item};
use crate::caller::{Caller, Urls};
use crate::error::{ApiError, FieldProblem, ProblemKind};
use crate::query::Parameters;
use crate::service::{DEFAULT_PAGE, Identity, MAX_PAGE, StoredId, StoredMedia, Terms, decode_base64};
use crate::state::Service;

type Shared = State<Arc<Service>>;

/// Query parameters of projects and teams, which a server of one's own does not have.
const IGNORED: [&str; 4] = ["projectId", "teamId", "ipDetection", "originalAssets"];

/// Returns the routes of this API, below `/v1`.
pub(crate) fn routes() -> Router<Arc<Service>> {
    Router::new()
        .route("/generate/custom/{model}", post(run_model))
        .route("/jobs", get(list_jobs))
        .route("/jobs/{id}", get(retrieve_job))
        .route("/jobs/{id}/action", post(act_on_job))
        .route("/assets", get(list_assets).post(create_asset).delete(delete_assets))
        .route("/assets/get-bulk", post(get_assets))
        .route("/assets/{id}", get(retrieve_asset))
}

/// Submits a request to a model id.
async fn run_model(
    State(service): Shared,
    Path(id): Path<String>,
    caller: Caller,
    headers: HeaderMap,
    mut query: Parameters,
    request: Request,
) -> Result<Json<JobResponse>, ApiError> {
    query.ignore(&IGNORED);
    if let Some(text) = query.text("dryRun").filter(|text| text != "false") {
        query.reject("dryRun", &text, "this server has no prices; omit it");
    }
    query.finish()?;
    let model = Model::find(&id).ok_or_else(|| ApiError::unknown("model", &id))?;
    let mut fields = body::read(request, service.body.max_bytes).await?;
    let identity = Identity::of(&headers, model.id, &fields)?;
    let Some(draft) = generate::draft(model, &service.model, &mut fields) else { return Err(fields.into_error()) };
    let terms =
        Terms { dialect: DIALECT, caller: &caller, identity, name_of: generate::name_of, priority: 0, webhook: None };
    let submitted = service.submit_draft(draft, fields, terms).await?;
    let record = service.task(submitted.id()).await?.ok_or_else(ApiError::internal)?;
    Ok(Json(job_response(&record)))
}

async fn find_job(service: &Service, id: &str) -> Result<TaskRecord, ApiError> {
    let task = StoredId::parse(id).and_then(|id| TaskId::parse(&id.digits));
    let record = match task {
        Some(id) => service.task(&id).await?,
        None => None,
    };
    record.ok_or_else(|| ApiError::unknown("job", id))
}

async fn retrieve_job(
    State(service): Shared,
    Path(id): Path<String>,
    mut query: Parameters,
) -> Result<Json<JobResponse>, ApiError> {
    query.ignore(&IGNORED);
    query.finish()?;
    Ok(Json(job_response(&find_job(&service, &id).await?)))
}

async fn list_jobs(State(service): Shared, mut query: Parameters) -> Result<Json<Value>, ApiError> {
    query.ignore(&IGNORED);
    // Jobs hold no results, only their ids; all jobs of this server are of one type and one author.
    query.ignore(&["hideResults", "types"]);
    let limit = page_size(&mut query);
    let after = query.parse_with("paginationToken", "it is not a nextPaginationToken of this server", Cursor::parse);
    let status: Option<JobStatus> = query.parse("status", &format!("it must be one of {}", job_statuses()));
    query.finish()?;
    let mut tasks = TaskQuery { after, ..TaskQuery::newest(limit) };
    if let Some(status) = status {
        tasks.states = states(status).to_vec();
    }
    let page = service.list(tasks).await?;
    let jobs = page.tasks.iter().map(job).filter(|job| status.is_none_or(|status| job.status == status));
    let mut body = json!({ "jobs": jobs.collect::<Vec<_>>() });
    if let Some(next) = page.next {
        body["nextPaginationToken"] = next.text().into();
    }
    Ok(Json(body))
}

fn job_statuses() -> String {
    use strum::VariantNames;
    JobStatus::VARIANTS.join(", ")
}

fn page_size(query: &mut Parameters) -> u32 {
    let rule = format!("it must be a whole number between 1 and {MAX_PAGE}");
    let size =
        query.parse_with("pageSize", &rule, |text| text.parse().ok().filter(|size| (1..=MAX_PAGE).contains(size)));
    size.unwrap_or(DEFAULT_PAGE)
}

/// Body of an action.
#[derive(Deserialize)]
struct ActionRequest {
    action: Action,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    Cancel,
}

async fn act_on_job(
    State(service): Shared,
    Path(id): Path<String>,
    request: Request,
) -> Result<Json<JobResponse>, ApiError> {
    let mut fields = body::read(request, service.body.max_bytes).await?;
    let action = fields.read::<ActionRequest>();
    let (Some(ActionRequest { action: Action::Cancel }), true) = (action, fields.is_valid()) else {
        return Err(fields.into_error());
    };
    let record = find_job(&service, &id).await?;
    if record.finished_at.is_some() {
        return Err(ApiError::conflict(format!("{id} has ended and cannot be cancelled")));
    }
    service.remove(&record.id).await?;
    Ok(Json(job_response(&find_job(&service, &id).await?)))
}

/// Body of an upload of a small file.
#[derive(Deserialize)]
struct AssetRequest {
    name: Option<String>,
    image: Option<String>,
}

/// Fields of an upload that organize the hosted library, which this server does not have.
const LIBRARY_FIELDS: [&str; 4] = ["parentId", "collectionIds", "hide", "thumbnail"];

/// Stores an image in base64 as an asset.
async fn create_asset(
    State(service): Shared,
    caller: Caller,
    mut query: Parameters,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    query.ignore(&IGNORED);
    query.finish()?;
    let mut fields = body::read(request, service.body.max_bytes).await?;
    for name in LIBRARY_FIELDS {
        fields.remove(name);
    }
    let Some(request) = fields.read::<AssetRequest>() else { return Err(fields.into_error()) };
    let Some(bytes) = image_bytes(request.image.as_deref(), &mut fields) else { return Err(fields.into_error()) };
    if !fields.is_valid() {
        return Err(fields.into_error());
    }
    match service.create_asset(request.name, bytes, caller.principal.as_ref()).await? {
        Ok(asset) => Ok(Json(json!({ "asset": assets::uploaded(&asset, &caller.urls) }))),
        Err((kind, reason)) => Err(FieldProblem::field(kind, "image", format!("image: {reason}"), Value::Null).into()),
    }
}

/// Returns the bytes of `image`: base64 or a data URL.
fn image_bytes(image: Option<&str>, fields: &mut Fields) -> Option<Bytes> {
    let Some(text) = image else {
        if !fields.has_problem("image") {
            fields.push(FieldProblem::missing("image"));
        }
        return None;
    };
    let bytes = decode_base64(text.rsplit_once(";base64,").map_or(text, |(_, data)| data));
    if bytes.is_none() {
        fields.reject(ProblemKind::ImageInvalid, "image", "it must be a file in base64 or a data URL");
    }
    bytes.map(Bytes::from)
}

/// Returns the asset with the id `id`; `None` if there is none.
async fn find_asset(service: &Service, id: &str, urls: &Urls) -> Result<Option<AssetBody>, ApiError> {
    let Some(id) = StoredId::parse(id) else { return Ok(None) };
    Ok(match service.stored_media(&id.digits).await? {
        Some(StoredMedia::Asset(asset)) => Some(assets::uploaded(&asset, urls)),
        Some(StoredMedia::Task(task)) => assets::result(&task, urls),
        None => None,
    })
}

async fn retrieve_asset(
    State(service): Shared,
    Path(id): Path<String>,
    caller: Caller,
    mut query: Parameters,
) -> Result<Json<Value>, ApiError> {
    query.ignore(&IGNORED);
    query.finish()?;
    let asset = find_asset(&service, &id, &caller.urls).await?.ok_or_else(|| ApiError::unknown("asset", &id))?;
    Ok(Json(json!({ "asset": asset })))
}

async fn list_assets(State(service): Shared, caller: Caller, mut query: Parameters) -> Result<Json<Value>, ApiError> {
    query.ignore(&IGNORED);
    let limit = page_size(&mut query);
    let rule = "it is not a nextPaginationToken of this server";
    let after = query.parse_with("paginationToken", rule, LibraryCursor::parse);
    query.finish()?;
    let page = service.library(after.as_ref(), limit).await?;
    let body = |item: &LibraryItem| match item {
        LibraryItem::Asset(asset) => Some(assets::uploaded(asset, &caller.urls)),
        LibraryItem::Result(task) => assets::result(task, &caller.urls),
    };
    let mut response = json!({ "assets": page.items.iter().filter_map(body).collect::<Vec<_>>() });
    if let Some(next) = page.next {
        response["nextPaginationToken"] = next.text().into();
    }
    Ok(Json(response))
}

/// Body with the ids of assets.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AssetIds {
    asset_ids: Vec<Item<String>>,
}

/// Maximum number of assets in one request.
const MAX_ASSETS: usize = 200;

async fn asset_ids(service: &Service, request: Request) -> Result<Vec<String>, ApiError> {
    let mut fields = body::read(request, service.body.max_bytes).await?;
    let ids = fields.read::<AssetIds>().map(|ids| ids.asset_ids).unwrap_or_default();
    if ids.len() > MAX_ASSETS {
        fields.reject(ProblemKind::TooLong, "assetIds", &format!("there may be at most {MAX_ASSETS}"));
    }
    let mut texts = Vec::new();
    for (i, Item(id)) in ids.into_iter().enumerate() {
        match id {
            Ok(id) => texts.push(id),
            Err(rule) => fields.reject(ProblemKind::StringType, "assetIds", &format!("in element {i}, {rule}")),
        }
    }
    if fields.is_valid() { Ok(texts) } else { Err(fields.into_error()) }
}

/// Returns several assets; unknown ids are left out.
async fn get_assets(State(service): Shared, caller: Caller, request: Request) -> Result<Json<Value>, ApiError> {
    let mut found = Vec::new();
    for id in asset_ids(&service, request).await? {
        found.extend(find_asset(&service, &id, &caller.urls).await?);
    }
    Ok(Json(json!({ "assets": found })))
}

/// Deletes assets and results; unknown ids are ignored, so that a repeated request succeeds.
async fn delete_assets(State(service): Shared, request: Request) -> Result<Json<Value>, ApiError> {
    for id in asset_ids(&service, request).await? {
        if let Some(id) = StoredId::parse(&id) {
            service.delete_media(&id.digits).await?;
        }
    }
    Ok(Json(json!({})))
}
