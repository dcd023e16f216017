//! Submitting a request: validation, planning, idempotency and enqueueing.

use ltx2_store::{StoreError, Submission, SubmissionContent, SubmissionKey, Submitted, Upload, Webhook};
use ltx2_types::{FieldError, GenerationRequest, PlanSummary, ValidRequest, validate};

use crate::api_keys::Principal;
use crate::error::{ApiError, FieldProblem, ProblemKind};
use crate::state::Service;

/// A validated request with its terms.
pub(crate) struct SubmitRequest {
    /// Validated request.
    pub(crate) request: ValidRequest,
    /// Files that the request refers to.
    pub(crate) inputs: Vec<Upload>,
    /// Priority; higher runs first.
    pub(crate) priority: i32,
    /// Idempotency key.
    pub(crate) key: Option<SubmissionKey>,
    /// Content of a submission without a key.
    pub(crate) content: Option<SubmissionContent>,
    /// Receiver of the result.
    pub(crate) webhook: Option<Webhook>,
    /// API dialect of the client.
    pub(crate) dialect: &'static str,
    /// The client, if keys are required.
    pub(crate) owner: Option<Principal>,
}

/// Reason why a request was not queued.
pub(crate) enum SubmitError {
    /// The planner refused a field.
    Field(FieldError),
    /// Any other error.
    Api(ApiError),
}

impl From<StoreError> for SubmitError {
    fn from(error: StoreError) -> Self {
        Self::Api(error.into())
    }
}

/// Maximum length of an idempotency key.
const MAX_KEY: usize = 255;

impl Service {
    /// Checks `request` against the limits, fills in defaults and draws a random seed if it asks for one.
    ///
    /// # Errors
    /// Every field that breaks a rule.
    pub(crate) fn validate(&self, request: GenerationRequest) -> Result<ValidRequest, Vec<FieldError>> {
        // 32 bits: every client can send the seed back as a number.
        validate(request, &self.limits, || fastrand::u32(..).into())
    }

    /// Returns the webhook that calls `url`.
    ///
    /// # Errors
    /// The reason, as the end of "the URL is ..., but".
    pub(crate) fn webhook(&self, url: &str, base_url: &str) -> Result<Webhook, String> {
        let Some(rules) = &self.webhooks else {
            return Err("this server has no webhook secret and calls no webhooks".into());
        };
        let url = rules.allowed.check(url)?;
        Ok(Webhook { url: url.into(), base: base_url.into() })
    }

    /// Plans and queues a request, or finds the task that was queued with the same key.
    pub(crate) async fn submit(&self, submit: SubmitRequest) -> Result<Submitted, SubmitError> {
        let SubmitRequest { request, inputs, priority, key, content, webhook, dialect, owner } = submit;
        let (mut request, plan) = self.plan(request).await?;
        // The decision is final: the engine does not choose again.
        request.pipeline = Some(plan.pipeline);
        let ValidRequest { width, height, num_frames, .. } = request;
        let key = key.map(|key| match &owner {
            // Keys of one client are unknown to the others.
            Some(owner) => SubmissionKey { key: format!("{} {}", owner.name, key.key), ..key },
            None => key,
        });
        let submission = Submission {
            plan: Some(plan),
            priority,
            key,
            content,
            callback: webhook,
            max_waiting: Some(self.max_waiting),
            dialect: Some(dialect.into()),
            owner: owner.map(|owner| owner.name),
            ..Submission::new(request, inputs)
        };
        let submitted = self.store.submit(submission).await?;
        let id = submitted.id();
        match submitted {
            Submitted::Queued(_) => {
                tracing::info!(task = %id, "task {id} queued: {width}x{height}, {num_frames} frames")
            }
            Submitted::Known(_) => tracing::info!(task = %id, "task {id} was submitted before"),
        }
        Ok(submitted)
    }

    async fn plan(&self, request: ValidRequest) -> Result<(ValidRequest, PlanSummary), SubmitError> {
        let planner = self.plan_request.clone();
        let planned = tokio::task::spawn_blocking(move || planner(&request).map(|plan| (request, plan))).await;
        match planned {
            Ok(planned) => planned.map_err(SubmitError::Field),
            Err(error) => {
                tracing::error!(%error, "planning a request panicked: {error}");
                Err(SubmitError::Api(ApiError::internal()))
            }
        }
    }
}

/// Checks an idempotency key. Requests with equal fingerprints are the same request.
pub(crate) fn submission_key(
    key: Option<&str>,
    fingerprint: impl FnOnce() -> String,
) -> Result<SubmissionKey, ApiError> {
    match key.filter(|key| (1..=MAX_KEY).contains(&key.len())) {
        Some(key) => Ok(SubmissionKey { key: key.into(), fingerprint: fingerprint() }),
        None => {
            let message = format!("Idempotency-Key must be 1 to {MAX_KEY} ASCII characters");
            Err(FieldProblem::header(ProblemKind::KeyInvalid, "idempotency-key", message).into())
        }
    }
}
