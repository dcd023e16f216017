//! Heartbeats of running tasks.

use ltx2_types::{Phase, Progress};
use sqlx::SqliteConnection;

use super::database::Database;
use super::events;
use super::transaction::{check_lease, lease_lost};
use crate::clock::{after, millis, now};
use crate::task::EventKind;
use crate::{Lease, Signals, StoreError};

#[derive(sqlx::FromRow)]
struct RunningRow {
    phase: Option<String>,
    lease_expires_at: Option<i64>,
    cancel_requested: bool,
    preview_wanted_until: Option<i64>,
}

impl RunningRow {
    fn signals(&self) -> Signals {
        let previews = self.preview_wanted_until.is_some_and(|until| until > now());
        Signals { cancel: self.cancel_requested, previews }
    }

    /// Whether less than two thirds of the lease are left.
    fn is_due(&self, lease: &Lease) -> bool {
        let left = self.lease_expires_at.unwrap_or(0).saturating_sub(now());
        left < millis(lease.length) / 3 * 2
    }
}

impl Database {
    /// Renews `lease`, records `progress` and returns the signals. Writes only if there is progress or the lease was
    /// last renewed a third of its length ago, so that a worker may call it several times a second.
    pub(crate) async fn heartbeat(&self, lease: &Lease, progress: &[Progress]) -> Result<Signals, StoreError> {
        if progress.is_empty() {
            let mut connection = self.reader.acquire().await?;
            let row = running_row(&mut connection, lease).await?;
            if !row.is_due(lease) {
                return Ok(row.signals());
            }
        }
        let mut transaction = self.begin().await?;
        let row = running_row(&mut transaction, lease).await?;
        let renew = "UPDATE tasks SET lease_expires_at = ? WHERE id = ? AND lease_token = ?";
        let query = sqlx::query(renew).bind(after(lease.length)).bind(lease.task.as_str()).bind(&lease.token);
        check_lease(lease, &query.execute(&mut *transaction).await?)?;
        record(&mut transaction, lease, row.phase.as_deref(), progress).await?;
        transaction.commit().await?;
        Ok(row.signals())
    }
}

async fn running_row(connection: &mut SqliteConnection, lease: &Lease) -> Result<RunningRow, StoreError> {
    let sql = "SELECT phase, lease_expires_at, cancel_requested, preview_wanted_until FROM tasks
               WHERE id = ? AND lease_token = ?";
    let query = sqlx::query_as(sql).bind(lease.task.as_str()).bind(&lease.token);
    query.fetch_optional(connection).await?.ok_or_else(|| lease_lost(lease))
}

/// Stores the last item of `progress` and an event per item. `phase` is the phase before.
async fn record(
    connection: &mut SqliteConnection,
    lease: &Lease,
    phase: Option<&str>,
    progress: &[Progress],
) -> Result<(), StoreError> {
    let Some(last) = progress.last() else { return Ok(()) };
    let sql = "UPDATE tasks SET phase = ?, step = ?, total_steps = ? WHERE id = ?";
    let query = sqlx::query(sql).bind(last.phase.name()).bind(last.step).bind(last.total_steps);
    query.bind(lease.task.as_str()).execute(&mut *connection).await?;
    let mut phase: Option<Phase> = phase.and_then(|phase| phase.parse().ok());
    for &item in progress {
        let is_same = phase.replace(item.phase) == Some(item.phase);
        let kind = if is_same { EventKind::Step } else { EventKind::Stage };
        events::insert(connection, &lease.task, kind, Some(item)).await?;
    }
    Ok(())
}
