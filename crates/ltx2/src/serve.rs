//! `ltx2 serve`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use ltx2_media::{ImageLimits, read_image};
use ltx2_server::{DEFAULT_MAX_BODY, EngineStatus, PublicUrl, Service};
use ltx2_store::Store;
use ltx2_types::Limits;
use ltx2_worker::{Settings, Worker, WorkerHandle};
use tokio::net::TcpListener;

use crate::models::ModelArguments;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    models: ModelArguments,
    /// Address to listen on; 0.0.0.0 is every network of this machine.
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// Port to listen on; 0 takes any free one.
    #[arg(long, default_value_t = 8004)]
    port: u16,
    /// Folder for tasks and videos; made if it is not there.
    #[arg(long, value_name = "DIR", default_value = "data")]
    data_dir: PathBuf,
    /// How clients reach this server, for the URLs in answers [default: as the client called it].
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// Seconds without a task after which the model is unloaded; 0 keeps it.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    idle_timeout: u64,
}

pub fn run(arguments: Arguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(arguments))
}

async fn serve(arguments: Arguments) -> anyhow::Result<()> {
    let public_url = arguments.public_url.as_deref().map(PublicUrl::parse).transpose()?;
    let store = Store::open(&arguments.data_dir).await?;
    let worker = start_worker(&arguments, store.clone()).await?;
    let status = worker.watch_status();
    let router = Service {
        store: store.clone(),
        limits: Limits::server(),
        engine: Arc::new(move || {
            let status = *status.borrow();
            EngineStatus { device: status.device, loaded: status.loaded }
        }),
        check_image: Arc::new(|bytes| {
            read_image(bytes, ImageLimits::default()).map(drop).map_err(|error| error.to_string())
        }),
        public_url,
        max_body: DEFAULT_MAX_BODY,
    }
    .into_router();
    let wanted = (arguments.host.as_str(), arguments.port);
    let listener =
        TcpListener::bind(wanted).await.with_context(|| format!("cannot listen on {}:{}", wanted.0, wanted.1))?;
    announce(listener.local_addr()?);
    tokio::select! {
        served = ltx2_server::serve(listener, router, stop_signal()) => served?,
        () = worker.ended() => bail!("the worker ended by itself; its panic is above"),
    }
    tracing::info!("stopping: a task that runs goes back to the queue");
    worker.shutdown().await?;
    store.close().await;
    Ok(())
}

async fn start_worker(arguments: &Arguments, store: Store) -> anyhow::Result<WorkerHandle> {
    let models = arguments.models.clone();
    let idle_timeout = (arguments.idle_timeout > 0).then(|| Duration::from_secs(arguments.idle_timeout));
    let settings = Settings { idle_timeout, ..Settings::default() };
    Ok(Worker::spawn(store, move || Ok(models.engine()?), settings).await?)
}

fn announce(address: SocketAddr) {
    tracing::info!(%address, "listening on http://{address}");
    if !address.ip().is_loopback() {
        tracing::warn!("there are no API keys: whoever reaches this address can use the server");
    }
}

/// Ends with Ctrl-C or, as service managers send it, SIGTERM.
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
