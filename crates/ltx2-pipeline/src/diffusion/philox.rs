//! torch's CUDA random number generator: on every device a seed gives the values of `torch.randn(..., device="cuda")`.
//!
//! Philox 4x32-10 (Salmon et al., 2011) with the seed as key; the low half of the counter is the generator's offset,
//! the high half the thread. Normal values are computed in pairs by the Box-Muller transform. The number of threads,
//! and so the values of a long tensor, depend on the GPU's number of multiprocessors.

use rayon::prelude::*;

/// Multiprocessors of an H100 or H200, the default on all devices, so that a seed gives the same video everywhere.
pub const DEFAULT_MULTIPROCESSORS: usize = 132;

const BLOCK: usize = 256;
const BLOCKS_PER_MULTIPROCESSOR: usize = 8;

/// Generator with its seed and offset.
#[derive(Debug, Clone)]
pub struct Philox {
    seed: u64,
    /// Number of consumed blocks of four 32-bit words.
    offset: u64,
    multiprocessors: usize,
}

impl Philox {
    /// Returns `torch.Generator("cuda").manual_seed(seed)` of a GPU with `multiprocessors` multiprocessors.
    pub fn new(seed: u64, multiprocessors: usize) -> Self {
        Self { seed, offset: 0, multiprocessors: multiprocessors.max(1) }
    }

    /// Returns a generator of another seed for the same GPU.
    pub fn reseeded(&self, seed: u64) -> Self {
        Self::new(seed, self.multiprocessors)
    }

    /// Returns the next `count` normal values, as one call of `randn`.
    pub fn randn(&mut self, count: usize) -> Vec<f32> {
        self.draw(count, normal4)
    }

    /// Returns the next `count` normal values of one float64 call of `randn`, which differ from the float32 ones.
    pub fn randn_f64(&mut self, count: usize) -> Vec<f64> {
        self.draw(count, normal2_f64)
    }

    fn draw<T: Copy + Default + Send, const UNROLL: usize>(
        &mut self,
        count: usize,
        normals: impl Fn(u64, u64, u64) -> [T; UNROLL] + Sync,
    ) -> Vec<T> {
        if count == 0 {
            return Vec::new();
        }
        let threads = BLOCK * count.div_ceil(BLOCK).min(self.multiprocessors * BLOCKS_PER_MULTIPROCESSOR);
        let rounds = count.div_ceil(threads * UNROLL);
        let mut values = vec![T::default(); count];
        values.par_chunks_mut(threads * UNROLL).enumerate().for_each(|(round, chunk)| {
            let counter = self.offset + round as u64;
            // The values of a thread are `threads` elements apart.
            for thread in 0..threads.min(chunk.len()) {
                for (i, normal) in normals(self.seed, counter, thread as u64).into_iter().enumerate() {
                    if let Some(value) = chunk.get_mut(thread + i * threads) {
                        *value = normal;
                    }
                }
            }
        });
        self.offset += rounds as u64;
        values
    }
}

/// Returns value `index` of a seed's uniform values in [0, 1).
pub(crate) fn uniform(seed: u64, index: u64) -> f32 {
    (philox4x32_10(seed, index, 0)[0] >> 8) as f32 / (1u32 << 24) as f32
}

/// Returns the four normal values that a thread draws at a time.
fn normal4(seed: u64, counter: u64, thread: u64) -> [f32; 4] {
    let [x, y, z, w] = philox4x32_10(seed, counter, thread);
    let (a, b) = box_muller(x, y);
    let (c, d) = box_muller(z, w);
    [a, b, c, d]
}

/// Returns the two float64 normal values that a thread draws at a time, from 53 bits each (`curand_normal2_double`).
fn normal2_f64(seed: u64, counter: u64, thread: u64) -> [f64; 2] {
    const SCALE: f64 = 1.0 / (1u64 << 53) as f64;
    let [x, y, z, w] = philox4x32_10(seed, counter, thread);
    let wide = |low: u32, high: u32| (u64::from(low) ^ (u64::from(high) << 21)) as f64;
    let u = wide(x, y) * SCALE + SCALE / 2.0;
    let v = wide(z, w) * (2.0 * SCALE) + SCALE;
    let radius = (-2.0 * u.ln()).sqrt();
    let (sin, cos) = (v * std::f64::consts::PI).sin_cos();
    [radius * sin, radius * cos]
}

