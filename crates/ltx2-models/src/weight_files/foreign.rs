//! Files that a download left in place of a model file.

/// Returns a description of the content if its first bytes show that a download failed, and what to do.
pub fn failed_download(bytes: &[u8]) -> Option<&'static str> {
    let start = String::from_utf8_lossy(&bytes[..bytes.len().min(256)]).trim_start().to_lowercase();
    if start.starts_with("version https://git-lfs.github.com/") {
        return Some("it is a Git LFS pointer, not the file itself: run `git lfs pull` in its folder");
    }
    if start.starts_with("<!doctype html") || start.starts_with("<html") {
        return Some("it is an HTML page: the download failed (a login or a licence page?), download the file again");
    }
    if start.starts_with("<?xml") || start.starts_with("<error") {
        return Some("it is an XML message: the download failed, download the file again");
    }
    if bytes.starts_with(b"PK\x03\x04") {
        return Some("it is a zip archive, such as a PyTorch file: unpack or convert it");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_and_pages_are_recognised() {
        for (content, expected) in [
            ("version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 123\n", "git lfs pull"),
            ("\n  <!DOCTYPE html><html>", "HTML page"),
            ("<html lang=en>", "HTML page"),
            ("<?xml version=\"1.0\"?><Error/>", "XML"),
        ] {
            assert!(failed_download(content.as_bytes()).is_some_and(|text| text.contains(expected)), "{content}");
        }
        assert_eq!(failed_download(b"{\"model\": 1}"), None);
        assert_eq!(failed_download(b""), None);
    }
}
