//! A value in each lane of a warp.

use super::number::Number;

/// Lanes of a warp.
pub(super) const LANES: usize = 32;

/// A register of each lane.
pub(super) type Lanes = [u64; LANES];

/// All lanes of a mask, the lowest first.
pub(super) fn lanes(mask: u32) -> impl Iterator<Item = usize> {
    (0..LANES).filter(move |lane| mask >> lane & 1 == 1)
}

pub(super) fn map<T: Number, R: Number>(a: &Lanes, f: impl Fn(T) -> R) -> Lanes {
    std::array::from_fn(|lane| f(T::of(a[lane])).bits())
}

pub(super) fn map2<T: Number, R: Number>(a: &Lanes, b: &Lanes, f: impl Fn(T, T) -> R) -> Lanes {
    std::array::from_fn(|lane| f(T::of(a[lane]), T::of(b[lane])).bits())
}

pub(super) fn map3<T: Number, C: Number, R: Number>(
    a: &Lanes,
    b: &Lanes,
    c: &Lanes,
    f: impl Fn(T, T, C) -> R,
) -> Lanes {
    std::array::from_fn(|lane| f(T::of(a[lane]), T::of(b[lane]), C::of(c[lane])).bits())
}

/// Writes the lanes of `mask`.
pub(super) fn blend(to: &mut Lanes, value: &Lanes, mask: u32) {
    if mask == u32::MAX {
        *to = *value;
        return;
    }
    for lane in lanes(mask) {
        to[lane] = value[lane];
    }
}

/// The lanes in which a predicate holds.
pub(super) fn mask(predicate: &Lanes) -> u32 {
    (0..LANES).fold(0, |mask, lane| mask | (predicate[lane] as u32 & 1) << lane)
}

/// The lower (0) or upper (1) half of registers that hold a pair.
pub(super) fn half(a: &Lanes, which: u32) -> Lanes {
    map(a, |bits: u32| (bits >> (16 * which)) as u16)
}

/// Two halves as one.
pub(super) fn pair(lower: &Lanes, upper: &Lanes) -> Lanes {
    map2(lower, upper, |lower: u64, upper: u64| (lower & 0xffff) | (upper & 0xffff) << 16)
}
