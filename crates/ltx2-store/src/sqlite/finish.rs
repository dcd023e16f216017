//! Ends of runs: results, failures and releases.

use ltx2_types::Failure;
use sqlx::SqliteConnection;

use super::database::Database;
use super::transaction::{check_lease, end, lease_lost, requeue};
use crate::clock::now;
use crate::files::{Files, UnusedFiles};
use crate::task::{Completion, EventKind};
use crate::{Lease, StoreError};

impl Database {
    /// Stores the result of a running task before its files get their names.
    pub(crate) async fn prepare(&self, lease: &Lease, completion: &Completion) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        store_result(&mut transaction, lease, completion).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Ends a task with a result.
    pub(crate) async fn complete(&self, lease: &Lease, completion: &Completion) -> Result<UnusedFiles, StoreError> {
        let mut transaction = self.begin().await?;
        store_result(&mut transaction, lease, completion).await?;
        let sql = "UPDATE tasks SET state = 'completed', finished_at = ?,
                       lease_owner = NULL, lease_token = NULL, lease_expires_at = NULL
                   WHERE id = ? AND lease_token = ?";
        let query = sqlx::query(sql).bind(now()).bind(lease.task.as_str()).bind(&lease.token);
        check_lease(lease, &query.execute(&mut *transaction).await?)?;
        let unused = end(&mut transaction, &lease.task, EventKind::Completed).await?;
        transaction.commit().await?;
        Ok(unused)
    }

    /// Ends a task without a result.
    pub(crate) async fn fail(&self, lease: &Lease, failure: &Failure) -> Result<UnusedFiles, StoreError> {
        let mut transaction = self.begin().await?;
        let unused = fail(&mut transaction, lease, failure).await?;
        transaction.commit().await?;
        Ok(unused)
    }

    /// Puts a running task back to its old position in the queue, as if it had not been started.
    pub(crate) async fn release(&self, files: &Files, lease: &Lease) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        let sql = "UPDATE tasks SET attempts = attempts - 1 WHERE id = ? AND lease_token = ?";
        let query = sqlx::query(sql).bind(lease.task.as_str()).bind(&lease.token);
        check_lease(lease, &query.execute(&mut *transaction).await?)?;
        queue_again(&mut transaction, files, lease).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Counts an engine crash and puts the task back to its old position in the queue. From `max_crashes` crashes on,
    /// fails the task with what `give_up` returns for their number, and returns that failure.
    pub(crate) async fn release_after_crash(
        &self,
        files: &Files,
        lease: &Lease,
        max_crashes: u32,
        give_up: impl FnOnce(u32) -> Failure + Send,
    ) -> Result<(UnusedFiles, Option<Failure>), StoreError> {
        let mut transaction = self.begin().await?;
        let sql = "UPDATE tasks SET engine_crashes = engine_crashes + 1 WHERE id = ? AND lease_token = ?
                   RETURNING engine_crashes";
        let query = sqlx::query_scalar(sql).bind(lease.task.as_str()).bind(&lease.token);
        let crashes: Option<u32> = query.fetch_optional(&mut *transaction).await?;
        let crashes = crashes.ok_or_else(|| lease_lost(lease))?;
        let failure = (crashes >= max_crashes).then(|| give_up(crashes));
        let unused = match &failure {
            Some(failure) => fail(&mut transaction, lease, failure).await?,
            None => {
                queue_again(&mut transaction, files, lease).await?;
                UnusedFiles::default()
            }
        };
        transaction.commit().await?;
        Ok((unused, failure))
    }
}

/// Replaces the stored result of a running task.
async fn store_result(
    connection: &mut SqliteConnection,
    lease: &Lease,
    completion: &Completion,
) -> Result<(), StoreError> {
    let task = lease.task.as_str();
    let sql = "UPDATE tasks SET pipeline = ?, enhanced_prompt = ? WHERE id = ? AND lease_token = ?";
    let query = sqlx::query(sql).bind(completion.pipeline.name()).bind(&completion.enhanced_prompt);
    let query = query.bind(task).bind(&lease.token);
    check_lease(lease, &query.execute(&mut *connection).await?)?;
    sqlx::query("DELETE FROM artifacts WHERE task = ?").bind(task).execute(&mut *connection).await?;
    for (number, output) in (0_i64..).zip(&completion.outputs) {
        let sql = "INSERT INTO artifacts (task, number, role, key, mime, bytes, width, height, duration, note)
                   VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
        sqlx::query(sql)
            .bind(task)
            .bind(number)
            .bind(output.role.name())
            .bind(output.key.as_str())
            .bind(&output.mime)
            .bind(i64::try_from(output.bytes).unwrap_or(i64::MAX))
            .bind(output.width)
            .bind(output.height)
            .bind(output.duration)
            .bind(&output.note)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

async fn fail(connection: &mut SqliteConnection, lease: &Lease, failure: &Failure) -> Result<UnusedFiles, StoreError> {
    let sql = "UPDATE tasks SET state = 'failed', error_code = ?, error_message = ?, finished_at = ?,
                   pipeline = NULL, enhanced_prompt = NULL,
                   lease_owner = NULL, lease_token = NULL, lease_expires_at = NULL
               WHERE id = ? AND lease_token = ?";
    let query = sqlx::query(sql).bind(failure.code.name()).bind(&failure.message).bind(now());
    let query = query.bind(lease.task.as_str()).bind(&lease.token);
    check_lease(lease, &query.execute(&mut *connection).await?)?;
    end(connection, &lease.task, EventKind::Failed).await
}

async fn queue_again(connection: &mut SqliteConnection, files: &Files, lease: &Lease) -> Result<(), StoreError> {
    let sql = "UPDATE tasks SET state = 'queued', started_at = NULL, phase = NULL, step = NULL, total_steps = NULL,
                   pipeline = NULL, enhanced_prompt = NULL,
                   lease_owner = NULL, lease_token = NULL, lease_expires_at = NULL
               WHERE id = ? AND lease_token = ?";
    let query = sqlx::query(sql).bind(lease.task.as_str()).bind(&lease.token);
    check_lease(lease, &query.execute(&mut *connection).await?)?;
    requeue(connection, files, &lease.task).await
}
