//! Who waits for how much: the queue's order, held in memory so that a poll costs the same however long the queue is.

use std::collections::HashMap;
use std::sync::{Mutex as PlainMutex, MutexGuard as PlainMutexGuard, PoisonError};

use sqlx::{QueryBuilder, Sqlite};
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard};

use crate::store::now;
use crate::{Store, StoreError, TaskId};

/// How many of the last results tell how fast tasks go.
const SAMPLE: i64 = 20;
/// After more changes than this that nobody asked about, all is read anew.
const MANY: usize = 256;

/// The last known order, and the tasks that have moved since.
#[derive(Default)]
pub(crate) struct Turns {
    moves: PlainMutex<Moves>,
    /// Missing where it has to be read anew.
    order: Mutex<Option<Order>>,
}

/// Tasks that came into the queue or left it, began to run or ended.
#[derive(Default)]
struct Moves {
    /// By a commit that is under way, so that others see it sooner or later.
    committing: Vec<TaskId>,
    moved: Moved,
}

/// Tasks that have moved since the order was last read.
enum Moved {
    /// Too many to be named.
    Many,
    These(Vec<TaskId>),
}

impl Default for Moved {
    fn default() -> Self {
        Self::These(Vec::new())
    }
}

impl Turns {
    /// To be called before a commit by which `id` comes into the queue or leaves it, begins to run or ends.
    pub(crate) fn begin(&self, id: &TaskId) {
        self.lock().committing.push(id.clone());
    }

    /// To be called after that commit.
    pub(crate) fn end(&self, id: &TaskId) {
        let mut moves = self.lock();
        if let Some(place) = moves.committing.iter().position(|other| other == id) {
            moves.committing.swap_remove(place);
        }
        moves.moved.add(id);
    }

    /// Those that have moved since the last call. One that is being committed is among them, and again the next time.
    fn take_moved(&self) -> Moved {
        let mut moves = self.lock();
        let mut moved = std::mem::take(&mut moves.moved);
        moves.committing.iter().for_each(|id| moved.add(id));
        moved
    }

    fn lock(&self) -> PlainMutexGuard<'_, Moves> {
        self.moves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Moved {
    fn add(&mut self, id: &TaskId) {
        match self {
            Self::These(tasks) if tasks.len() < MANY => tasks.push(id.clone()),
            _ => *self = Self::Many,
        }
    }
}

/// Priority with its sign turned, and arrival.
type Turn = (i64, i64);

/// One who waits.
#[derive(Debug)]
struct Waiting {
    turn: Turn,
    work: i64,
    /// Work of all before.
    ahead: i64,
}

/// The queue at one moment.
#[derive(Debug, Default)]
pub(crate) struct Order {
    /// First to last.
    waiting: Vec<Waiting>,
    /// The same by their ids.
    turns: HashMap<String, Turn>,
    /// Those who run: work, and when they started.
    running: Vec<(i64, i64)>,
    /// Milliseconds for a unit of work.
    pace: Option<f64>,
}

/// Id, turn and work of one who waits.
type WaitingRow = (String, i64, i64, i64);

impl Order {
    /// The place of the waiting task; 1 is next.
    pub(crate) fn position(&self, priority: i64, seq: i64) -> u32 {
        u32::try_from(self.before((-priority, seq)) + 1).unwrap_or(u32::MAX)
    }

    /// Milliseconds until a task of `work` that waits has ended.
    pub(crate) fn until_end_of_waiting(&self, priority: i64, seq: i64, work: i64) -> Option<i64> {
        let pace = self.pace?;
        let before = self.before((-priority, seq));
        let ahead = before.checked_sub(1).map_or(0, |last| self.waiting[last].ahead + self.waiting[last].work);
        let running: i64 = self.running.iter().map(|&(work, since)| remaining(pace, work, since)).sum();
        Some(running + (pace * (ahead + work) as f64) as i64)
    }

