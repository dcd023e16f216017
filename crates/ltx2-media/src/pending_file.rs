//! Files that appear under their final name only once they are complete.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::MediaError;

const SUFFIX: &str = ".part";

/// A hidden file beside its target. [`PendingFile::publish`] moves it there; otherwise it is removed on drop.
#[derive(Debug)]
pub(crate) struct PendingFile {
    /// Holds the lock that protects the file from [`remove_leftovers`].
    file: NamedTempFile,
    target: PathBuf,
}

impl PendingFile {
    /// Creates the hidden file, named `.NAME.RANDOM.part`, so that an unusable folder is detected before any work.
    pub(crate) fn create(target: &Path) -> Result<Self, MediaError> {
        let file = create_hidden(target).map_err(file_error("create", target))?;
        // Not every file system has locks. There `remove_leftovers` fails instead of removing the file.
        if let Err(TryLockError::Error(error)) = file.as_file().try_lock() {
            tracing::debug!(path = %file.path().display(), %error, "cannot lock a pending file");
        }
        Ok(Self { file, target: target.to_owned() })
    }

    /// Returns the path of the hidden file.
    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Returns the path that the file gets.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// Returns the hidden file, open for writing.
    pub(crate) fn file_mut(&mut self) -> &mut File {
        self.file.as_file_mut()
    }

    /// Flushes the content to disk and returns its size in bytes.
    pub(crate) fn sync(&self) -> Result<u64, MediaError> {
        let file = self.file.as_file();
        file.sync_all().map_err(file_error("write to disk", self.path()))?;
        Ok(file.metadata().map_err(file_error("inspect", self.path()))?.len())
    }

    /// Renames the file to its target, replacing an existing file. Call [`PendingFile::sync`] before: then the file
    /// survives a power failure once this returns.
    pub(crate) fn publish(self) -> Result<(), MediaError> {
        let Self { file, target } = self;
        file.persist(&target).map_err(|error| file_error("create", &target)(error.error))?;
        let folder = parent(&target);
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(file_error("write to disk", folder))
    }
}

/// Removes the pending files of crashed processes from `dir` and returns their number. Files that a running process
/// still writes are locked and stay.
///
/// # Errors
/// The folder cannot be listed, or a file can be neither locked nor removed.
pub fn remove_leftovers(dir: &Path) -> Result<usize, MediaError> {
    let entries = fs::read_dir(dir).map_err(file_error("list", dir))?;
    let mut removed = 0;
    for entry in entries {
        let path = entry.map_err(file_error("list", dir))?.path();
        if !is_pending(&path) {
            continue;
        }
        match remove_if_unlocked(&path) {
            Ok(true) => removed += 1,
            Ok(false) => {}
            // Published or removed by another process in the meantime.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(file_error("remove", &path)(error)),
        }
    }
    Ok(removed)
}

fn remove_if_unlocked(path: &Path) -> io::Result<bool> {
    match File::open(path)?.try_lock() {
        Ok(()) => fs::remove_file(path).map(|()| true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn is_pending(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    name.starts_with(b".") && name.ends_with(SUFFIX.as_bytes()) && path.is_file()
}

fn create_hidden(target: &Path) -> io::Result<NamedTempFile> {
    let no_name = || io::Error::new(io::ErrorKind::InvalidInput, "the path does not name a file");
    let mut prefix = OsString::from(".");
    prefix.push(target.file_name().ok_or_else(no_name)?);
    prefix.push(".");
    // `tempfile_in` would make a file that its owner alone can read; this one has the usual permissions.
    tempfile::Builder::new().prefix(&prefix).suffix(SUFFIX).make_in(parent(target), |path| File::create_new(path))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

fn file_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> MediaError {
    let path = path.to_owned();
    move |source| MediaError::File { doing, path, source }
}
