//! Values of all lanes of a warp.

use super::value::Value;

/// Number of lanes of a warp.
pub(super) const LANES: usize = 32;

/// A register in each lane.
pub(super) type Lanes = [u64; LANES];

/// Iterates over the lanes of a mask in ascending order.
pub(super) fn lanes(mask: u32) -> impl Iterator<Item = usize> {
    (0..LANES).filter(move |lane| mask >> lane & 1 == 1)
}

pub(super) fn map<T: Value, R: Value>(a: &Lanes, f: impl Fn(T) -> R) -> Lanes {
    std::array::from_fn(|lane| f(T::from_register(a[lane])).to_register())
}

pub(super) fn map2<T: Value, R: Value>(a: &Lanes, b: &Lanes, f: impl Fn(T, T) -> R) -> Lanes {
    std::array::from_fn(|lane| f(T::from_register(a[lane]), T::from_register(b[lane])).to_register())
}

pub(super) fn map3<T: Value, C: Value, R: Value>(a: &Lanes, b: &Lanes, c: &Lanes, f: impl Fn(T, T, C) -> R) -> Lanes {
    std::array::from_fn(|lane| {
        f(T::from_register(a[lane]), T::from_register(b[lane]), C::from_register(c[lane])).to_register()
    })
}

/// Assigns the lanes of `mask`.
pub(super) fn blend(to: &mut Lanes, value: &Lanes, mask: u32) {
    if mask == u32::MAX {
        *to = *value;
        return;
    }
    for lane in lanes(mask) {
        to[lane] = value[lane];
    }
}

/// Returns the mask of lanes in which a predicate is true.
pub(super) fn mask(predicate: &Lanes) -> u32 {
    (0..LANES).fold(0, |mask, lane| mask | (predicate[lane] as u32 & 1) << lane)
}

/// Extracts the lower (0) or upper (1) half of packed pairs.
pub(super) fn half(a: &Lanes, which: u32) -> Lanes {
    map(a, |bits: u32| (bits >> (16 * which)) as u16)
}

/// Packs two halves.
pub(super) fn pair(lower: &Lanes, upper: &Lanes) -> Lanes {
    map2(lower, upper, |lower: u64, upper: u64| (lower & 0xffff) | (upper & 0xffff) << 16)
}
