//! Submission of tasks.

use ltx2_types::{TaskId, ValidRequest};

use crate::files::{self, UnusedFiles};
use crate::spawn::{blocking, to_completion};
use crate::submission::{Submission, Submitted, Upload};
use crate::{Store, StoreError, new_task_id};

impl Store {
    /// Queues `request` with its uploads and without options, as [`Store::submit`].
    pub async fn enqueue(&self, request: &ValidRequest, inputs: Vec<Upload>) -> Result<TaskId, StoreError> {
        Ok(self.submit(Submission::new(request.clone(), inputs)).await?.id().clone())
    }

    /// Queues a task, or returns the task of an earlier submission with the same key. When this returns, the task is
    /// durable.
    ///
    /// # Errors
    /// [`StoreError::QueueFull`], [`StoreError::KeyReused`], [`StoreError::InputsMismatch`] or
    /// [`StoreError::MissingInput`] if the submission is refused.
    pub async fn submit(&self, submission: Submission) -> Result<Submitted, StoreError> {
        if !submission.has_its_uploads() {
            return Err(StoreError::InputsMismatch);
        }
        // Before any file is written.
        if let Some(known) = self.shared.database.check(&submission).await? {
            return Ok(Submitted::Known(known));
        }
        let store = self.clone();
        to_completion(async move { store.store_submission(submission).await }).await
    }

    async fn store_submission(&self, mut submission: Submission) -> Result<Submitted, StoreError> {
        let inputs = submission.inputs.iter().map(|input| input.name().clone()).collect();
        let unused = UnusedFiles { inputs, ..UnusedFiles::default() };
        let written = self.write_uploads(std::mem::take(&mut submission.inputs)).await;
        let submitted = match written {
            Ok(uploads) => {
                submission.inputs = uploads;
                self.shared.database.submit(&new_task_id(), &submission).await
            }
            Err(error) => Err(error),
        };
        match &submitted {
            Ok(Submitted::Queued(id)) => self.notify_queue(id),
            Ok(Submitted::Known(_)) | Err(_) => self.remove_files(unused).await,
        }
        submitted
    }

    async fn write_uploads(&self, uploads: Vec<Upload>) -> Result<Vec<Upload>, StoreError> {
        if uploads.is_empty() {
            return Ok(uploads);
        }
        let folder = self.shared.files.inputs();
        blocking(move || {
            uploads.iter().try_for_each(|upload| files::write(&folder, upload.name(), upload.bytes()))?;
            files::sync_folder(&folder)?;
            Ok(uploads)
        })
        .await
    }
}
