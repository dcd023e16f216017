//! Crates exist to forbid imports: who may import whom, as data.

use std::collections::BTreeMap;

use cargo_metadata::{DependencyKind, MetadataCommand};

/// What each crate may import of ours.
const MAY_IMPORT: [(&str, &[&str]); 11] = [
    (
        "ltx2",
        &[
            "ltx2-server",
            "ltx2-worker",
            "ltx2-engine",
            "ltx2-pipeline",
            "ltx2-devtools",
            "ltx2-media",
            "ltx2-store",
            "ltx2-types",
        ],
    ),
    ("ltx2-server", &["ltx2-store", "ltx2-types"]),
    ("ltx2-worker", &["ltx2-engine", "ltx2-store", "ltx2-types"]),
    ("ltx2-engine", &["ltx2-media", "ltx2-types"]),
    ("ltx2-devtools", &["ltx2-pipeline", "ltx2-models", "ltx2-types"]),
    ("ltx2-pipeline", &["ltx2-models", "ltx2-types"]),
    ("ltx2-models", &["ltx2-kernels"]),
    ("ltx2-media", &["ltx2-types"]),
    ("ltx2-store", &["ltx2-types"]),
    ("ltx2-kernels", &[]),
    ("ltx2-types", &[]),
];

/// Libraries that belong to some of our crates alone.
const BELONGS_TO: [(&str, &[&str]); 6] = [
    ("axum", &["ltx2-server"]),
    ("sqlx", &["ltx2-store"]),
    ("ffmpeg-next", &["ltx2-media"]),
    ("candle-core", &["ltx2-kernels", "ltx2-models", "ltx2-pipeline", "ltx2-devtools"]),
    ("candle-nn", &["ltx2-kernels", "ltx2-models"]),
    ("clap", &["ltx2"]),
];

#[test]
fn imports_follow_the_table() {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    let table: BTreeMap<&str, &[&str]> = MAY_IMPORT.into_iter().collect();
    let mut wrong = Vec::new();
    // `tools/` is outside the table, but nothing in `crates/` may depend on it.
    let (crates, tools): (Vec<_>, Vec<_>) = metadata
        .packages
        .iter()
        .partition(|package| package.manifest_path.parent().unwrap().parent().unwrap().ends_with("crates"));
    for package in &crates {
        let importer = package.name.as_str();
        let Some(allowed) = table.get(importer) else {
            wrong.push(format!("{importer} is not in the table"));
            continue;
        };
        for dependency in package.dependencies.iter().filter(|d| d.kind == DependencyKind::Normal) {
            let imported = dependency.name.as_str();
            let ours_but_forbidden = table.contains_key(imported) && !allowed.contains(&imported);
            let not_theirs =
                BELONGS_TO.iter().any(|(library, owners)| *library == imported && !owners.contains(&importer));
            let is_a_tool = tools.iter().any(|tool| tool.name == imported);
            if ours_but_forbidden || not_theirs || is_a_tool {
                wrong.push(format!("{importer} imports {imported}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(crates.len(), table.len());
}

/// A build for a bare GPU machine: `cargo build -p ltx2 --no-default-features`.
#[test]
fn the_lean_build_has_neither_ffmpeg_nor_the_server() {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    let ltx2 = metadata.packages.iter().find(|package| package.name == "ltx2").unwrap();
    let media = &ltx2.features["media"];
    let optional = ltx2.dependencies.iter().filter(|dependency| dependency.optional);
    let optional: Vec<&str> = optional.map(|dependency| dependency.name.as_str()).collect();
    // By the table above, what is left brings in neither of them.
    for name in ["ltx2-engine", "ltx2-media", "ltx2-server", "ltx2-store", "ltx2-worker", "tokio"] {
        assert!(optional.contains(&name) && media.contains(&format!("dep:{name}")), "{name} is always there");
    }
    let lean: Vec<&String> = ltx2
        .features
        .iter()
        .filter(|(name, _)| !["default", "media"].contains(&name.as_str()))
        .flat_map(|(_, turns_on)| turns_on)
        .collect();
    assert!(!lean.iter().any(|feature| feature.contains("media") || feature.starts_with("dep:")), "{lean:?}");
}
