//! Complete output files that wait for their final names.

use ltx2_types::OutputInfo;

use crate::{MediaError, pending_file::PendingFile};

/// A complete output file on disk, without its final name. It is removed if dropped.
#[derive(Debug)]
pub struct PendingOutput {
    pub(crate) file: PendingFile,
    pub(crate) info: OutputInfo,
}

impl PendingOutput {
    /// Returns the properties of the file.
    pub fn info(&self) -> &OutputInfo {
        &self.info
    }

    /// Gives the file its final name, replacing an existing file.
    ///
    /// # Errors
    /// The file cannot be renamed; it is then removed.
    pub fn publish(self) -> Result<OutputInfo, MediaError> {
        self.file.publish()?;
        Ok(self.info)
    }
}
