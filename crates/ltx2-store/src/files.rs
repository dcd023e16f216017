//! The store's folders. A file stands under its name only once all of it is on the disk.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::{FileName, InputFile, StoreError};

/// The folders, and the lock that keeps other processes out of them.
pub(crate) struct Files {
    data: PathBuf,
    _lock: File,
}

impl Files {
    pub(crate) fn open(data: &Path) -> Result<Self, StoreError> {
        for folder in [data.to_path_buf(), data.join("inputs"), data.join("outputs")] {
            fs::create_dir_all(&folder).map_err(StoreError::file(folder))?;
        }
        Ok(Self { data: data.into(), _lock: lock(data)? })
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.data.join("ltx2.sqlite")
    }

    pub(crate) fn inputs(&self) -> PathBuf {
        self.data.join("inputs")
    }

    pub(crate) fn outputs(&self) -> PathBuf {
        self.data.join("outputs")
    }
}

fn lock(data: &Path) -> Result<File, StoreError> {
    let path = data.join("ltx2.lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(StoreError::file(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse(data.into())),
        Err(TryLockError::Error(source)) => Err(StoreError::File { path, source }),
    }
}

/// Writes `inputs` into `folder`; when this returns they survive a power cut.
pub(crate) fn write_inputs(folder: &Path, inputs: &[InputFile]) -> Result<(), StoreError> {
    for input in inputs {
        let path = folder.join(input.name().as_str());
        write(folder, &path, input).map_err(StoreError::file(path))?;
    }
    if inputs.is_empty() { Ok(()) } else { sync_folder(folder) }
}

fn write(folder: &Path, path: &Path, input: &InputFile) -> io::Result<()> {
    let partial = folder.join(format!(".{}.part", input.name()));
    let mut file = File::create(&partial)?;
    let written = file.write_all(input.bytes()).and_then(|()| file.sync_all());
    written.and_then(|()| fs::rename(&partial, path)).inspect_err(|_| {
        // Nothing to add when this fails too: the first error is the one to tell, and the next start sweeps.
        let _ = fs::remove_file(&partial);
    })
}

/// Makes the names in `folder` durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    File::open(folder).and_then(|opened| opened.sync_all()).map_err(StoreError::file(folder))
}

/// Removes every file in `folder` that `is_ours` by its name, and whose name is not in `keep`.
pub(crate) fn sweep(folder: &Path, keep: &HashSet<String>, is_ours: impl Fn(&str) -> bool) -> Result<(), StoreError> {
    for entry in fs::read_dir(folder).map_err(StoreError::file(folder))? {
        let entry = entry.map_err(StoreError::file(folder))?;
        let unwanted = entry.file_name().to_str().is_some_and(|name| is_ours(name) && !keep.contains(name));
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if is_file && unwanted {
            fs::remove_file(entry.path()).map_err(StoreError::file(entry.path()))?;
        }
    }
    Ok(())
}

/// Removes `name` from `folder`; one that is gone already is as good.
pub(crate) fn remove(folder: &Path, name: &FileName) -> Result<(), StoreError> {
    let path = folder.join(name.as_str());
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::File { path, source: error }),
        _ => Ok(()),
    }
}
