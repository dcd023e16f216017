//! `ltx2 serve`.

mod arguments;

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use ltx2_media::{probe_source, read_image};
use ltx2_pipeline::plan::{WeightSizes, estimate, plan_request};
use ltx2_pipeline::{ExecutionConfig, LoraReport, ModelSet};
use ltx2_server::{
    EngineActivity, EngineControl, EngineStatus, LoraList, ModelInfo, PublicUrl, RequestPlanner, Service, SourceFile,
    WebhookRules, call_webhooks,
};
use ltx2_store::{Store, StoreOptions};
use ltx2_types::{
    Field, FieldError, ImageLimits, Limits, Pipeline, PlanSummary, Rule, SourceInfo, ValidRequest, VariantArray,
};
use ltx2_worker::{Activity, Worker, WorkerControl, WorkerHandle, WorkerSettings};
use tempfile::NamedTempFile;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::arguments::{
    AccessArguments, ConnectionArguments, FetchArguments, LimitArguments, RetentionArguments, WebhookArguments,
};
use crate::engine;
use crate::models::{ModelArguments, limits_for};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    models: ModelArguments,
    /// Address to listen on; 0.0.0.0 listens on all interfaces.
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// Port to listen on; 0 selects a free port.
    #[arg(long, default_value_t = 8004)]
    port: u16,
    /// Folder for tasks and videos; created if it does not exist.
    #[arg(long, value_name = "DIR", default_value = "data")]
    data_dir: PathBuf,
    /// Address of this server in the URLs of responses [default: the address that the client used].
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// Seconds without a task after which the model is unloaded; 0 keeps it loaded.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    idle_timeout: u64,
    /// Maximum number of starts of a task that the server did not finish because it was stopped or killed.
    #[arg(long, value_name = "N", default_value_t = StoreOptions::default().max_starts, value_parser = clap::value_parser!(u32).range(1..))]
    max_starts: u32,
    #[command(flatten)]
    limits: LimitArguments,
    #[command(flatten)]
    connections: ConnectionArguments,
    #[command(flatten)]
    access: AccessArguments,
    #[command(flatten)]
    webhooks: WebhookArguments,
    #[command(flatten)]
    fetch: FetchArguments,
    #[command(flatten)]
    retention: RetentionArguments,
}

pub fn run(arguments: Arguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(arguments))
}

async fn serve(arguments: Arguments) -> anyhow::Result<()> {
    // Invalid settings are reported before anything is created.
    let public_url = arguments.public_url.as_deref().map(PublicUrl::parse).transpose()?;
    let (api_keys, cors) = (arguments.access.api_keys()?, arguments.access.cors()?);
    let webhooks = arguments.webhooks.rules()?;
    let models = arguments.models.open()?;
    let limits = limits_for(arguments.limits.request(), &models)?;
    let loras = lora_list(&models.lora_report(), &arguments.models.models);
    let model = model_info(&models, &limits);
    let plan_request = request_planner(&arguments, models)?;
    let image_limits = arguments.limits.image();
    let store = Store::open_with(&arguments.data_dir, StoreOptions { max_starts: arguments.max_starts }).await?;
    let worker_lock = store.lock_worker()?;
    let recovered = store.recover(&worker_lock).await?;
    if recovered > 0 {
        tracing::info!(tasks = recovered, "tasks recovered that ran when the server last stopped");
    }
    // No other process writes files while this one holds the lock.
    store.sweep(Duration::ZERO).await?;
    let worker = start_worker(&arguments, store.clone()).await?;
    let is_open = api_keys.is_empty();
    let closing = CancellationToken::new();
    let decoder = Mutex::new(());
    let router = ltx2_server::router(Service {
        store: store.clone(),
        limits,
        max_waiting: arguments.limits.max_waiting(),
        engine: engine_control(worker.control()),
        check_image: Arc::new(move |bytes| {
            // One image at a time: a large one takes hundreds of megabytes.
            let _turn = decoder.lock().unwrap_or_else(PoisonError::into_inner);
            read_image(bytes, image_limits).map(|image| (image.width, image.height)).map_err(|error| error.to_string())
        }),
        probe_source: Arc::new(move |file| probe(file, image_limits)),
        plan_request,
        model,
        loras,
        public_url,
        body: arguments.connections.body(arguments.limits.max_body()),
        api_keys,
        cors,
        webhooks: webhooks.clone(),
        fetcher: arguments.fetch.fetcher(arguments.limits.max_body())?,
        closing: closing.clone(),
    });
    // The brackets of an IPv6 address in a URL are not part of the address.
    let host = arguments.host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&arguments.host);
    let wanted = (host, arguments.port);
    let listener =
        TcpListener::bind(wanted).await.with_context(|| format!("cannot listen on {}:{}", wanted.0, wanted.1))?;
    announce(listener.local_addr()?, is_open);
    tokio::spawn(store.clone().keep_house(arguments.retention.retention()));
    if let Some(rules) = webhooks {
        tokio::spawn(webhook_calls(store.clone(), rules));
    }
    let connections = arguments.connections.connections();
    let stop = async {
        stop_signal().await;
        closing.cancel();
    };
    tokio::select! {
        served = ltx2_server::serve(listener, router, connections, stop) => served?,
        () = worker.ended() => bail!("the worker ended unexpectedly; its panic is logged above"),
    }
    tracing::info!("stopping; a running task goes back to the queue");
    worker.shutdown().await?;
    store.close().await;
    Ok(())
}

