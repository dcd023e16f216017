//! HTTP/1 server with timeouts for slow clients and a graceful shutdown.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;

/// Time for running requests at shutdown; container runtimes kill after 10 s.
const GRACE: Duration = Duration::from_secs(5);
/// Delay after a failed accept, for example when no file descriptor is left.
const RETRY: Duration = Duration::from_millis(100);

/// Limits of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Timeout for request headers, also on an idle keep-alive connection.
    pub head_timeout: Duration,
    /// Timeout for writing, if the client reads nothing.
    pub write_timeout: Duration,
    /// Maximum number of connections; further ones wait.
    pub max_connections: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self { head_timeout: Duration::from_secs(15), write_timeout: Duration::from_secs(60), max_connections: 16_384 }
    }
}

/// Serves connections of `listener` until `shutdown` completes, then accepts no new ones, and returns when the running
/// requests have ended, after at most 5 seconds.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: ConnectionLimits,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let graceful = GracefulShutdown::new();
    let slots = Arc::new(Semaphore::new(limits.max_connections));
    let mut shutdown = pin!(shutdown);
    loop {
        let slot = slots.clone().acquire_owned();
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = async { (slot.await, listener.accept().await) } => accepted,
        };
        match accepted {
            (Ok(slot), Ok((stream, _))) => {
                let connection = graceful.watch(connection(stream, router.clone(), limits));
                tokio::spawn(async move {
                    if let Err(error) = connection.await {
                        tracing::debug!(%error, "connection closed: {error}");
                    }
                    drop(slot);
                });
            }
            (_, Err(error)) => {
                tracing::warn!(%error, "cannot accept a connection: {error}");
                tokio::time::sleep(RETRY).await;
            }
            (Err(_), _) => break,
        }
    }
    drop(listener);
    if tokio::time::timeout(GRACE, graceful.shutdown()).await.is_err() {
        tracing::warn!("shutdown aborts requests that took longer than {} s", GRACE.as_secs());
    }
    Ok(())
}

type Connection = http1::Connection<
    TokioIo<std::pin::Pin<Box<TimeoutStream<TcpStream>>>>,
    TowerToHyperService<axum::routing::RouterIntoService<Incoming>>,
>;

fn connection(stream: TcpStream, router: Router, limits: ConnectionLimits) -> Connection {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY: {error}");
    }
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(limits.write_timeout));
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .serve_connection(TokioIo::new(Box::pin(stream)), TowerToHyperService::new(router.into_service::<Incoming>()))
}
