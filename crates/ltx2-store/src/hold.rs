//! Holds: output files that are being read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ltx2_types::TaskId;

/// Number of holds per task. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Holds(Arc<Mutex<HashMap<TaskId, usize>>>);

impl Holds {
    /// Holds the outputs of `task`.
    pub(crate) fn hold(&self, task: TaskId) -> Hold {
        *self.lock().entry(task.clone()).or_default() += 1;
        Hold { holds: self.clone(), task }
    }

    pub(crate) fn contains(&self, task: &TaskId) -> bool {
        self.lock().contains_key(task)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TaskId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Protects the outputs of a task from [`crate::Retention`] until it is dropped.
#[derive(Debug)]
pub struct Hold {
    holds: Holds,
    task: TaskId,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut holds = self.holds.lock();
        if let Some(count) = holds.get_mut(&self.task) {
            *count -= 1;
            if *count == 0 {
                holds.remove(&self.task);
            }
        }
    }
}
