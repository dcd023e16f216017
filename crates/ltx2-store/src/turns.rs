//! Who waits for how much: the queue's order, held in memory so that a poll costs the same however long the queue is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

use crate::store::now;
use crate::{Store, StoreError};

/// How many of the last results tell how fast tasks go.
const SAMPLE: i64 = 20;

/// The last known order, and whether it is still true.
#[derive(Default)]
pub(crate) struct Turns {
    version: AtomicU64,
    cached: Mutex<Option<(u64, Arc<Order>)>>,
}

impl Turns {
    /// To be called after each commit that changes who waits or runs.
    pub(crate) fn outdate(&self) {
        self.version.fetch_add(1, Ordering::AcqRel);
    }
}

/// The queue at one moment.
#[derive(Debug, Default)]
pub(crate) struct Order {
    /// Those who wait, first to last: priority with its sign turned, arrival, and the work before them.
    waiting: Vec<(i64, i64, i64)>,
    /// Those who run: work, and when they started.
    running: Vec<(i64, i64)>,
    /// Milliseconds for a unit of work.
    pace: Option<f64>,
}

impl Order {
    /// The place of the waiting task; 1 is next.
    pub(crate) fn position(&self, priority: i64, seq: i64) -> u32 {
        let before = self.waiting.partition_point(|&(other, arrival, _)| (other, arrival) < (-priority, seq));
        u32::try_from(before + 1).unwrap_or(u32::MAX)
    }

    /// Milliseconds until a task of `work` that waits has ended.
    pub(crate) fn until_end_of_waiting(&self, priority: i64, seq: i64, work: i64) -> Option<i64> {
        let pace = self.pace?;
        let before = self.waiting.partition_point(|&(other, arrival, _)| (other, arrival) < (-priority, seq));
        let ahead = self.waiting.get(before).map_or(0, |&(.., ahead)| ahead);
        let running: i64 = self.running.iter().map(|&(work, since)| remaining(pace, work, since)).sum();
        Some(running + (pace * (ahead + work) as f64) as i64)
    }

    /// Milliseconds until a task of `work` that runs since `started_at` has ended.
    pub(crate) fn until_end_of_running(&self, work: i64, started_at: i64) -> Option<i64> {
        Some(remaining(self.pace?, work, started_at))
    }
}

fn remaining(pace: f64, work: i64, since: i64) -> i64 {
    ((pace * work as f64) as i64 - (now() - since)).max(0)
}

impl Store {
    pub(crate) async fn order(&self) -> Result<Arc<Order>, StoreError> {
        let turns = &self.shared.turns;
        // Held while reading, so that many who ask at once read once.
        let mut cached = turns.cached.lock().await;
        let version = turns.version.load(Ordering::Acquire);
        if let Some((known, order)) = &*cached
            && *known == version
        {
            return Ok(order.clone());
        }
        let order = Arc::new(self.read_order().await?);
        *cached = Some((version, order.clone()));
        Ok(order)
    }

    async fn read_order(&self) -> Result<Order, StoreError> {
        let pool = &self.shared.pool;
        let waiting = "SELECT -priority, seq, sum(work) OVER (ORDER BY priority DESC, seq) - work
                       FROM tasks WHERE state = 'queued' ORDER BY priority DESC, seq";
        let running = "SELECT work, started_at FROM tasks WHERE state = 'running' AND started_at IS NOT NULL";
        let pace = "SELECT CAST(sum(took) AS REAL) / sum(work) FROM
                    (SELECT work, finished_at - started_at AS took FROM tasks
                     WHERE state = 'completed' AND work > 0 AND started_at IS NOT NULL ORDER BY seq DESC LIMIT ?)";
        Ok(Order {
            waiting: sqlx::query_as(waiting).fetch_all(pool).await?,
            running: sqlx::query_as(running).fetch_all(pool).await?,
            pace: sqlx::query_scalar(pace).bind(SAMPLE).fetch_one(pool).await?,
        })
    }
}
