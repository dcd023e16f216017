//! Opening of model files. Downloads that are not the file itself are recognised by their first bytes.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::error::CheckpointError;

/// Number of bytes from which the content is recognised.
const BEGINNING: u64 = 512;

/// Opens a model file.
///
/// # Errors
/// It cannot be read, or is what a failed download left in its place.
pub(crate) fn open(path: &Path) -> Result<File, CheckpointError> {
    let io = |source| CheckpointError::Io { path: path.into(), source };
    let file = File::open(path).map_err(io)?;
    let mut beginning = Vec::new();
    (&file).take(BEGINNING).read_to_end(&mut beginning).map_err(io)?;
    std::io::Seek::rewind(&mut &file).map_err(io)?;
    match failed_download(&beginning) {
        Some(reason) => Err(CheckpointError::Foreign { path: path.into(), reason }),
        None => Ok(file),
    }
}

/// Reads a whole file. Fails as [`open`] does.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, CheckpointError> {
    let mut content = Vec::new();
    let read = open(path)?.read_to_end(&mut content);
    read.map(|_| content).map_err(|source| CheckpointError::Io { path: path.into(), source })
}

/// Returns a description of the content if its beginning shows that a download failed, and what to do.
fn failed_download(beginning: &[u8]) -> Option<&'static str> {
    let text = beginning.strip_prefix(b"\xef\xbb\xbf").unwrap_or(beginning).trim_ascii_start();
    let starts =
        |start: &str| text.get(..start.len()).is_some_and(|found| found.eq_ignore_ascii_case(start.as_bytes()));
    if beginning.is_empty() {
        Some("it is empty: the download failed, download the file again")
    } else if starts("version https://git-lfs.github.com/") {
        Some("it is a Git LFS pointer, not the file itself: run `git lfs pull` in its folder")
    } else if starts("<!doctype html") || starts("<html") {
        Some("it is an HTML page: the download failed (a login or a licence page?), download the file again")
    } else if starts("<?xml") || starts("<error") {
        Some("it is an XML message: the download failed, download the file again")
    } else if beginning.starts_with(b"PK\x03\x04") {
        Some("it is a zip archive, such as a PyTorch file: unpack or convert it")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_downloads_are_named_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ltx.safetensors");
        let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n";
        for (content, expected) in [
            ("", "ltx.safetensors is not a model file: it is empty"),
            (pointer, "it is a Git LFS pointer, not the file itself: run `git lfs pull`"),
            ("\n <!DOCTYPE html><title>Login</title>", "it is an HTML page: the download failed"),
            ("<HTML>", "HTML page"),
            ("<?xml version=\"1.0\"?><Error/>", "XML"),
            ("PK\x03\x04", "zip"),
        ] {
            std::fs::write(&path, content).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        std::fs::write(&path, "{}").unwrap();
        assert_eq!(read(&path).unwrap(), b"{}");
    }
}
