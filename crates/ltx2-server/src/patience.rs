//! How long a request's body may take: a client that sends a byte a second is not waited for.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use crate::Service;
use crate::error::ApiError;

pin_project_lite::pin_project! {
    /// A body that fails when it is not complete in time.
    struct Timed {
        #[pin]
        body: Body,
        #[pin]
        deadline: Sleep,
        is_late: Arc<AtomicBool>,
    }
}

impl HttpBody for Timed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.project();
        if let Poll::Ready(frame) = this.body.poll_frame(cx) {
            return Poll::Ready(frame);
        }
        std::task::ready!(this.deadline.poll(cx));
        this.is_late.store(true, Ordering::Relaxed);
        Poll::Ready(Some(Err(axum::Error::new("the body took too long"))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Gives bodies their time; a request whose body was late is answered so, whatever its route made of it.
pub(crate) async fn limit(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let timeout = service.body.timeout;
    let is_late = Arc::new(AtomicBool::new(false));
    let request = request.map(|body| Body::new(timed(body, timeout, is_late.clone())));
    let response = next.run(request).await;
    if is_late.load(Ordering::Relaxed) { ApiError::TooSlow(timeout).into_response() } else { response }
}

fn timed(body: Body, timeout: Duration, is_late: Arc<AtomicBool>) -> Timed {
    Timed { body, deadline: sleep(timeout), is_late }
}