    /// Milliseconds until a task of `work` that runs since `started_at` has ended.
    pub(crate) fn until_end_of_running(&self, work: i64, started_at: i64) -> Option<i64> {
        Some(remaining(self.pace?, work, started_at))
    }

    /// How many go before `turn`.
    fn before(&self, turn: Turn) -> usize {
        self.waiting.partition_point(|waiting| waiting.turn < turn)
    }

    fn insert(&mut self, (id, priority, seq, work): WaitingRow) {
        let turn = (-priority, seq);
        self.remove(&id);
        self.turns.insert(id, turn);
        self.waiting.insert(self.before(turn), Waiting { turn, work, ahead: 0 });
    }

    fn remove(&mut self, id: &str) {
        let Some(turn) = self.turns.remove(id) else { return };
        let place = self.before(turn);
        if self.waiting.get(place).is_some_and(|waiting| waiting.turn == turn) {
            self.waiting.remove(place);
        }
    }

    fn count_ahead(&mut self) {
        let mut ahead = 0_i64;
        for waiting in &mut self.waiting {
            waiting.ahead = ahead;
            ahead = ahead.saturating_add(waiting.work);
        }
    }
}

fn remaining(pace: f64, work: i64, since: i64) -> i64 {
    ((pace * work as f64) as i64 - (now() - since)).max(0)
}

impl Store {
    /// The order with all that was committed before this call.
    pub(crate) async fn order(&self) -> Result<MappedMutexGuard<'_, Order>, StoreError> {
        let turns = &self.shared.turns;
        // Held while reading, so that many who ask at once read once.
        let mut known = turns.order.lock().await;
        // Taken out meanwhile: a caller that goes away in the middle, or fails, leaves it to be read anew.
        let order = match (known.take(), turns.take_moved()) {
            (Some(order), Moved::These(tasks)) if tasks.is_empty() => order,
            (Some(order), Moved::These(tasks)) => self.updated(order, &tasks).await?,
            _ => self.read_order().await?,
        };
        Ok(MutexGuard::map(known, |known| known.insert(order)))
    }

    async fn read_order(&self) -> Result<Order, StoreError> {
        let sql = "SELECT id, priority, seq, work FROM tasks WHERE state = 'queued' ORDER BY priority DESC, seq";
        let rows: Vec<WaitingRow> = sqlx::query_as(sql).fetch_all(&self.shared.pool).await?;
        let mut order = Order::default();
        // They come in their order, so that each goes to the end.
        rows.into_iter().for_each(|row| order.insert(row));
        self.with_pace(order).await
    }

    /// `order` with `tasks` where they are at present.
    async fn updated(&self, mut order: Order, tasks: &[TaskId]) -> Result<Order, StoreError> {
        let mut query = QueryBuilder::<Sqlite>::new("SELECT id, priority, seq, work FROM tasks WHERE id IN (");
        let mut ids = query.separated(", ");
        for task in tasks {
            ids.push_bind(task.as_str());
        }
        query.push(") AND state = 'queued'");
        let rows: Vec<WaitingRow> = query.build_query_as().fetch_all(&self.shared.pool).await?;
        tasks.iter().for_each(|task| order.remove(task.as_str()));
        rows.into_iter().for_each(|row| order.insert(row));
        self.with_pace(order).await
    }

    async fn with_pace(&self, mut order: Order) -> Result<Order, StoreError> {
        let running = "SELECT work, started_at FROM tasks WHERE state = 'running' AND started_at IS NOT NULL";
        let pace = "SELECT CAST(sum(took) AS REAL) / sum(work) FROM
                    (SELECT work, finished_at - started_at AS took FROM tasks
                     WHERE state = 'completed' AND work > 0 AND started_at IS NOT NULL ORDER BY seq DESC LIMIT ?)";
        order.running = sqlx::query_as(running).fetch_all(&self.shared.pool).await?;
        order.pace = sqlx::query_scalar(pace).bind(SAMPLE).fetch_one(&self.shared.pool).await?;
        order.count_ahead();
        Ok(order)
    }
}
