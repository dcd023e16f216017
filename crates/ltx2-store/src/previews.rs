//! Small pictures of tasks that run, made only while someone wants them.

use std::collections::HashMap;
use std::fs;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::files;
use crate::store::blocking;
use crate::{FileName, Lease, Store, StoreError, TaskId};

/// Who asks once is taken to ask again within this time.
const PATIENCE: Duration = Duration::from_secs(300);

/// What is known of the previews of tasks, shared by all who watch.
#[derive(Clone, Default)]
pub(crate) struct Previews(Arc<Mutex<HashMap<TaskId, Preview>>>);

#[derive(Debug, Default)]
struct Preview {
    /// Those who look on until they go.
    viewers: usize,
    /// Someone who asked once counts until then.
    until: Option<Instant>,
    /// How many were made.
    made: u32,
}

impl Preview {
    fn is_wanted(&self) -> bool {
        self.viewers > 0 || self.until.is_some_and(|until| until > Instant::now())
    }
}

impl Previews {
    fn lock(&self) -> MutexGuard<'_, HashMap<TaskId, Preview>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is known of `task`, and forgets those of whom there is nothing to know.
    fn change(&self, task: &TaskId, change: impl FnOnce(&mut Preview)) {
        let mut known = self.lock();
        change(known.entry(task.clone()).or_default());
        known.retain(|_, preview| preview.made > 0 || preview.is_wanted());
    }
}

/// Has previews of a task made until it is dropped.
pub struct PreviewViewer {
    previews: Previews,
    task: TaskId,
}

impl Drop for PreviewViewer {
    fn drop(&mut self) {
        self.previews.change(&self.task, |preview| preview.viewers = preview.viewers.saturating_sub(1));
    }
}

impl Store {
    /// Has previews of `id` made as long as the viewer is kept.
    pub fn view_previews(&self, id: &TaskId) -> PreviewViewer {
        let previews = self.shared.previews.clone();
        previews.change(id, |preview| preview.viewers += 1);
        PreviewViewer { previews, task: id.clone() }
    }

    /// Has previews of `id` made for some minutes.
    pub fn want_previews(&self, id: &TaskId) {
        self.shared.previews.change(id, |preview| preview.until = Some(Instant::now() + PATIENCE));
    }

    /// Whether someone would look at a preview of `id`.
    pub fn is_preview_wanted(&self, id: &TaskId) -> bool {
        self.shared.previews.lock().get(id).is_some_and(Preview::is_wanted)
    }

    /// How many previews of the run of `id` there were; `None` while there is none.
    pub fn previews_made(&self, id: &TaskId) -> Option<u32> {
        self.shared.previews.lock().get(id).map(|preview| preview.made).filter(|made| *made > 0)
    }

    /// Keeps `jpeg` as the latest preview of the task that runs. It need not survive a crash; the next start removes it.
    /// May block.
    pub fn put_preview(&self, lease: &Lease, jpeg: &[u8]) -> Result<(), StoreError> {
        let id = lease.task();
        let path = self.output_path(&FileName::of_preview(id));
        // Readers see the one before or this one, never a part.
        let partial = path.with_extension("part");
        let written = fs::write(&partial, jpeg).and_then(|()| fs::rename(&partial, &path));
        written.map_err(StoreError::file(path))?;
        self.shared.previews.change(id, |preview| preview.made += 1);
        self.announce(id);
        Ok(())
    }

    /// The latest preview of `id`, a JPEG; `None` while there is none.
    pub async fn preview(&self, id: &TaskId) -> Result<Option<Vec<u8>>, StoreError> {
        if self.previews_made(id).is_none() {
            return Ok(None);
        }
        let path = self.output_path(&FileName::of_preview(id));
        blocking(move || match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            // The run has ended meanwhile.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StoreError::File { path, source }),
        })
        .await
    }

    /// Removes the preview of a run that is over.
    pub(crate) async fn end_previews(&self, id: &TaskId) {
        if self.previews_made(id).is_none() {
            return;
        }
        self.shared.previews.change(id, |preview| preview.made = 0);
        let (folder, name) = (self.outputs_dir(), FileName::of_preview(id));
        if let Err(error) = blocking(move || files::remove(&folder, &name)).await {
            tracing::warn!(task = %id, %error, "the preview of task {id} stays until the next start: {error}");
        }
    }
}