/// Returns the streams of a video or audio.
fn probe(file: SourceFile<'_>, limits: ImageLimits) -> Result<SourceInfo, String> {
    let probe = |path: &Path| probe_source(path, limits).map_err(|error| error.to_string());
    match file {
        SourceFile::Path(path) => probe(path),
        SourceFile::Bytes(bytes) => {
            let unwritten = |error: std::io::Error| format!("it cannot be checked: {error}");
            let mut file = NamedTempFile::new().map_err(unwritten)?;
            file.write_all(bytes).map_err(unwritten)?;
            probe(file.path())
        }
    }
}

async fn start_worker(arguments: &Arguments, store: Store) -> anyhow::Result<WorkerHandle> {
    let models = arguments.models.clone();
    let idle_timeout = (arguments.idle_timeout > 0).then(|| Duration::from_secs(arguments.idle_timeout));
    let settings = WorkerSettings { idle_timeout, image: arguments.limits.image(), ..WorkerSettings::default() };
    Ok(Worker::spawn(store, Box::new(move || engine::launch(&models)), settings).await?)
}

async fn webhook_calls(store: Store, rules: WebhookRules) {
    if let Err(error) = call_webhooks(store, rules).await {
        tracing::error!(%error, "webhooks cannot be sent: {error}");
    }
}

fn engine_control(worker: WorkerControl) -> EngineControl {
    let unloading = worker.clone();
    EngineControl {
        status: Arc::new(move || {
            let status = worker.status();
            let activity = match status.activity {
                Activity::Idle => EngineActivity::Idle,
                Activity::Busy => EngineActivity::Generating,
            };
            EngineStatus { device: status.device.name(), loaded: status.loaded, activity }
        }),
        unload: Arc::new(move || {
            let worker = unloading.clone();
            Box::pin(async move { worker.unload().await })
        }),
    }
}

/// Returns the properties of `models` for responses.
fn model_info(models: &ModelSet, limits: &Limits) -> ModelInfo {
    let capabilities = models.capabilities();
    let kind = if capabilities.distilled { "-distilled" } else { "" };
    let supports = |pipeline: &Pipeline| {
        let request = ValidRequest { pipeline: Some(*pipeline), ..limits.defaults.clone() };
        plan_request(&request, &capabilities).is_ok()
    };
    ModelInfo {
        name: format!("ltx-{}{kind}", capabilities.version),
        is_distilled: capabilities.distilled,
        pipelines: Pipeline::VARIANTS.iter().copied().filter(supports).collect(),
        version: capabilities.version.clone(),
    }
}

/// Returns the LoRAs of `report`, with the files below `folder`.
fn lora_list(report: &LoraReport, folder: &Path) -> LoraList {
    let unusable = |(path, reason): &(PathBuf, String)| {
        let file = path.strip_prefix(folder).unwrap_or(path).display().to_string();
        tracing::warn!(file, reason, "{file} cannot be used as a LoRA: {reason}");
        (file, reason.clone())
    };
    LoraList {
        names: report.usable.iter().map(|(name, _)| name.clone()).collect(),
        cameras: report.cameras.clone(),
        unusable: report.unusable.iter().map(unusable).collect(),
    }
}

/// Returns the planner for `models`. It refuses requests that the model set does not support, LoRAs that do not fit it,
/// and requests whose memory estimate exceeds the configured limit.
fn request_planner(arguments: &Arguments, models: ModelSet) -> anyhow::Result<Arc<RequestPlanner>> {
    let limit = match arguments.limits.max_memory() {
        Some(bytes) => {
            let execution = arguments.models.execution()?;
            Some(MemoryLimit { bytes, sizes: models.weight_sizes(execution.precision.dtype()), execution })
        }
        None => None,
    };
    Ok(Arc::new(move |request| plan(request, &models, limit.as_ref())))
}

/// Memory limit of requests, with the values that the estimate needs.
struct MemoryLimit {
    bytes: u64,
    sizes: WeightSizes,
    execution: ExecutionConfig,
}

fn plan(request: &ValidRequest, models: &ModelSet, limit: Option<&MemoryLimit>) -> Result<PlanSummary, FieldError> {
    let plan = plan_request(request, &models.capabilities())?;
    models.check_loras(&plan)?;
    if let Some(limit) = limit {
        let peak = estimate(&plan, &limit.sizes, limit.execution).peak as u64;
        if peak > limit.bytes {
            return Err(too_large(request, peak, limit.bytes));
        }
    }
    Ok(plan.summary())
}

fn too_large(request: &ValidRequest, peak: u64, max_bytes: u64) -> FieldError {
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    let ValidRequest { width, height, num_frames, .. } = request;
    let rule = format!(
        "{width}x{height} with {num_frames} frames takes about {:.1} GiB and this server allows {:.1} GiB; take fewer \
         frames or a smaller size",
        gib(peak),
        gib(max_bytes)
    );
    FieldError::new(Field::NumFrames, num_frames, Rule::Supported(rule))
}

fn announce(address: SocketAddr, is_open: bool) {
    tracing::info!(%address, "listening on http://{address}");
    if is_open {
        tracing::warn!("no API keys are set: anyone who can reach this address can use the server");
    }
}

/// Returns on Ctrl-C or SIGTERM, which service managers send.
async fn stop_signal() {
    let interrupt = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut terminate) => tokio::select! {
                _ = interrupt => {}
                _ = terminate.recv() => {}
            },
            Err(_) => drop(interrupt.await),
        }
    }
    #[cfg(not(unix))]
    drop(interrupt.await);
}
