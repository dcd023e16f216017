//! Putting tasks in, and looking at them.

use std::collections::HashSet;

use ltx2_types::ValidRequest;

use crate::record::TaskRow;
use crate::store::{blocking, now};
use crate::{FileName, InputFile, Store, StoreError, TaskId, TaskRecord, files};

impl Store {
    /// Queues `request` with the files that it names. When this returns, the task survives a power cut.
    pub async fn enqueue(&self, request: &ValidRequest, inputs: Vec<InputFile>) -> Result<TaskId, StoreError> {
        let named: HashSet<&str> = request.task.images().iter().map(|image| image.file.as_str()).collect();
        if named != inputs.iter().map(|input| input.name().as_str()).collect() {
            return Err(StoreError::InputsMismatch);
        }
        let request = serde_json::to_string(request)?;
        let names: Vec<FileName> = inputs.iter().map(|input| input.name().clone()).collect();
        let folder = self.shared.files.inputs();
        blocking(move || files::write_inputs(&folder, &inputs)).await?;
        match self.insert(&request, &names).await {
            Ok(id) => {
                self.shared.queued.notify_one();
                Ok(id)
            }
            Err(error) => {
                self.remove_inputs(names).await;
                Err(error)
            }
        }
    }

    /// The task `id`, if there is one.
    pub async fn task(&self, id: &TaskId) -> Result<Option<TaskRecord>, StoreError> {
        let sql =
            "SELECT *, (SELECT count(*) FROM tasks AS other WHERE other.state = 'queued' AND other.seq <= tasks.seq)
                   AS position FROM tasks WHERE id = ?";
        let row: Option<TaskRow> = sqlx::query_as(sql).bind(id.as_str()).fetch_optional(&self.shared.pool).await?;
        row.map(TaskRow::into_record).transpose()
    }

    /// Whether `name` is the result of a completed task.
    pub async fn is_output(&self, name: &FileName) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM tasks WHERE result_file = ? AND state = 'completed'";
        let found: Option<i64> = sqlx::query_scalar(sql).bind(name.as_str()).fetch_optional(&self.shared.pool).await?;
        Ok(found.is_some())
    }

    async fn insert(&self, request: &str, inputs: &[FileName]) -> Result<TaskId, StoreError> {
        let id = TaskId::random();
        let mut transaction = self.shared.pool.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query("INSERT INTO tasks (id, state, request, created_at) VALUES (?, 'queued', ?, ?)")
            .bind(id.as_str())
            .bind(request)
            .bind(now())
            .execute(&mut *transaction)
            .await?;
        for input in inputs {
            sqlx::query("INSERT INTO task_inputs (file, task) VALUES (?, ?)")
                .bind(input.as_str())
                .bind(id.as_str())
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(id)
    }

    /// Removes the inputs of a task that ended. What cannot be removed is swept at the next start.
    pub(crate) async fn forget_inputs(&self, task: &str) {
        let sql = "DELETE FROM task_inputs WHERE task = ? RETURNING file";
        let names: Result<Vec<String>, _> = sqlx::query_scalar(sql).bind(task).fetch_all(&self.shared.pool).await;
        match names {
            Ok(names) => self.remove_inputs(names.iter().filter_map(|name| FileName::parse(name)).collect()).await,
            Err(error) => tracing::warn!(task, %error, "the inputs of task {task} stay until the next start: {error}"),
        }
    }

    async fn remove_inputs(&self, names: Vec<FileName>) {
        let folder = self.shared.files.inputs();
        let removed = blocking(move || names.iter().try_for_each(|name| files::remove(&folder, name))).await;
        if let Err(error) = removed {
            tracing::warn!(%error, "an input file stays until the next start: {error}");
        }
    }
}
