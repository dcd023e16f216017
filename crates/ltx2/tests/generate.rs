//! `ltx2 generate` and `ltx2 plan`: results and error messages.

mod common;

use std::path::Path;
use std::process::Command;

use common::{demo_model, error_of, ffprobe, run};

fn generate(out: &Path, more: &[&str]) -> std::process::Output {
    let models = demo_model().to_str().unwrap();
    let mut arguments = vec!["generate", "--models", models, "--prompt", "A fox in the snow"];
    if !more.contains(&"--steps") {
        arguments.extend(["--steps", "2"]);
    }
    arguments.extend(["--out", out.to_str().unwrap()]);
    arguments.extend(more);
    run(&arguments)
}

fn files_in(folder: &Path) -> Vec<String> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn the_video_has_the_requested_size_length_and_rate() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("fox.mp4");
    let output = generate(
        &out,
        &["--width", "96", "--height", "64", "--frames", "12", "--rate", "23.976", "--pipeline", "one-stage"],
    );
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), out.to_str().unwrap());
    let video = ffprobe(&out, "v", "codec_name,width,height,pix_fmt,r_frame_rate,nb_read_frames");
    assert_eq!(video, "h264,96,64,yuv420p,24000/1001,12");
    let audio = ffprobe(&out, "a", "codec_name,profile,channels");
    assert_eq!(audio, "aac,LC,2");
    assert_eq!(files_in(folder.path()), ["fox.mp4"]);
}

#[test]
fn a_seed_determines_the_video() {
    let folder = tempfile::tempdir().unwrap();
    let small = ["--width", "64", "--height", "64", "--frames", "1"];
    let bytes = |name: &str, seed: &str| {
        let out = folder.path().join(name);
        assert!(generate(&out, &[&small[..], &["--seed", seed]].concat()).status.success());
        std::fs::read(out).unwrap()
    };
    assert_eq!(bytes("a.mp4", "7"), bytes("b.mp4", "7"));
    assert_ne!(bytes("c.mp4", "8"), bytes("d.mp4", "7"));
}

#[test]
fn the_format_follows_the_extension_or_the_option() {
    let folder = tempfile::tempdir().unwrap();
    let small = ["--width", "64", "--height", "64", "--frames", "9", "--steps", "1"];
    for (name, more, codecs) in [
        ("a.webm", &[][..], ("vp9", "opus")),
        ("b.bin", &["--format", "mov", "--quality", "low"], ("prores", "pcm_s16le")),
        ("c.mp4", &["--no-audio"], ("h264", "")),
        ("d.gif", &[], ("gif", "")),
    ] {
        let out = folder.path().join(name);
        let output = generate(&out, &[&small[..], more].concat());
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let found = (ffprobe(&out, "v", "codec_name"), ffprobe(&out, "a", "codec_name"));
        assert_eq!((found.0.as_str(), found.1.as_str()), codecs, "{name}");
    }
    let unknown = generate(&folder.path().join("x.avi"), &small);
    let error = String::from_utf8_lossy(&unknown.stderr);
    assert!(
        error.contains("but its extension must be mp4, webm, mov, gif or zip, unless --format is given"),
        "{error}"
    );
}

