//! The trained demo model draws and sounds as its prompt says: measured on decoded frames and samples, with the server's
//! default guidance. The scenes are held out: no training clip has their combination of shape, colour, background and motion.

mod audio;
mod clip;
#[path = "../common/mod.rs"]
mod common;
mod video;

use clip::{Clip, Drawing, generate, generate_with};
use video::{COLOURS, distance};

/// A held-out scene.
struct Scene {
    prompt: &'static str,
    colour: &'static str,
    shape: &'static str,
    background: &'static str,
    motion: &'static str,
    sound: &'static str,
}

const SCENES: [Scene; 6] = [
    Scene {
        prompt: "An orange ball moves from left to right on a blue background, with short beeps.",
        colour: "orange",
        shape: "ball",
        background: "blue",
        motion: "right",
        sound: "beeps",
    },
    Scene {
        prompt: "A LARGE PURPLE SQUARE SLIDES TO THE LEFT ON A WHITE BACKGROUND, A HIGH TONE",
        colour: "purple",
        shape: "square",
        background: "white",
        motion: "left",
        sound: "high",
    },
    Scene {
        prompt: "a rising tone, a big white triangle rises on a green background",
        colour: "white",
        shape: "triangle",
        background: "green",
        motion: "up",
        sound: "rising",
    },
    Scene {
        prompt: "On a white background, a large purple ring falls, humming.",
        colour: "purple",
        shape: "ring",
        background: "white",
        motion: "down",
        sound: "hum",
    },
    Scene {
        prompt: "A frobby yellow ball grows on a purple background, silent.",
        colour: "yellow",
        shape: "ball",
        background: "purple",
        motion: "grow",
        sound: "silence",
    },
    Scene {
        prompt: "A large yellow square stands still on a green background, with a low hum",
        colour: "yellow",
        shape: "square",
        background: "green",
        motion: "still",
        sound: "hum",
    },
];

/// Counts of right answers.
#[derive(Debug, Default, PartialEq)]
struct Score {
    background: usize,
    colour: usize,
    motion: usize,
    shape: usize,
    sound: usize,
}

impl Score {
    fn add(&mut self, scene: &Scene, clip: &Clip) {
        let (video, kind) = (&clip.video, clip.audio.kind());
        let object = video.object();
        let seen = object.as_ref().map(|object| (object.colour, object.motion(), object.shape()));
        println!("{}: {} {seen:?} {kind}", scene.prompt, video.background());
        let (colour, motion, shape) = seen.unwrap_or(("none", "none", "none"));
        self.background += usize::from(video.background() == scene.background);
        self.colour += usize::from(colour == scene.colour);
        self.motion += usize::from(motion == scene.motion);
        self.shape += usize::from(shape == scene.shape);
        self.sound += usize::from(kind == scene.sound);
    }
}

#[test]
fn held_out_prompts_are_drawn_and_heard() {
    let mut score = Score::default();
    for scene in &SCENES {
        score.add(scene, &generate(scene.prompt, &[]));
    }
    assert!(score.background == 6 && score.colour == 6, "{score:?}");
    assert!(score.motion >= 5 && score.shape >= 4 && score.sound >= 5, "{score:?}");
}

#[test]
fn a_model_without_training_fails_the_same_measures() {
    let folder = tempfile::tempdir().unwrap();
    let models = folder.path().to_str().unwrap();
    assert!(common::run(&["demo-model", "--synthetic", models]).status.success());
    let mut score = Score::default();
    for scene in &SCENES[..2] {
        score.add(scene, &generate_with(models, scene.prompt, &[]));
    }
    assert!(score.background + score.colour + score.motion + score.shape + score.sound <= 3, "{score:?}");
}

fn colour(name: &str) -> [f32; 3] {
    COLOURS.iter().find(|(known, _)| *known == name).unwrap().1
}

fn ball(x: f32) -> Drawing {
    Drawing {
        shape: "ball",
        colour: colour("red"),
        background: colour("blue"),
        centre: (64.0, x),
        area: std::f32::consts::PI * 28.0 * 28.0,
    }
}