fn philox4x32_10(seed: u64, counter: u64, thread: u64) -> [u32; 4] {
    let low_high = |x: u64| (x as u32, (x >> 32) as u32);
    let ((mut c0, mut c1), (mut c2, mut c3)) = (low_high(counter), low_high(thread));
    let (mut k0, mut k1) = low_high(seed);
    for _ in 0..10 {
        let (lo0, hi0) = low_high(u64::from(c0) * 0xD251_1F53);
        let (lo1, hi1) = low_high(u64::from(c2) * 0xCD9E_8D57);
        (c0, c1, c2, c3) = (hi1 ^ c1 ^ k0, lo1, hi0 ^ c3 ^ k1, lo0);
        k0 = k0.wrapping_add(0x9E37_79B9);
        k1 = k1.wrapping_add(0xBB67_AE85);
    }
    [c0, c1, c2, c3]
}

fn box_muller(x: u32, y: u32) -> (f32, f32) {
    const SCALE: f32 = 1.0 / (1u64 << 32) as f32;
    const TURN: f32 = SCALE * 2.0 * std::f32::consts::PI;
    let u = (x as f32).mul_add(SCALE, SCALE / 2.0);
    let v = (y as f32).mul_add(TURN, TURN / 2.0);
    let radius = (-2.0 * u.ln()).sqrt();
    let (sin, cos) = v.sin_cos();
    (radius * sin, radius * cos)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: &[f32], b: &[f32]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 5e-5)
    }

    #[test]
    fn first_values_of_known_seeds_equal_torch() {
        let start = |seed| Philox::new(seed, DEFAULT_MULTIPROCESSORS).randn(5);
        assert!(close(&start(0), &[-0.9247, -0.4253, -2.6438, 0.1452, -0.1209]), "{:?}", start(0));
        assert!(close(&start(42), &[0.1940, 2.1614, -0.1721, 0.8491, -1.9244]), "{:?}", start(42));
    }

    #[test]
    fn known_answers_of_random123_are_reproduced() {
        // Inputs of all zeros and of all ones.
        assert_eq!(philox4x32_10(0, 0, 0), [0x6627_E8D5, 0xE169_C58D, 0xBC57_AC4C, 0x9B00_DBD8]);
        assert_eq!(philox4x32_10(u64::MAX, u64::MAX, u64::MAX), [0x408F_276D, 0x41C8_3B0E, 0xA20B_C7C6, 0x6D54_51FD]);
    }

    /// Expected values: `curand_normal2_double` of curand's header, compiled for the host.
    #[test]
    fn double_normals_equal_curand() {
        for (seed, counter, thread, expected) in [
            (9_999, 0, 0, [0.265_467_758_042_997, -1.253_914_627_813_029]),
            (9_999, 1, 0, [0.948_251_021_558_240_5, 1.838_554_484_988_475_2]),
            (u64::MAX, 0, 3, [-0.419_780_085_461_448_5, -0.591_269_547_150_934_3]),
            (u64::MAX, 1, 3, [0.136_823_411_694_241_73, 0.819_548_910_109_165_1]),
        ] {
            let found = normal2_f64(seed, counter, thread);
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-14), "{found:?}, not {expected:?}");
        }
        let threads = 2 * BLOCKS_PER_MULTIPROCESSOR * BLOCK;
        let long = Philox::new(7, 2).randn_f64(3 * threads);
        let first = normal2_f64(7, 0, 3);
        assert_eq!([long[3], long[3 + threads], long[3 + 2 * threads]], [first[0], first[1], normal2_f64(7, 1, 3)[0]]);
    }

    #[test]
    fn long_tensors_depend_on_the_multiprocessors_and_continue_each_thread() {
        let threads = 2 * BLOCKS_PER_MULTIPROCESSOR * BLOCK;
        let long = Philox::new(7, 2).randn(6 * threads);
        // Constant folding may round differently.
        let seed = std::hint::black_box(7);
        let (first, second) = (normal4(seed, 0, 3), normal4(seed, 1, 3));
        let of_thread_3: Vec<f32> = (0..6).map(|i| long[3 + i * threads]).collect();
        assert_eq!(of_thread_3, [first[0], first[1], first[2], first[3], second[0], second[1]]);
        assert_ne!(Philox::new(7, 1).randn(6 * threads), long);
    }

    #[test]
    fn a_second_draw_continues_after_the_first() {
        let mut generator = Philox::new(7, 132);
        generator.randn(1000);
        assert_eq!(generator.randn(3)[2], normal4(std::hint::black_box(7), 1, 2)[0]);
    }
}
