//! A file that is not there until it is whole.

use std::{
    ffi::OsString,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::MediaError;

const SUFFIX: &str = ".part";

/// A hidden file beside `target` that [`PendingFile::publish`] gives its name; dropped before that, it is removed.
#[derive(Debug)]
pub(crate) struct PendingFile {
    /// Holds the lock that keeps [`remove_leftovers`] away.
    handle: File,
    temporary: PathBuf,
    target: PathBuf,
    published: bool,
}

impl PendingFile {
    /// Makes the temporary file, so that a folder that cannot be written to is found out before any work.
    pub(crate) fn create(target: &Path) -> Result<Self, MediaError> {
        let (temporary, handle) = create_temporary(target)?;
        // File systems without locks are fine for writing; `remove_leftovers` then reports instead of deleting.
        if let Err(TryLockError::Error(error)) = handle.try_lock() {
            tracing::debug!(path = %temporary.display(), %error, "the file cannot be locked while it is written");
        }
        Ok(Self { handle, temporary, target: target.to_owned(), published: false })
    }

    /// Where to write.
    pub(crate) fn path(&self) -> &Path {
        &self.temporary
    }

    /// Puts the content on disk, then the file in its place; replaces what is there. Returns its size in bytes.
    pub(crate) fn publish(mut self) -> Result<u64, MediaError> {
        self.handle.sync_all().map_err(file_error("write to disk", &self.temporary))?;
        let bytes = self.handle.metadata().map_err(file_error("look at", &self.temporary))?.len();
        fs::rename(&self.temporary, &self.target).map_err(file_error("create", &self.target))?;
        self.published = true;
        let folder = folder_of(&self.target);
        // The name is only safe from a power cut once the folder is written.
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(file_error("write to disk", folder))?;
        Ok(bytes)
    }
}

impl Drop for PendingFile {
    fn drop(&mut self) {
        if self.published {
            return;
        }
        if let Err(error) = fs::remove_file(&self.temporary) {
            tracing::warn!(path = %self.temporary.display(), %error, "could not remove an unfinished file");
        }
    }
}

/// Removes the unfinished files of runs that crashed from `dir`, and returns how many there were. Files that a running
/// process is still writing, here or elsewhere, are locked and stay.
pub fn remove_leftovers(dir: &Path) -> Result<usize, MediaError> {
    let entries = fs::read_dir(dir).map_err(file_error("list", dir))?;
    let mut removed = 0;
    for entry in entries {
        let path = entry.map_err(file_error("list", dir))?.path();
        if !is_temporary(&path) {
            continue;
        }
        match remove_if_abandoned(&path) {
            Ok(true) => removed += 1,
            Ok(false) => {}
            // Someone else was faster: its writer has finished, or another process cleans up too.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(file_error("remove", &path)(error)),
        }
    }
    Ok(removed)
}

fn remove_if_abandoned(path: &Path) -> io::Result<bool> {
    match File::open(path)?.try_lock() {
        Ok(()) => fs::remove_file(path).map(|()| true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn is_temporary(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    name.starts_with(b".") && name.ends_with(SUFFIX.as_bytes()) && path.is_file()
}

/// `.NAME.PROCESS-COUNT.part`; the process and count keep two writers of one target apart.
fn create_temporary(target: &Path) -> Result<(PathBuf, File), MediaError> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let no_name = || file_error("create", target)(io::Error::new(io::ErrorKind::InvalidInput, "it names no file"));
    let name = target.file_name().ok_or_else(no_name)?;
    loop {
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}-{}{SUFFIX}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
        let path = folder_of(target).join(hidden);
        match File::create_new(&path) {
            Ok(handle) => return Ok((path, handle)),
            // In a container every run has the same process id, so that a crashed one's file may have this name.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(file_error("create", target)(error)),
        }
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

fn file_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> MediaError {
    let path = path.to_owned();
    move |source| MediaError::File { doing, path, source }
}
