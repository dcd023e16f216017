//! A changed model set gives the video of the original one or is refused by the name of a tensor, for random changes.

use safetensors::Dtype;

use crate::edit::{Contents, Stored, e4m3, to_e4m3};
use crate::{Demo, Recording};

const FILES: [&str; 3] = ["ltx.safetensors", "gemma/model.safetensors", "spatial_upscaler.safetensors"];
const CASES: u64 = 40;

/// A splitmix64 generator.
struct Random(u64);

impl Random {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % count as u64) as usize
    }

    fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// Applies a random change and returns the name of the tensor that it concerns.
fn change(contents: &mut Contents, random: &mut Random) -> String {
    let names: Vec<String> = contents.tensors.keys().cloned().collect();
    let name = random.pick(&names).clone();
    let stored = contents.tensors[&name].clone();
    let layer = name.rsplit_once('.').map_or(name.as_str(), |(layer, _)| layer).to_string();
    match random.below(8) {
        0 => drop(contents.tensors.remove(&name)),
        1 => {
            contents.tensors.remove(&name);
            let renamed = random.pick(&["x", "weight_scale", "to_gate_logits.weight", "weight._data"]);
            contents.tensors.insert(format!("{layer}.{renamed}"), stored);
        }
        // The same values in a wider dtype.
        2 if stored.dtype == Dtype::BF16 => {
            contents.tensors.insert(name.clone(), Stored::floats(&stored.shape, &stored.values()));
        }
        // The same bytes as elements of another type.
        3 if stored.dtype == Dtype::BF16 => {
            let dtype = *random.pick(&[Dtype::I16, Dtype::U16]);
            contents.tensors.insert(name.clone(), Stored { dtype, ..stored });
        }
        4 => {
            let shape = [stored.shape.as_slice(), &[1]].concat();
            contents.tensors.insert(name.clone(), Stored { shape, ..stored });
        }
        _ => {
            let suffixes = [
                "weight_scale",
                "scale_weight",
                "input_scale",
                "scale_input",
                "weight_scale_inv",
                "weight_scale_2",
                "pre_quant_scale",
                "bias_scale",
                "comfy_quant",
                "qweight",
                "weight.absmax",
                "SCB",
                "g",
                "norm.weight",
            ];
            let suffix = random.pick(&suffixes);
            contents.tensors.entry(format!("{layer}.{suffix}")).or_insert(Stored::floats(&[1], &[0.5]));
        }
    }
    name
}

/// Stores two layers of the checkpoint in scaled float8.
fn quantize(demo: &Demo) {
    let path = demo.path(FILES[0]);
    let mut contents = Contents::read(&path);
    for layer in ["attn1.to_q", "ff.net.2"] {
        let layer = format!("model.diffusion_model.transformer_blocks.0.{layer}");
        let weight = contents.tensors.get_mut(&format!("{layer}.weight")).unwrap();
        let bytes = to_e4m3(&weight.values().iter().map(|value| value * 8.0).collect::<Vec<_>>());
        assert!(bytes.iter().any(|code| e4m3(*code) != 0.0));
        *weight = Stored { dtype: Dtype::F8_E4M3, shape: weight.shape.clone(), bytes };
        contents.tensors.insert(format!("{layer}.weight_scale"), Stored::floats(&[], &[0.125]));
    }
    contents.write(&path);
}

/// Changes a copy of `original` at random. Returns whether it was opened.
fn check(original: &Demo, expected: &Recording, seed: u64) -> bool {
    let mut random = Random(seed);
    let file = *random.pick(&FILES);
    let path = original.path(file);
    let before = std::fs::read(&path).unwrap();
    let mut contents = Contents::read(&path);
    let changes = 1 + random.below(3);
    let names: Vec<String> = (0..changes).map(|_| change(&mut contents, &mut random)).collect();
    contents.write(&path);
    let opened = match original.open() {
        Ok(models) => {
            let same = crate::run(models, Vec::new()).unwrap() == *expected;
            assert!(same, "seed {seed}: {file} with changed {names:?} gives another video");
            true
        }
        Err(error) => {
            let error = error.to_string();
            let layer = |name: &String| name.rsplit_once('.').map_or(name.clone(), |(layer, _)| layer.into());
            assert!(names.iter().any(|name| error.contains(&layer(name))), "seed {seed}: {names:?}: {error}");
            false
        }
    };
    std::fs::write(&path, before).unwrap();
    opened
}

#[test]
fn changed_files_give_the_same_video_or_an_error_that_names_a_tensor() {
    let (plain, float8) = (Demo::new(), Demo::new());
    quantize(&float8);
    let expected = [plain.run(), float8.run()];
    assert!(expected[0] != expected[1]);
    let opened = (0..CASES).filter(|seed| {
        let (demo, expected) = if seed % 2 == 0 { (&plain, &expected[0]) } else { (&float8, &expected[1]) };
        check(demo, expected, *seed)
    });
    let opened = opened.count() as u64;
    assert!(opened > 0 && opened < CASES, "{opened} of {CASES} sets were opened");
}
