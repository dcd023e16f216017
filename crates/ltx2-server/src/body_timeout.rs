//! Time limit of request bodies, against slow clients.

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

use crate::error::ApiError;

pin_project_lite::pin_project! {
    /// Body that fails if it is not complete at the deadline.
    struct TimedBody {
        #[pin]
        body: Body,
        #[pin]
        deadline: Sleep,
        is_late: Arc<AtomicBool>,
    }
}

impl HttpBody for TimedBody {
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

/// Middleware that limits the time for a body. If the body was late, the response says so, whatever the route returned.
pub(crate) async fn limit(State(timeout): State<Duration>, request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let is_late = Arc::new(AtomicBool::new(false));
    let request = request.map(|body| Body::new(TimedBody { body, deadline: sleep(timeout), is_late: is_late.clone() }));
    let response = next.run(request).await;
    if is_late.load(Ordering::Relaxed) { ApiError::body_timeout(timeout).into_response() } else { response }
}
