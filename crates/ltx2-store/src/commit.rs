//! The one way by which changes of tasks become visible, and are told to those who remember tasks or wait for them.

use std::sync::Arc;

use sqlx::{Sqlite, Transaction};

use crate::record::KnownTask;
use crate::store::blocking;
use crate::{FileName, Store, StoreError, TaskId, files};

/// What a transaction does to a task.
pub(crate) enum Effect {
    /// It comes into the queue; with what is then known of it, where it is not known to anybody yet.
    Queued(Option<KnownTask>),
    /// It leaves the queue, and begins to run.
    Started,
    /// It runs on; what is told of it changes.
    Changed,
    /// It ends, and does not need these inputs any more.
    Ended(Vec<FileName>),
    /// It is removed with its results.
    Gone,
}

impl Effect {
    /// Whether the queue's order is another, or how long it takes.
    fn moves_queue(&self) -> bool {
        matches!(self, Self::Queued(_) | Self::Started | Self::Ended(_))
    }
}

impl Store {
    /// Commits `transaction`, which has `effect` on `id`, and lets everyone know. All that is told of a task
    /// ([`crate::TaskRecord`]) must be changed through here. A caller that goes away meanwhile leaves nothing half done.
    pub(crate) async fn commit(
        &self,
        transaction: Transaction<'static, Sqlite>,
        id: &TaskId,
        effect: Effect,
    ) -> Result<(), StoreError> {
        let (store, id) = (self.clone(), id.clone());
        let committed = tokio::spawn(async move {
            store.write(transaction, &id, &effect).await?;
            store.clear_up(&id, &effect).await;
            store.tell(&id, &effect);
            Ok(())
        });
        match committed.await.map_err(|error| error.try_into_panic()) {
            Ok(result) => result,
            Err(Ok(panic)) => std::panic::resume_unwind(panic),
            // The runtime ends, and with it the database's connections.
            Err(Err(_)) => Err(sqlx::Error::PoolClosed.into()),
        }
    }

    async fn write(
        &self,
        transaction: Transaction<'static, Sqlite>,
        id: &TaskId,
        effect: &Effect,
    ) -> Result<(), StoreError> {
        let (memory, turns) = (&self.shared.memory, &self.shared.turns);
        let moves = effect.moves_queue();
        // Others see the change somewhere between these two moments. Were this task dropped in between, nobody would
        // know whether they do: then the beginning stands, and the database is asked each time.
        memory.begin(id);
        if moves {
            turns.begin(id);
        }
        let committed = transaction.commit().await;
        let written = match (&committed, effect) {
            (Ok(()), Effect::Queued(Some(task))) => Some(Arc::new(task.clone())),
            _ => None,
        };
        memory.end(id, written);
        if moves {
            turns.end(id);
        }
        Ok(committed?)
    }

    /// Removes files that are of no use any more; what cannot be removed is left to the next start.
    async fn clear_up(&self, id: &TaskId, effect: &Effect) {
        match effect {
            Effect::Ended(inputs) => {
                self.remove_inputs(inputs.clone()).await;
                self.end_previews(id).await;
            }
            Effect::Queued(_) => self.end_previews(id).await,
            Effect::Gone => {
                let folder = self.outputs_dir();
                let names = [FileName::of_video(id), FileName::of_thumbnail(id)];
                let removed = blocking(move || names.iter().try_for_each(|name| files::remove(&folder, name))).await;
                if let Err(error) = removed {
                    tracing::warn!(task = %id, %error, "files of task {id} stay until the next start: {error}");
                }
            }
            Effect::Started | Effect::Changed => {}
        }
    }

    fn tell(&self, id: &TaskId, effect: &Effect) {
        self.announce(id);
        if effect.moves_queue() {
            self.announce_queue();
        }
        match effect {
            Effect::Queued(_) => self.shared.queued.notify_one(),
            Effect::Ended(_) => self.shared.webhook_due.notify_one(),
            Effect::Started | Effect::Changed | Effect::Gone => {}
        }
    }
}
