//! Folders and files of the store. A file appears under its name only once it is complete and durable.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::spawn::blocking;
use crate::{FileName, StoreError};

/// Data folder with its subfolders.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    data: PathBuf,
}

/// Files that a committed change made unnecessary.
#[derive(Debug, Default)]
pub(crate) struct UnusedFiles {
    /// Uploads.
    pub(crate) inputs: Vec<FileName>,
    /// Output files.
    pub(crate) outputs: Vec<FileName>,
    /// Files of assets.
    pub(crate) assets: Vec<FileName>,
}

/// Exclusive lock on the data folder for its only worker. Released when dropped.
#[derive(Debug)]
pub struct WorkerLock(#[expect(dead_code, reason = "the open file holds the lock")] File);

impl Files {
    /// Opens `data` and creates missing folders.
    pub(crate) fn open(data: &Path) -> Result<Self, StoreError> {
        let files = Self { data: data.into() };
        for folder in [data.to_path_buf(), files.inputs(), files.outputs(), files.assets()] {
            fs::create_dir_all(&folder).map_err(StoreError::file(folder))?;
        }
        Ok(files)
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.data.join("ltx2.sqlite")
    }

    /// Uploads of queued and running tasks.
    pub(crate) fn inputs(&self) -> PathBuf {
        self.data.join("inputs")
    }

    pub(crate) fn outputs(&self) -> PathBuf {
        self.data.join("outputs")
    }

    pub(crate) fn assets(&self) -> PathBuf {
        self.data.join("assets")
    }

    /// Takes the worker lock, or fails with [`StoreError::InUse`].
    pub(crate) fn lock_worker(&self) -> Result<WorkerLock, StoreError> {
        let (file, path) = self.lock_file("ltx2.lock")?;
        match file.try_lock() {
            Ok(()) => Ok(WorkerLock(file)),
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse(self.data.clone())),
            Err(TryLockError::Error(source)) => Err(StoreError::File { path, source }),
        }
    }

    /// Waits for the lock under which processes open and migrate the database, one at a time.
    pub(crate) fn lock_opening(&self) -> Result<File, StoreError> {
        let (file, path) = self.lock_file("ltx2.open.lock")?;
        file.lock().map_err(StoreError::file(path))?;
        Ok(file)
    }

    fn lock_file(&self, name: &str) -> Result<(File, PathBuf), StoreError> {
        let path = self.data.join(name);
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        Ok((file.map_err(StoreError::file(&path))?, path))
    }

    /// Removes `unused`. Failures are logged; a sweep removes those files later.
    pub(crate) async fn remove_unused(&self, unused: UnusedFiles) {
        let files = self.clone();
        if unused.is_empty() {
            return;
        }
        if let Err(error) = blocking(move || files.remove(&unused)).await {
            tracing::warn!(%error, "unused files could not be removed: {error}");
        }
    }

    fn remove(&self, unused: &UnusedFiles) -> Result<(), StoreError> {
        let UnusedFiles { inputs, outputs, assets } = unused;
        for (folder, names) in [(self.inputs(), inputs), (self.outputs(), outputs), (self.assets(), assets)] {
            names.iter().try_for_each(|name| remove(&folder, name))?;
        }
        Ok(())
    }
}

impl UnusedFiles {
    fn is_empty(&self) -> bool {
        self.inputs.is_empty() && self.outputs.is_empty() && self.assets.is_empty()
    }
}

/// Removes a file, if it exists.
fn remove(folder: &Path, name: &FileName) -> Result<(), StoreError> {
    let path = folder.join(name.as_str());
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::File { path, source: error }),
        _ => Ok(()),
    }
}

/// Writes `bytes` durably to the file `name` in `folder`. The name itself is durable after [`sync_folder`].
pub(crate) fn write(folder: &Path, name: &FileName, bytes: &[u8]) -> Result<(), StoreError> {
    let path = folder.join(name.as_str());
    let write = || -> io::Result<()> {
        // Read and write for all, as far as the umask allows.
        let mode = Permissions::from_mode(0o666);
        let mut file = tempfile::Builder::new().prefix(".upload-").permissions(mode).tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(&path)?;
        Ok(())
    };
    write().map_err(StoreError::file(&path))
}

/// Makes the names in `folder` durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    File::open(folder).and_then(|opened| opened.sync_all()).map_err(StoreError::file(folder))
}

/// Returns the names of the files in `folder` that were last written at least `age` ago.
pub(crate) fn older_than(folder: &Path, age: Duration) -> Result<Vec<String>, StoreError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(StoreError::file(folder))? {
        let entry = entry.map_err(StoreError::file(folder))?;
        // A file that disappears meanwhile is not listed.
        let Ok(metadata) = entry.metadata() else { continue };
        let written = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        // A time in the future counts as now.
        let is_old = SystemTime::now().duration_since(written).unwrap_or_default() >= age;
        if metadata.is_file() && is_old {
            names.extend(entry.file_name().into_string());
        }
    }
    Ok(names)
}

/// Removes the files `names` from `folder`, except those in `keep`.
pub(crate) fn remove_except(folder: &Path, names: Vec<String>, keep: &HashSet<String>) -> Result<(), StoreError> {
    for name in names.iter().filter(|name| !keep.contains(*name)) {
        let path = folder.join(name);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(StoreError::File { path, source }),
            _ => {}
        }
    }
    Ok(())
}
