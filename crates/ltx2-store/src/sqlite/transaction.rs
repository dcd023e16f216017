//! Parts of write transactions that several changes share.

use ltx2_types::TaskId;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteQueryResult;

use super::events;
use crate::clock::now;
use crate::files::{Files, UnusedFiles};
use crate::task::EventKind;
use crate::{FileName, Lease, StoreError};

/// Checks that an update with the lease's token changed a row.
pub(super) fn check_lease(lease: &Lease, result: &SqliteQueryResult) -> Result<(), StoreError> {
    if result.rows_affected() == 0 { Err(lease_lost(lease)) } else { Ok(()) }
}

pub(super) fn lease_lost(lease: &Lease) -> StoreError {
    StoreError::LeaseLost(lease.task().clone())
}

/// Ends a task whose state was just changed: records the event, makes its webhook due and drops its inputs. Without a
/// result, drops its artifacts as well. Returns the files of what was dropped.
pub(super) async fn end(
    connection: &mut SqliteConnection,
    id: &TaskId,
    kind: EventKind,
) -> Result<UnusedFiles, StoreError> {
    events::insert(connection, id, kind, None).await?;
    let due = "UPDATE tasks SET webhook_due_at = ? WHERE id = ? AND webhook_url IS NOT NULL";
    sqlx::query(due).bind(now()).bind(id.as_str()).execute(&mut *connection).await?;
    drop_preview(connection, id).await?;
    let references = "DELETE FROM task_references WHERE task = ?";
    sqlx::query(references).bind(id.as_str()).execute(&mut *connection).await?;
    let inputs = "DELETE FROM task_inputs WHERE task = ? RETURNING file";
    let inputs: Vec<String> = sqlx::query_scalar(inputs).bind(id.as_str()).fetch_all(&mut *connection).await?;
    let outputs = if kind == EventKind::Completed { Vec::new() } else { drop_artifacts(connection, id).await? };
    Ok(UnusedFiles { inputs: file_names(inputs), outputs, assets: Vec::new() })
}

/// Queues a task again whose state was just changed: records the event and drops what its run left. Output files are
/// removed before the commit, after which another run may write files of the same names.
pub(super) async fn requeue(connection: &mut SqliteConnection, files: &Files, id: &TaskId) -> Result<(), StoreError> {
    events::insert(connection, id, EventKind::Queued, None).await?;
    drop_preview(connection, id).await?;
    let outputs = drop_artifacts(connection, id).await?;
    files.remove_unused(UnusedFiles { outputs, ..UnusedFiles::default() }).await;
    Ok(())
}

/// Deletes the preview of a run that is over.
async fn drop_preview(connection: &mut SqliteConnection, id: &TaskId) -> Result<(), StoreError> {
    let number = "UPDATE tasks SET preview_number = 0 WHERE id = ? AND preview_number > 0";
    if sqlx::query(number).bind(id.as_str()).execute(&mut *connection).await?.rows_affected() > 0 {
        sqlx::query("DELETE FROM previews WHERE task = ?").bind(id.as_str()).execute(connection).await?;
    }
    Ok(())
}

async fn drop_artifacts(connection: &mut SqliteConnection, id: &TaskId) -> Result<Vec<FileName>, StoreError> {
    let sql = "DELETE FROM artifacts WHERE task = ? RETURNING key";
    let keys: Vec<String> = sqlx::query_scalar(sql).bind(id.as_str()).fetch_all(connection).await?;
    Ok(file_names(keys))
}

pub(super) fn file_names(names: Vec<String>) -> Vec<FileName> {
    names.iter().filter_map(|name| FileName::parse(name)).collect()
}
