//! Identifiers that clients send back: task ids, file names and cursors. Parsing and formatting must round-trip.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use ltx2_store::{Cursor, FileName, TaskId};

fuzz_target!(|input: &[u8]| -> Corpus {
    let Ok(text) = std::str::from_utf8(input) else { return Corpus::Reject };
    if let Some(id) = TaskId::parse(text) {
        assert_eq!(id.as_str(), text);
        assert_eq!(FileName::of_output(&id, "mp4").task(), Some(id));
    }
    if let Some(cursor) = Cursor::parse(text) {
        assert_eq!(cursor.text(), text);
    }
    if let Some(name) = FileName::parse(text) {
        assert!(name.as_str() == text && !text.contains(['/', '\\', '\0', ':']) && !text.starts_with('.'));
        if let Some(id) = name.task() {
            assert!(text.contains(id.as_str()));
        }
    }
    Corpus::Keep
});
