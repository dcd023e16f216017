//! Work on other tasks and threads.

use crate::StoreError;

/// Runs `work` to its end even if the caller is dropped, so that a committed change is always followed by its cleanup
/// and its notification.
pub(crate) async fn to_completion<T: Send + 'static>(
    work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::spawn(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime shuts down, and closes the connections of the database.
            Err(_) => Err(sqlx::Error::PoolClosed.into()),
        },
    }
}

/// Runs file operations on a thread where they may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
