//! Server settings (public URL, CORS origins, API keys, webhook secret, networks), one per line.
#![no_main]

use ipnet::IpNet;
use libfuzzer_sys::{Corpus, fuzz_target};
use ltx2_server::{ApiKeys, CorsOrigins, PublicUrl, Secret};

fuzz_target!(|input: &[u8]| -> Corpus {
    let Ok(text) = std::str::from_utf8(input) else { return Corpus::Reject };
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let origins = CorsOrigins::parse(&lines);
    assert!(!lines.is_empty() || origins == Ok(CorsOrigins::None));
    assert_eq!(ApiKeys::new(&lines).is_empty(), lines.is_empty());
    for line in &lines {
        let _ = line.parse::<IpNet>();
        if PublicUrl::parse(line).is_ok() {
            assert!(line.starts_with(['h', 'H']), "{line:?}");
        }
        if Secret::parse(line).is_ok() {
            assert!(line.trim().starts_with("whsec_"), "{line:?}");
        }
    }
    Corpus::Keep
});
