//! Choice of files in a folder: hidden, damaged and ambiguous files, and errors that list what was seen.

use std::path::{Path, PathBuf};

use ltx2_devtools::PublishedModel;
use ltx2_pipeline::{FileReport, Inspection, ModelChoice, ModelSet};

use super::{demo, open_error};

const LFS_POINTER: &str = "version https://git-lfs.github.com/spec/v1\noid sha256:0000\nsize 1\n";
const PAGE: &str = "<!DOCTYPE html><html><title>Sign in</title></html>";

fn write(path: &Path, content: impl AsRef<[u8]>) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

fn rename(folder: &Path, from: &str, to: &str) {
    std::fs::create_dir_all(folder.join(to).parent().unwrap()).unwrap();
    std::fs::rename(folder.join(from), folder.join(to)).unwrap();
}

fn copy(folder: &Path, from: &str, to: &str) {
    std::fs::create_dir_all(folder.join(to).parent().unwrap()).unwrap();
    std::fs::copy(folder.join(from), folder.join(to)).unwrap();
}

fn inspect(folder: &Path) -> Inspection {
    Inspection::of(folder, &ModelChoice::default()).unwrap()
}

/// Returns the report of the file `name`.
fn report(inspection: &Inspection, name: &str) -> FileReport {
    let found = inspection.files.iter().find(|file| file.path.ends_with(name));
    found.unwrap_or_else(|| panic!("{name} is not in {inspection:?}")).clone()
}

#[test]
fn hidden_files_are_skipped() {
    let models = demo(PublishedModel::Ltx2_19b);
    let hidden = "\0\u{5}\u{16}\u{7}\0\u{2}\0\0Mac OS X        ";
    for name in ["._ltx.safetensors", "._x.gguf", "gemma/._model.safetensors", "gemma/._x.gguf", ".cache/a.safetensors"]
    {
        write(&models.path().join(name), hidden);
    }
    let inspection = inspect(models.path());
    assert_eq!((inspection.missing.len(), inspection.files.len()), (0, 4), "{inspection:?}");
    ModelSet::open(models.path()).unwrap();
}

#[test]
fn damaged_unrelated_files_are_reported_and_skipped() {
    let models = demo(PublishedModel::Ltx2_19b);
    let truncated = std::fs::read(models.path().join("spatial_upscaler.safetensors")).unwrap();
    for (name, content, expected) in [
        ("pointer.safetensors", LFS_POINTER.as_bytes(), "run `git lfs pull`"),
        ("page.gguf", PAGE.as_bytes(), "it is an HTML page: the download failed"),
        ("none.safetensors", b"", "it is empty: the download failed"),
        ("cut.safetensors", &truncated[..truncated.len() / 2], "it is truncated or damaged: download it again"),
        ("text.safetensors", b"not a model at all, but text", "has another format or is damaged"),
        ("old.ckpt", b"x", "not a safetensors or GGUF file"),
        ("old.pt", b"x", "not a safetensors or GGUF file"),
        ("old.bin", b"x", "not a safetensors or GGUF file"),
    ] {
        write(&models.path().join(name), content);
        let report = report(&inspect(models.path()), name);
        assert!(report.content.contains(expected) && report.used_as.is_empty(), "{report:?}");
    }
    write(&models.path().join("other/config.json"), "");
    let report = report(&inspect(models.path()), "other");
    assert!(report.content.contains("config.json is not a model file: it is empty"), "{report:?}");
    ModelSet::open(models.path()).unwrap();
}

#[test]
fn failed_downloads_of_required_files_are_named_once_with_the_remedy() {
    let models = demo(PublishedModel::Ltx2_19b);
    for (name, expected) in [
        ("gemma/tokenizer.json", "gemma/tokenizer.json: it is a Git LFS pointer"),
        ("gemma/model.safetensors", "gemma/model.safetensors is not a model file: it is a Git LFS pointer"),
        ("ltx.safetensors", "it lacks an LTX-2 checkpoint"),
    ] {
        let path = models.path().join(name);
        let content = std::fs::read(&path).unwrap();
        write(&path, LFS_POINTER);
        let error = open_error(models.path());
        assert!(error.contains(expected) && error.matches("git lfs pull").count() == 1, "{error}");
        write(&path, content);
    }
}

