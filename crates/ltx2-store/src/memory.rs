//! Tasks as they were last read or queued, so that those who ask again and again cost the database nothing.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::TaskId;
use crate::record::KnownTask;

/// Most tasks that are remembered, half of them for being asked for lately.
const MOST_TASKS: usize = 16_384;
/// Most bytes that they take.
const MOST_BYTES: usize = 16 << 20;

/// What is known, shared by all who ask. A task is never remembered as it was before a commit that someone may have
/// seen: it is forgotten before the commit, and nobody may remember it until the commit is over.
#[derive(Default)]
pub(crate) struct Memory(Mutex<Known>);

#[derive(Default)]
struct Known {
    young: Shelf,
    /// What was young before, less what was asked for since.
    old: Shelf,
    /// Commits that are under way.
    writers: HashMap<TaskId, Writers>,
    /// How many commits ever began.
    begun: u64,
}

#[derive(Default)]
struct Shelf {
    tasks: HashMap<TaskId, Arc<KnownTask>>,
    bytes: usize,
}

/// Commits to one task that overlap.
struct Writers {
    count: usize,
    /// Whether there was never more than one.
    is_single: bool,
}

/// What memory says of a task.
pub(crate) enum Recall {
    Known(Arc<KnownTask>),
    /// It is to be read, and may be kept with this.
    Unknown(Ticket),
}

/// Says when a read began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    begun: u64,
    was_written: bool,
}

impl Memory {
    /// `id` with all that was committed before this call, or leave to read it.
    pub(crate) fn recall(&self, id: &TaskId) -> Recall {
        let mut known = self.lock();
        if let Some(task) = known.find(id) {
            return Recall::Known(task);
        }
        Recall::Unknown(known.ticket(id))
    }

    /// For a read of `id` that begins.
    pub(crate) fn ticket(&self, id: &TaskId) -> Ticket {
        self.lock().ticket(id)
    }

    /// Whether what was read with `ticket` is all that there is of its task.
    pub(crate) fn is_current(&self, ticket: &Ticket) -> bool {
        !ticket.was_written && ticket.begun == self.lock().begun
    }

    /// Remembers what was read since `ticket` was given, unless it may have changed since.
    pub(crate) fn keep(&self, id: &TaskId, ticket: &Ticket, task: Arc<KnownTask>) {
        let mut known = self.lock();
        if !ticket.was_written && ticket.begun == known.begun {
            known.insert(id, task);
        }
    }

    /// To be called before a commit that changes `id`.
    pub(crate) fn begin(&self, id: &TaskId) {
        let mut known = self.lock();
        known.begun += 1;
        known.forget(id);
        let writers = known.writers.entry(id.clone()).or_insert(Writers { count: 0, is_single: true });
        writers.count += 1;
        writers.is_single &= writers.count == 1;
    }

    /// To be called after that commit, perhaps with the task as it has been `written`.
    pub(crate) fn end(&self, id: &TaskId, written: Option<Arc<KnownTask>>) {
        let mut known = self.lock();
        let Some(writers) = known.writers.get_mut(id) else { return };
        writers.count -= 1;
        if writers.count > 0 {
            return;
        }
        let is_last_word = writers.is_single;
        known.writers.remove(id);
        if let Some(task) = written.filter(|_| is_last_word) {
            known.insert(id, task);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn ticket(&self, id: &TaskId) -> Ticket {
        Ticket { begun: self.begun, was_written: self.writers.contains_key(id) }
    }

    fn find(&mut self, id: &TaskId) -> Option<Arc<KnownTask>> {
        if let Some(task) = self.young.tasks.get(id) {
            return Some(task.clone());
        }
        let task = self.old.remove(id)?;
        self.insert(id, task.clone());
        Some(task)
    }

    fn insert(&mut self, id: &TaskId, task: Arc<KnownTask>) {
        self.forget(id);
        if task.bytes() > MOST_BYTES / 2 {
            return;
        }
        if self.young.tasks.len() >= MOST_TASKS / 2 || self.young.bytes + task.bytes() > MOST_BYTES / 2 {
            self.old = mem::take(&mut self.young);
        }
        self.young.bytes += task.bytes();
        self.young.tasks.insert(id.clone(), task);
    }

    fn forget(&mut self, id: &TaskId) {
        self.young.remove(id);
        self.old.remove(id);
    }
}

impl Shelf {
    fn remove(&mut self, id: &TaskId) -> Option<Arc<KnownTask>> {
        let task = self.tasks.remove(id)?;
        self.bytes -= task.bytes();
        Some(task)
    }
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
