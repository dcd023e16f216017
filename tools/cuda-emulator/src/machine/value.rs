//! Typed values in registers.

use half::{bf16, f16};

/// A type whose values are stored in the lower bits of a 64-bit register.
pub(super) trait Value: Copy + PartialOrd {
    fn from_register(bits: u64) -> Self;
    fn to_register(self) -> u64;
}

macro_rules! integers {
    ($($kind:ty as $unsigned:ty),*) => {$(
        impl Value for $kind {
            fn from_register(bits: u64) -> Self {
                bits as Self
            }

            fn to_register(self) -> u64 {
                u64::from(self as $unsigned)
            }
        }
    )*};
}

integers!(u8 as u8, u16 as u16, u32 as u32, u64 as u64, i8 as u8, i16 as u16, i32 as u32, i64 as u64);

macro_rules! floats {
    ($($kind:ty as $unsigned:ty),*) => {$(
        impl Value for $kind {
            fn from_register(bits: u64) -> Self {
                Self::from_bits(bits as $unsigned)
            }

            fn to_register(self) -> u64 {
                u64::from(self.to_bits())
            }
        }
    )*};
}

floats!(f32 as u32, f64 as u64, f16 as u16, bf16 as u16);

/// Decodes an e4m3 float: sign, 4 exponent bits, 3 fraction bits, no infinities.
pub(super) fn e4m3_value(bits: u8) -> f32 {
    let (exponent, fraction) = (i32::from(bits >> 3 & 15), f32::from(bits & 7) / 8.0);
    let size = match (exponent, bits & 7) {
        (15, 7) => f32::NAN,
        (0, _) => fraction * 2f32.powi(-6),
        _ => (1.0 + fraction) * 2f32.powi(exponent - 7),
    };
    if bits & 0x80 == 0 { size } else { -size }
}

/// Rounds to the nearest e4m3 float, saturating at 448.
pub(super) fn e4m3_nearest(value: f32) -> u8 {
    if value.is_nan() {
        return 0x7f;
    }
    let sign = u8::from(value.is_sign_negative()) << 7;
    let size = value.abs();
    // Codes ascend with their values.
    let upper = (0..=0x7e_u8).find(|code| e4m3_value(*code) >= size).unwrap_or(0x7e);
    let Some(lower) = upper.checked_sub(1) else { return sign };
    let (above, below) = (e4m3_value(upper) - size, size - e4m3_value(lower));
    let is_upper = above < below || (above == below && upper & 1 == 0) || above < 0.0;
    sign | if is_upper { upper } else { lower }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e4m3_round_trips_and_rounds_ties_to_even() {
        for code in (0..=0x7e_u8).chain(0x80..=0xfe) {
            assert_eq!(e4m3_nearest(e4m3_value(code)), code, "{code:#x}");
        }
        assert_eq!((e4m3_value(0x38), e4m3_value(0x7e)), (1.0, 448.0));
        assert_eq!((e4m3_nearest(1e9), e4m3_nearest(-1e9), e4m3_nearest(f32::NAN)), (0x7e, 0xfe, 0x7f));
        // 1.0625 is halfway between 1.0 (even) and 1.125.
        assert_eq!((e4m3_nearest(1.0625), e4m3_nearest(1.1875)), (0x38, 0x3a));
    }
}