#[test]
fn a_maximum_size_is_met_and_settings_are_in_the_file_unless_excluded() {
    let folder = tempfile::tempdir().unwrap();
    let small = ["--width", "64", "--height", "64", "--frames", "9", "--steps", "1", "--seed", "7"];
    let comment = |out: &Path| {
        let mut command = Command::new("ffprobe");
        command.args(["-v", "error", "-show_entries", "format_tags=comment", "-of", "default=nw=1:nk=1"]).arg(out);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    let (free, limited) = (folder.path().join("free.mp4"), folder.path().join("limited.mp4"));
    assert!(generate(&free, &small).status.success());
    let settings: serde_json::Value = serde_json::from_str(&comment(&free)).unwrap();
    assert_eq!((&settings["prompt"], &settings["seed"]), (&"A fox in the snow".into(), &7.into()));
    assert!(settings["model_version"].is_string() && settings["pipeline"].is_string(), "{settings}");

    let max_bytes = free.metadata().unwrap().len() * 9 / 10;
    let output = generate(&limited, &[&small[..], &["--no-metadata", "--max-bytes", &max_bytes.to_string()]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(limited.metadata().unwrap().len() <= max_bytes);
    assert_eq!(comment(&limited), "");

    let output = generate(&limited, &[&small[..], &["--max-bytes", "1kB"]].concat());
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("max_bytes is 1000, but the smallest video of acceptable quality has "), "{error}");
}

#[test]
fn an_image_becomes_the_first_frame() {
    let folder = tempfile::tempdir().unwrap();
    let image = concat!(env!("CARGO_MANIFEST_DIR"), "/../ltx2-pipeline/tests/fixtures/image.png");
    let out = folder.path().join("fox.mp4");
    let output = generate(&out, &["--width", "64", "--height", "64", "--frames", "9", "--image", image]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(ffprobe(&out, "v", "nb_read_frames"), "9");
}

#[test]
fn every_pipeline_generates_a_video_with_keyframes_and_a_lora() {
    let folder = tempfile::tempdir().unwrap();
    let image = concat!(env!("CARGO_MANIFEST_DIR"), "/../ltx2-pipeline/tests/fixtures/image.png");
    let lora = format!("{}:0.5", demo_model().join("distilled_lora.safetensors").display());
    let keys = [format!("{image}@0"), format!("{image}@8f:0.8")];
    for pipeline in ["one-stage", "two-stage", "distilled"] {
        let out = folder.path().join(format!("{pipeline}.mp4"));
        let size = ["--width", "64", "--height", "64", "--frames", "9", "--pipeline", pipeline];
        let more = ["--lora", &lora, "--keyframe", &keys[0], "--keyframe", &keys[1]];
        let output = generate(&out, &[&size[..], &more[..]].concat());
        assert!(output.status.success(), "{pipeline}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(ffprobe(&out, "v", "nb_read_frames"), "9");
    }
}

#[test]
fn a_lora_of_another_model_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let error = |file: &std::path::Path| {
        let output = generate(&folder.path().join("x.mp4"), &["--lora", file.to_str().unwrap(), "--frames", "1"]);
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let original = std::fs::read(demo_model().join("distilled_lora.safetensors")).unwrap();
    let renamed = |from: &[u8], to: &[u8]| {
        let mut bytes = original.clone();
        for at in 0..bytes.len() - from.len() {
            if &bytes[at..at + from.len()] == from {
                bytes[at..at + from.len()].copy_from_slice(to);
            }
        }
        let file = folder.path().join("other.safetensors");
        std::fs::write(&file, bytes).unwrap();
        file
    };
    let text = error(&renamed(b"transformer_blocks", b"transformer_stacks"));
    assert!(text.contains("other.safetensors does not fit: none of its 28 layers is in the checkpoint"), "{text}");
    let text = error(&demo_model().join("spatial_upscaler.safetensors"));
    assert!(text.contains("spatial_upscaler.safetensors does not fit: it has no pair of matrices"), "{text}");
}

#[test]
fn an_invalid_option_is_reported_with_value_and_rule() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("fox.mp4");
    for (option, value, expected) in [
        ("--width", "100", "width is 100, but it must be a multiple of 32"),
        ("--height", "0", "height is 0, but it must be between 64 and 4096"),
        ("--frames", "0", "num_frames is 0, but it must be between 1"),
        ("--frames", "-3", "num_frames is -3, but it must be between 1"),
        ("--rate", "NaN", "frame_rate is NaN, but it must be a finite number"),
        ("--rate", "0", "frame_rate is 0, but it must be between 1 and 120"),
        ("--steps", "0", "num_inference_steps is 0, but it must be between 1"),
        ("--seed", "-2", "seed is -2, but it must be at least -1"),
        ("--cfg-video", "inf", "cfg_scale_video is inf, but it must be a finite number"),
        ("--rescale-audio", "2", "rescale_audio is 2, but it must be between 0 and 1"),
        ("--image", "nowhere.png", "cannot read nowhere.png"),
        ("--image", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"), "Cargo.toml"),
        ("--pipeline", "three-stage", "pipeline is three-stage, but it must be one of one-stage, two-stage, distilled"),
        ("--width", "96", "width is 96, but it must be a multiple of 64 for two stages, such as 64 or 128"),
        ("--camera", "zoom", "camera is zoom, but it must be MOTION or MOTION:STRENGTH, with one of static, dolly_in"),
        ("--camera", "jib_up:3", "camera_strength is 3, but it must be between 0 and 2"),
        ("--camera", "jib_up", "camera is jib_up, but the model set has no LoRA named like camera-control-jib-up"),
        ("--keyframe", "end.png", "keyframe is end.png, but it must be FILE@TIME"),
        ("--keyframe", "end.png@99", "image_frame is 2475, but it must be below the number of frames, 121"),
        ("--lora", "nowhere.safetensors:0.5", "cannot read nowhere.safetensors"),
        ("--lora", "x.safetensors:9", "lora_strength is 9, but it must be between -2 and 2"),
        ("--device", "tpu", "device is tpu, but it must be auto, cpu or cuda"),
    ] {
        let output = generate(&out, &[option, value]);
        assert!(!output.status.success(), "{option} {value} was accepted");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains(expected), "{option} {value}: {text}");
    }
    assert!(files_in(folder.path()).is_empty(), "{:?}", files_in(folder.path()));
}

#[test]
fn an_unusable_model_set_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let error = || {
        error_of(&[
            "generate",
            "--prompt",
            "x",
            "--models",
            folder.path().to_str().unwrap(),
            "--out",
            path("x.mp4").to_str().unwrap(),
        ])
    };
    assert!(error().contains("is not a model set: it has no files"), "{}", error());

    let original = std::fs::read(demo_model().join("ltx.safetensors")).unwrap();
    std::fs::write(path("ltx.safetensors"), &original[..original.len() / 2]).unwrap();
    assert!(error().contains("ltx.safetensors is not a usable safetensors file"), "{}", error());

    std::fs::write(path("ltx.safetensors"), &original).unwrap();
    assert!(error().contains("it lacks a Gemma 3 text encoder"), "{}", error());

    // The same length, so that only the value changes.
    let text = br#"\"qk_norm\": \"rms_norm\""#;
    let at = original.windows(text.len()).position(|window| window == text).expect("the header has it");
    let mut foreign = original.clone();
    foreign[at..at + text.len()].copy_from_slice(br#"\"qk_norm\": \"new_norm\""#);
    std::fs::write(path("ltx.safetensors"), foreign).unwrap();
    std::fs::create_dir(path("gemma")).unwrap();
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        std::fs::copy(demo_model().join("gemma").join(name), path("gemma").join(name)).unwrap();
    }
    let unsupported = "config value transformer.qk_norm is \"new_norm\", but only \"rms_norm\" is supported";
    assert!(error().contains(unsupported), "{}", error());
    assert!(!path("x.mp4").exists());
}

#[test]
fn a_plan_is_printed_without_loading_weights() {
    let models = demo_model().to_str().unwrap();
    let output = run(&[
        "plan", "--models", models, "--prompt", "A fox", "--width", "768", "--height", "512", "--frames", "120",
        "--json",
    ]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let stages = printed["plan"]["stages"].as_array().unwrap();
    assert_eq!(printed["plan"]["pipeline"], "two-stage");
    assert_eq!((&stages[0]["shape"]["width"], &stages[1]["shape"]["width"]), (&384.into(), &768.into()));
    assert_eq!(stages[1]["tokens"], serde_json::json!({"video": 6144, "audio": 121}));
    assert_eq!(stages[1]["loras"].as_array().unwrap().len(), 1);
    assert!(printed["memory"]["peak"].as_u64().unwrap() > 0);
}

fn plan(more: &[&str]) -> Vec<&'static str> {
    let models = demo_model().to_str().unwrap();
    let more = more.iter().map(|text| -> &'static str { String::from(*text).leak() });
    ["plan", "--models", models, "--prompt", "A fox"].into_iter().chain(more).collect()
}

#[test]
fn a_plan_is_a_table_for_people() {
    let output = run(&plan(&["--width", "768", "--height", "512", "--frames", "120"]));
    let text = String::from_utf8(output.stdout).unwrap();
    for expected in ["pipeline  two-stage", "1      384x256", "2      768x512", "estimated memory"] {
        assert!(text.contains(expected), "{text}");
    }
    assert!(text.lines().count() < 30, "{text}");
}

#[test]
fn a_reader_that_has_gone_away_is_no_error() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = common::ltx2().args(plan(&["--json"])).stdout(writer).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn model_files_are_inspected_and_chosen_by_options() {
    let models = demo_model().to_str().unwrap();
    let output = run(&["models", "inspect", models]);
    let text = String::from_utf8(output.stdout).unwrap();
    for (file, role) in [
        ("ltx.safetensors", "checkpoint"),
        ("gemma", "text encoder"),
        ("spatial_upscaler.safetensors", "spatial upscaler"),
        ("distilled_lora.safetensors", "distilled LoRA"),
    ] {
        let line = text.lines().find(|line| line.starts_with(file) && line.contains(role));
        assert!(output.status.success() && line.is_some(), "{file}: {text}");
    }
    let json = run(&["models", "inspect", models, "--json"]).stdout;
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!((json["missing"].as_array().unwrap().len(), json["files"].as_array().unwrap().len()), (0, 4));

    let without = tempfile::tempdir().unwrap();
    let folder = without.path().to_str().unwrap();
    let error = error_of(&["models", "inspect", folder]);
    assert!(error.contains("it lacks an LTX-2 checkpoint") && error.contains("a Gemma 3 text encoder"), "{error}");
    let error = error_of(&plan(&["--upscaler", "gemma"]));
    assert!(error.contains("--upscaler is") && error.contains("which is a Gemma 3 text encoder"), "{error}");
}

#[test]
fn without_models_the_next_step_is_said() {
    let folder = tempfile::tempdir().unwrap();
    for command in ["serve", "plan"] {
        let mut arguments = vec![command, "--models", "weights"];
        arguments.extend(["--prompt", "x"].iter().filter(|_| command == "plan"));
        let output = common::ltx2().args(arguments).current_dir(folder.path()).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.contains("run: ltx2 demo-model weights"), "{error}");
        assert!(error.contains("--models DIR"), "{error}");
    }
}

#[test]
fn errors_of_the_system_are_said_once() {
    let out = tempfile::tempdir().unwrap();
    let missing = out.path().join("nowhere/x.mp4");
    let output = generate(&missing, &["--frames", "1", "--width", "64", "--height", "64"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert_eq!(error.matches("No such file or directory").count(), 1, "{error}");
}
