//! Previews of running tasks, made only while a client wants them.

use std::time::Duration;

use ltx2_types::TaskId;
use tokio::task::JoinHandle;

use crate::clock::after;
use crate::lease::Lease;
use crate::{Store, StoreError};

/// Time for which one request for a preview has further ones made.
const REQUEST: Duration = Duration::from_secs(300);
/// Time for which a viewer requests previews.
const VIEW: Duration = Duration::from_secs(6);
/// Interval at which a viewer renews its request.
const RENEW: Duration = Duration::from_secs(2);

/// Requests previews of a task until it is dropped, and a few seconds longer.
#[derive(Debug)]
pub struct PreviewViewer(JoinHandle<()>);

impl Drop for PreviewViewer {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Store {
    /// Requests previews of `id` as long as the viewer is kept.
    pub async fn view_previews(&self, id: &TaskId) -> Result<PreviewViewer, StoreError> {
        self.request_previews(id, VIEW).await?;
        let (store, id) = (self.clone(), id.clone());
        let renewal = async move {
            loop {
                tokio::time::sleep(RENEW).await;
                if let Err(error) = store.request_previews(&id, VIEW).await {
                    tracing::warn!(task = %id, %error, "previews could not be requested: {error}");
                }
            }
        };
        Ok(PreviewViewer(tokio::spawn(renewal)))
    }

    /// Requests previews of `id` for some minutes.
    pub async fn want_previews(&self, id: &TaskId) -> Result<(), StoreError> {
        self.request_previews(id, REQUEST).await
    }

    /// Requests previews of `id` for `time`. Writes nothing if two thirds of it are requested already.
    async fn request_previews(&self, id: &TaskId, time: Duration) -> Result<(), StoreError> {
        if self.shared.database.want_previews(id, after(time), after(time * 2 / 3)).await? {
            self.notify_signals(id);
        }
        Ok(())
    }

    /// Stores `jpeg` as the latest preview of the running task.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] if the task was reclaimed.
    pub async fn put_preview(&self, lease: &Lease, jpeg: &[u8]) -> Result<(), StoreError> {
        self.shared.database.put_preview(lease, jpeg).await?;
        self.notify_task(&lease.task);
        Ok(())
    }

    /// Returns the number and the JPEG of the latest preview of `id`; `None` without a preview.
    pub async fn preview(&self, id: &TaskId) -> Result<Option<(u32, Vec<u8>)>, StoreError> {
        self.shared.database.preview(id).await
    }
}
