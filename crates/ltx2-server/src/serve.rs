//! A listener and a router, until told to stop.

use std::io;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// How long answers that are under way may take once the server was told to stop; container runtimes kill after 10 s.
const GRACE: Duration = Duration::from_secs(5);

/// Answers connections to `listener` until `shutdown` returns; then takes no new ones, and ends when the requests under
/// way are answered, or 5 seconds later.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let (stopping, stopped) = oneshot::channel();
    let signal = async move {
        shutdown.await;
        // The receiver is gone only when the server has ended already.
        let _ = stopping.send(());
    };
    let serving = axum::serve(listener, router).with_graceful_shutdown(signal);
    let mut serving = pin!(serving.into_future());
    tokio::select! {
        result = &mut serving => return result,
        _ = stopped => {}
    }
    tokio::time::timeout(GRACE, serving).await.unwrap_or_else(|_| {
        tracing::warn!("requests under way are cut off: they took longer than {} s", GRACE.as_secs());
        Ok(())
    })
}
