//! Pictures of the video while it is made, for those who watch.

use ltx2_media::small_jpeg;
use ltx2_store::{Lease, Store};
use ltx2_types::RgbImage;

/// Longest side, pixels.
const SIDE: u32 = 256;

/// Where the previews of one run go.
pub(crate) struct TaskPreviews {
    pub(crate) store: Store,
    pub(crate) lease: Lease,
}

impl TaskPreviews {
    pub(crate) fn are_wanted(&self) -> bool {
        self.store.is_preview_wanted(self.lease.task())
    }

    /// The task goes on without one that cannot be kept.
    pub(crate) fn put(&self, picture: RgbImage) {
        let id = self.lease.task();
        match small_jpeg(picture, SIDE) {
            Ok(jpeg) => {
                if let Err(error) = self.store.put_preview(&self.lease, &jpeg) {
                    tracing::warn!(task = %id, %error, "a preview of task {id} could not be stored: {error}");
                }
            }
            Err(error) => tracing::warn!(task = %id, %error, "a preview of task {id} is no picture: {error}"),
        }
    }
}
