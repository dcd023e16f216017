//! Model configurations from metadata or `config.json`, and the networks built from them.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use ltx2_fuzz::build_all;

fuzz_target!(|input: &[u8]| -> Corpus {
    let Ok(config) = serde_json::from_slice(input) else { return Corpus::Reject };
    build_all(&config);
    Corpus::Keep
});