#[test]
fn missing_files_are_explained_by_the_files_seen() {
    let models = demo(PublishedModel::Ltx2_19b);
    let folder = models.path();
    let config = folder.join("gemma/config.json");
    let gemma = std::fs::read_to_string(&config).unwrap();
    write(&config, gemma.replace(r#""model_type": "gemma3","#, r#""model_type": "qwen3","#));
    write(&folder.join("old.ckpt"), "x");
    let error = open_error(folder);
    for expected in [
        "it lacks a Gemma 3 text encoder (a folder with config.json and *.safetensors",
        "\n  gemma: a model of the type qwen3, not gemma3",
        "\n  ltx.safetensors: a complete LTX checkpoint 2.0",
        "\n  spatial_upscaler.safetensors: a latent upscaler",
        "\n  old.ckpt: not a safetensors or GGUF file",
    ] {
        assert!(error.contains(expected), "{error}");
    }
    write(&config, &gemma);
    std::fs::remove_file(folder.join("gemma/tokenizer.json")).unwrap();
    assert!(open_error(folder).contains("it lacks tokenizer.json beside the text encoder"), "{}", open_error(folder));
}

#[test]
fn names_are_compared_without_case() {
    let models = demo(PublishedModel::Ltx2_19b);
    rename(models.path(), "ltx.safetensors", "LTX-2-19B-Dev.SAFETENSORS");
    rename(models.path(), "spatial_upscaler.safetensors", "upscaler.sft");
    rename(models.path(), "distilled_lora.safetensors", "LTX2-Distilled-LoRA.safetensors");
    let capabilities = ModelSet::open(models.path()).unwrap().capabilities();
    assert!(capabilities.upscaler.is_some() && !capabilities.distilled);
    assert!(capabilities.distilled_lora.unwrap().ends_with("LTX2-Distilled-LoRA.safetensors"));
}

#[test]
fn a_style_lora_is_never_the_distilled_one() {
    let models = demo(PublishedModel::Ltx2_19b);
    rename(models.path(), "distilled_lora.safetensors", "watercolour.safetensors");
    let capabilities = ModelSet::open(models.path()).unwrap().capabilities();
    assert_eq!((capabilities.loras.len(), capabilities.distilled_lora), (1, None));
}

#[test]
fn loras_of_one_name_are_both_reachable() {
    let models = demo(PublishedModel::Ltx2_19b);
    copy(models.path(), "distilled_lora.safetensors", "ink.safetensors");
    copy(models.path(), "distilled_lora.safetensors", "loras/ink.safetensors");
    write(&models.path().join("loras/page.safetensors"), PAGE);
    let inspection = inspect(models.path());
    assert_eq!(report(&inspection, "loras/ink.safetensors").used_as, [r#"LoRA "loras/ink""#]);
    assert!(report(&inspection, "ink.safetensors").used_as[0].contains("ink"));
    assert!(inspection.notes[0].contains(r#"requests refer to this one as "loras/ink""#), "{inspection:?}");
    let capabilities = ModelSet::open(models.path()).unwrap().capabilities();
    assert_eq!(capabilities.loras.len(), 3);
    assert!(capabilities.unusable_loras[0].1.contains("it is an HTML page"), "{capabilities:?}");
}

#[test]
fn of_several_files_the_documented_one_is_used_and_options_choose_another() {
    let models = demo(PublishedModel::Ltx2_19b);
    let folder = models.path();
    rename(folder, "ltx.safetensors", "ltx-2-19b-dev.safetensors");
    rename(folder, "spatial_upscaler.safetensors", "ltx-2-spatial-upscaler-x2-1.0.safetensors");
    rename(folder, "distilled_lora.safetensors", "ltx-2-19b-distilled-lora-384.safetensors");
    copy(folder, "ltx-2-19b-dev.safetensors", "ltx-2-19b-distilled.safetensors");
    copy(folder, "ltx-2-spatial-upscaler-x2-1.0.safetensors", "ltx-2.3-spatial-upscaler-x2-1.0.safetensors");
    copy(folder, "ltx-2-spatial-upscaler-x2-1.0.safetensors", "ltx-2-spatial-upscaler-x2-1.1.safetensors");
    copy(folder, "ltx-2-19b-distilled-lora-384.safetensors", "ltx-2.3-22b-distilled-lora-384.safetensors");
    copy(folder, "gemma/model.safetensors", "gemma-more/model.safetensors");
    copy(folder, "gemma/config.json", "gemma-more/config.json");
    copy(folder, "gemma/tokenizer.json", "gemma-more/tokenizer.json");
    let used = |inspection: &Inspection, role: &str| {
        let is_used = |file: &&FileReport| file.used_as.iter().any(|used| used == role);
        let found: Vec<PathBuf> = inspection
            .files
            .iter()
            .filter(is_used)
            .map(|file| file.path.strip_prefix(folder).unwrap().into())
            .collect();
        assert_eq!(found.len(), 1, "{inspection:?}");
        found[0].to_string_lossy().into_owned()
    };
    let inspection = inspect(folder);
    for (role, expected) in [
        ("checkpoint", "ltx-2-19b-dev.safetensors"),
        ("spatial upscaler", "ltx-2-spatial-upscaler-x2-1.1.safetensors"),
        ("distilled LoRA", "ltx-2-19b-distilled-lora-384.safetensors"),
        ("text encoder", "gemma-more"),
    ] {
        assert_eq!(used(&inspection, role), expected);
    }
    for option in ["--checkpoint", "--upscaler", "--distilled-lora", "--text-encoder"] {
        assert!(inspection.notes.iter().any(|note| note.contains(option)), "{option}: {inspection:?}");
    }
    let choice = ModelChoice {
        checkpoint: vec!["ltx-2-19b-distilled.safetensors".into()],
        upscaler: Some(folder.join("ltx-2-spatial-upscaler-x2-1.0.safetensors")),
        text_encoder: Some("gemma".into()),
        distilled_lora: Some("ltx-2.3-22b-distilled-lora-384.safetensors".into()),
    };
    let capabilities = ModelSet::open_with(folder, &choice).unwrap().capabilities();
    assert!(capabilities.distilled);
    assert!(capabilities.distilled_lora.unwrap().ends_with("ltx-2.3-22b-distilled-lora-384.safetensors"));
    let refused = |choice| ModelSet::open_with(folder, &choice).map(drop).unwrap_err().to_string();
    let error = refused(ModelChoice { upscaler: Some("gemma".into()), ..ModelChoice::default() });
    assert!(error.contains("--upscaler is") && error.contains("which is a Gemma 3 text encoder"), "{error}");
    let error = refused(ModelChoice { checkpoint: vec!["nowhere".into()], ..ModelChoice::default() });
    assert!(error.contains("--checkpoint is nowhere, which does not exist"), "{error}");
}
