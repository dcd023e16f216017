//! Conversions between types (`cvt`).

use half::{bf16, f16};

use super::arithmetic::rounded;
use super::lanes::{Lanes, map};
use super::value::{Value, e4m3_nearest, e4m3_value};
use crate::ptx::{Rounding, Type};

/// Converts `a` from type `kind` to `result`. For packed results, `upper` is converted into the upper half.
pub(super) fn convert(
    result: Type,
    kind: Type,
    rounding: Rounding,
    saturate: bool,
    a: &Lanes,
    upper: Option<&Lanes>,
) -> Result<Lanes, String> {
    let missing = || Err(format!("unsupported conversion from {kind:?} to {result:?}"));
    match (result, kind, upper) {
        // Fast paths for the most frequent conversions.
        (Type::U64 | Type::S64, Type::U32, None) => Ok(map(a, |value: u32| u64::from(value))),
        (Type::S64 | Type::U64, Type::S32, None) => Ok(map(a, |value: i32| i64::from(value))),
        (Type::U32, Type::U64, None) => Ok(map(a, |value: u32| value)),
        (Type::F32, Type::Bf16, None) if !saturate => Ok(map(a, bf16::to_f32)),
        (Type::Bf16, Type::F32, None) if rounding == Rounding::Nearest && !saturate => Ok(map(a, bf16::from_f32)),
        (Type::Bf16x2 | Type::F16x2, Type::F32, Some(upper)) => {
            let one = if result == Type::Bf16x2 { Type::Bf16 } else { Type::F16 };
            let (lower, upper) =
                (convert(one, kind, rounding, false, a, None)?, convert(one, kind, rounding, false, upper, None)?);
            Ok(super::lanes::pair(&lower, &upper))
        }
        (Type::E4m3x2, Type::F32, Some(upper)) => Ok(std::array::from_fn(|lane| {
            let code = |bits| u64::from(e4m3_nearest(f32::from_register(bits)));
            code(a[lane]) | code(upper[lane]) << 8
        })),
        (Type::F16x2, Type::E4m3x2, None) => Ok(map(a, |codes: u16| {
            let half = |code: u8| u32::from(f16::from_f32(e4m3_value(code)).to_bits());
            half(codes as u8) | half((codes >> 8) as u8) << 16
        })),
        (_, _, Some(_)) | (Type::E4m3x2 | Type::F16x2 | Type::Bf16x2 | Type::Pred, ..) => missing(),
        (_, Type::E4m3x2 | Type::F16x2 | Type::Bf16x2 | Type::Pred, _) => missing(),
        _ if kind.is_integer() && result.is_integer() => Ok(std::array::from_fn(|lane| {
            let value = integer(kind, a[lane]);
            cut(result, if saturate { saturated(result, value) } else { value as u64 })
        })),
        _ if kind.is_integer() => {
            Ok(std::array::from_fn(|lane| from_integer(result, integer(kind, a[lane]), rounding)))
        }
        _ if result.is_integer() => Ok(std::array::from_fn(|lane| to_integer(result, float(kind, a[lane]), rounding))),
        _ => Ok(std::array::from_fn(|lane| to_float(result, float(kind, a[lane]), rounding, saturate))),
    }
}

fn integer(kind: Type, bits: u64) -> i128 {
    match kind {
        Type::U8 => i128::from(bits as u8),
        Type::U16 => i128::from(bits as u16),
        Type::U32 => i128::from(bits as u32),
        Type::S8 => i128::from(bits as i8),
        Type::S16 => i128::from(bits as i16),
        Type::S32 => i128::from(bits as i32),
        Type::S64 => i128::from(bits as i64),
        _ => i128::from(bits),
    }
}

/// Truncates bits to the width of a type.
fn cut(kind: Type, bits: u64) -> u64 {
    bits & (u64::MAX >> (64 - 8 * kind.bytes()))
}

fn saturated(kind: Type, value: i128) -> u64 {
    let bits = 8 * kind.bytes() as u32;
    let (least, most) =
        if kind.is_signed() { (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1) } else { (0, (1i128 << bits) - 1) };
    value.clamp(least, most) as u64
}

fn from_integer(result: Type, value: i128, rounding: Rounding) -> u64 {
    match (result, rounding) {
        (Type::F32, Rounding::Nearest) => (value as f32).to_register(),
        // Exact below 2^53. Larger integers are not expected with directed rounding.
        (Type::F32, _) => rounded(value as f64, 0.0, rounding).to_register(),
        (Type::F16, _) => f16::from_f64(value as f64).to_register(),
        (Type::Bf16, _) => bf16::from_f64(value as f64).to_register(),
        _ => (value as f64).to_register(),
    }
}

fn float(kind: Type, bits: u64) -> f64 {
    match kind {
        Type::F32 => f64::from(f32::from_register(bits)),
        Type::F16 => f16::from_register(bits).to_f64(),
        Type::Bf16 => bf16::from_register(bits).to_f64(),
        _ => f64::from_register(bits),
    }
}

fn integral(value: f64, rounding: Rounding) -> f64 {
    match rounding {
        Rounding::IntegerNearest => value.round_ties_even(),
        Rounding::IntegerZero => value.trunc(),
        Rounding::IntegerDown => value.floor(),
        Rounding::IntegerUp => value.ceil(),
        _ => value,
    }
}

/// Converts with saturation to the type's range. NaN becomes 0.
fn to_integer(result: Type, value: f64, rounding: Rounding) -> u64 {
    let value = integral(value, rounding);
    match result {
        Type::U8 => (value as u8).to_register(),
        Type::U16 => (value as u16).to_register(),
        Type::U32 => (value as u32).to_register(),
        Type::S8 => (value as i8).to_register(),
        Type::S16 => (value as i16).to_register(),
        Type::S32 => (value as i32).to_register(),
        Type::S64 => (value as i64).to_register(),
        _ => value as u64,
    }
}

fn to_float(result: Type, value: f64, rounding: Rounding, saturate: bool) -> u64 {
    let value = integral(value, rounding);
    let value = match saturate {
        true if value.is_nan() => 0.0,
        true => value.clamp(0.0, 1.0),
        false => value,
    };
    match result {
        Type::F32 => rounded(value, 0.0, rounding).to_register(),
        Type::F16 => f16::from_f64(value).to_register(),
        Type::Bf16 => bf16::from_f64(value).to_register(),
        _ => value.to_register(),
    }
}