#[test]
fn a_video_starts_with_its_image_and_moves_on() {
    let folder = tempfile::tempdir().unwrap();
    let (file, first) = (folder.path().join("first.png"), ball(32.0));
    first.write(&file);
    let prompt = "A large red ball moves from left to right on a blue background, with a low hum.";
    let clip = generate(prompt, &["--image", file.to_str().unwrap()]);
    let psnr = clip.video.psnr(0, &first.pixels());
    assert!(psnr > 20.0, "{psnr} dB");
    let object = clip.video.object().unwrap();
    assert_eq!((object.colour, object.motion()), ("red", "right"));
}

#[test]
fn keyframes_are_met_at_their_times() {
    let folder = tempfile::tempdir().unwrap();
    let keys = [(0, 32.0), (24, 96.0)].map(|(frame, x)| {
        let file = folder.path().join(format!("{frame}.png"));
        ball(x).write(&file);
        (frame, ball(x), format!("{}@{frame}f", file.display()))
    });
    let prompt = "A large red ball moves from left to right on a blue background.";
    let clip = generate(prompt, &["--keyframe", &keys[0].2, "--keyframe", &keys[1].2]);
    for (frame, drawing, _) in &keys {
        let psnr = clip.video.psnr(*frame, &drawing.pixels());
        assert!(psnr > 17.0, "frame {frame}: {psnr} dB");
    }
    let (_, dx) = clip.video.object().unwrap().displacement();
    assert!(dx > 0.3, "{dx}");
}

/// Options that turn all guidance off.
const WITHOUT_GUIDANCE: [&str; 12] = [
    "--cfg-video",
    "1",
    "--stg-video",
    "0",
    "--modality-video",
    "1",
    "--cfg-audio",
    "1",
    "--stg-audio",
    "0",
    "--modality-audio",
    "1",
];

/// Returns the share of pixels that are at least 70 % of the way from the background's colour to the object's.
fn share_of_object(scene: &Scene, clip: &Clip) -> f32 {
    let (background, object) = (colour(scene.background), colour(scene.colour));
    let towards = [0, 1, 2].map(|i| object[i] - background[i]);
    let length: f32 = towards.iter().map(|value| value * value).sum();
    let is_object = |pixel: &&[f32; 3]| {
        let along: f32 = (0..3).map(|i| (pixel[i] - background[i]) * towards[i]).sum();
        along > 0.7 * length
    };
    let pixels = clip.video.frames.iter().flatten();
    pixels.filter(is_object).count() as f32 / (clip.video.frames.len() * clip.video.frames[0].len()) as f32
}

#[test]
fn guidance_raises_adherence_to_the_prompt() {
    // Both prompts ask for a large object: without guidance it is too small or too pale.
    let total = |more: &[&str]| -> f32 {
        SCENES[2..4].iter().map(|scene| share_of_object(scene, &generate(scene.prompt, more))).sum()
    };
    let (with, without) = (total(&[]), total(&WITHOUT_GUIDANCE));
    println!("share of the object: {with} with guidance, {without} without");
    assert!(with > 1.12 * without, "{with} with guidance, {without} without");
}

#[test]
fn a_negative_prompt_steers_away() {
    let prompt = "A large ball stays still on a black background.";
    let redness = |negative: &str| -> f32 {
        let shares = ["1", "2"].map(|seed| {
            let clip = generate(prompt, &["--negative-prompt", negative, "--seed", seed]);
            let red = clip.video.frames.iter().flatten().filter(|p| p[0] > p[1] + 60.0 && p[0] > p[2] + 60.0).count();
            red as f32 / clip.video.frames.len() as f32
        });
        shares.iter().sum()
    };
    let (against, towards) = (redness("a red ball"), redness("a blue ball"));
    println!("red pixels: {against} against red, {towards} against blue");
    assert!(against < 0.5 * towards, "{against} {towards}");
}

#[test]
fn a_seed_repeats_its_clip_and_another_seed_differs() {
    let clip = |seed| generate("A ball moves up.", &["--seed", seed]);
    let (first, again, other) = (clip("1"), clip("1"), clip("2"));
    assert!(first.bytes == again.bytes);
    let pixels = |clip: &Clip| clip.video.frames.iter().flatten().copied().collect::<Vec<_>>();
    let pairs = pixels(&first).into_iter().zip(pixels(&other));
    let difference = pairs.map(|(a, b)| distance(a, b)).sum::<f32>() / (25 * 128 * 128) as f32;
    assert!(difference > 10.0, "{difference}");
}
