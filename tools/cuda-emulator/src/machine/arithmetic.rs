//! Arithmetic, logic and comparison instructions, over all lanes of a warp.

use half::{bf16, f16};

use super::lanes::{Lanes, half, map, map2, map3, pair};
use super::value::Value;
use crate::ptx::{Binary, Carry, Comparison, Rounding, Ternary, Type, Unary};

type Computed = Result<Lanes, String>;

fn unsupported<T>(what: impl std::fmt::Debug, kind: Type) -> Result<T, String> {
    Err(format!("unsupported operation {what:?} on {kind:?}"))
}

pub(super) fn unary(function: Unary, kind: Type, a: &Lanes) -> Computed {
    match kind {
        _ if function == Unary::Move => Ok(*a),
        Type::Pred if function == Unary::Not => Ok(map(a, |bits: u64| bits & 1 ^ 1)),
        Type::U8 => integer(function, kind, a, |bits: u8| bits as i8, |bits| bits as u8),
        Type::U16 | Type::S16 => integer(function, kind, a, |bits: u16| bits as i16, |bits| bits as u16),
        Type::U32 | Type::S32 => match function {
            Unary::CountOnes => Ok(map(a, u32::count_ones)),
            Unary::LeadingZeros => Ok(map(a, u32::leading_zeros)),
            Unary::ReverseBits => Ok(map(a, u32::reverse_bits)),
            _ => integer(function, kind, a, |bits: u32| bits as i32, |bits| bits as u32),
        },
        Type::U64 | Type::S64 => match function {
            Unary::CountOnes => Ok(map(a, |bits: u64| u64::from(bits.count_ones()))),
            Unary::LeadingZeros => Ok(map(a, |bits: u64| u64::from(bits.leading_zeros()))),
            Unary::ReverseBits => Ok(map(a, u64::reverse_bits)),
            _ => integer(function, kind, a, |bits: u64| bits as i64, |bits| bits as u64),
        },
        Type::F32 => float(function, kind, a, f64::from, |value| value as f32),
        Type::F64 => float(function, kind, a, |value: f64| value, |value| value),
        Type::F16 => float(function, kind, a, f16::to_f64, f16::from_f64),
        Type::Bf16 => float(function, kind, a, bf16::to_f64, bf16::from_f64),
        Type::F16x2 => Ok(pair(&unary(function, Type::F16, &half(a, 0))?, &unary(function, Type::F16, &half(a, 1))?)),
        Type::Bf16x2 => {
            Ok(pair(&unary(function, Type::Bf16, &half(a, 0))?, &unary(function, Type::Bf16, &half(a, 1))?))
        }
        _ => unsupported(function, kind),
    }
}

/// Applies an integer function, computed in the signed type `S` and sign-extended to 64 bits.
fn integer<U, S>(function: Unary, kind: Type, a: &Lanes, signed: impl Fn(U) -> S, back: impl Fn(i64) -> U) -> Computed
where
    U: Value,
    S: Into<i64>,
{
    let f: fn(i64) -> i64 = match function {
        Unary::Not => |value| !value,
        Unary::Negate => i64::wrapping_neg,
        Unary::Absolute => i64::wrapping_abs,
        _ => return unsupported(function, kind),
    };
    Ok(map(a, |bits: U| back(f(signed(bits).into()))))
}

fn float<T: Value>(
    function: Unary,
    kind: Type,
    a: &Lanes,
    wide: impl Fn(T) -> f64,
    back: impl Fn(f64) -> T,
) -> Computed {
    let f: fn(f64) -> f64 = match function {
        Unary::Negate => |value| -value,
        Unary::Absolute => f64::abs,
        Unary::Reciprocal => f64::recip,
        Unary::SquareRoot => f64::sqrt,
        Unary::ReciprocalSquareRoot => |value| value.sqrt().recip(),
        Unary::Exp2 => f64::exp2,
        Unary::Log2 => f64::log2,
        Unary::Sine => f64::sin,
        Unary::Cosine => f64::cos,
        Unary::Tanh => f64::tanh,
        _ => return unsupported(function, kind),
    };
    Ok(map(a, |value: T| back(f(wide(value)))))
}

/// Evaluates a binary function of integers: unsigned and signed type, and types of twice the width for the upper half
/// of a product and for `mul.wide`.
macro_rules! integers {
    ($function:expr, $type:expr, $a:expr, $b:expr; $unsigned:ty, $kind:ty, $wide:ty, $twice:ty) => {{
        use Binary as B;
        let (function, kind, a, b) = ($function, $type, $a, $b);
        type U = $unsigned;
        type N = $kind;
        let bits = <U>::BITS;
        match function {
            B::Add(_) => Ok(map2(a, b, U::wrapping_add)),
            B::Subtract(_) => Ok(map2(a, b, U::wrapping_sub)),
            B::MultiplyLow(_) => Ok(map2(a, b, U::wrapping_mul)),
            B::MultiplyHigh => Ok(map2(a, b, |a: N, b: N| ((a as $wide * b as $wide) >> bits) as N)),
            B::MultiplyWide => Ok(map2(a, b, |a: N, b: N| (a as $twice).wrapping_mul(b as $twice))),
            // The result of a division by zero is unspecified.
            B::Divide => Ok(map2(a, b, |a: N, b: N| if b == 0 { !0 } else { a.wrapping_div(b) })),
            B::Remainder => Ok(map2(a, b, |a: N, b: N| if b == 0 { a } else { a.wrapping_rem(b) })),
            B::Minimum { .. } => Ok(map2(a, b, |a: N, b: N| a.min(b))),
            B::Maximum { .. } => Ok(map2(a, b, |a: N, b: N| a.max(b))),
            B::And => Ok(map2(a, b, |a: U, b: U| a & b)),
            B::Or => Ok(map2(a, b, |a: U, b: U| a | b)),
            B::Xor => Ok(map2(a, b, |a: U, b: U| a ^ b)),
            // Shift amounts are 32 bits wide and are clamped to the width.
            B::ShiftLeft => Ok(map2(a, b, |a: u64, b: u64| if b as u32 >= bits { 0 } else { (a as U) << (b as u32) })),
            B::ShiftRight => Ok(map2(a, b, |a: u64, b: u64| {
                let value = a as N;
                let by = (b as u32).min(bits);
                if by == bits { (value >> (bits - 1)) >> 1 } else { value >> by }
            })),
            B::CopySign => unsupported(function, kind),
        }
    }};
}

pub(super) fn binary(function: Binary, kind: Type, a: &Lanes, b: &Lanes) -> Computed {
    match kind {
        Type::Pred => binary_predicate(function, a, b),
        Type::U8 => integers!(function, kind, a, b; u8, u8, u16, u16),
        Type::S8 => integers!(function, kind, a, b; u8, i8, i16, i16),
        Type::U16 => integers!(function, kind, a, b; u16, u16, u32, u32),
        Type::S16 => integers!(function, kind, a, b; u16, i16, i32, i32),
        Type::U32 => integers!(function, kind, a, b; u32, u32, u64, u64),
        Type::S32 => integers!(function, kind, a, b; u32, i32, i64, i64),
        Type::U64 => integers!(function, kind, a, b; u64, u64, u128, u64),
        Type::S64 => integers!(function, kind, a, b; u64, i64, i128, i64),
        Type::F32 => binary_f32(function, a, b),
        Type::F64 => binary_f64(function, a, b),
        Type::F16 => narrow(function, kind, a, b, f16::to_f32, f16::from_f32),
        Type::Bf16 => narrow(function, kind, a, b, bf16::to_f32, bf16::from_f32),
        Type::F16x2 | Type::Bf16x2 => {
            let one = if kind == Type::F16x2 { Type::F16 } else { Type::Bf16 };
            let lower = binary(function, one, &half(a, 0), &half(b, 0))?;
            Ok(pair(&lower, &binary(function, one, &half(a, 1), &half(b, 1))?))
        }
        Type::E4m3x2 => unsupported(function, kind),
    }
}

fn binary_predicate(function: Binary, a: &Lanes, b: &Lanes) -> Computed {
    use Binary as B;
    match function {
        B::And => Ok(map2(a, b, |a: u64, b: u64| a & b & 1)),
        B::Or => Ok(map2(a, b, |a: u64, b: u64| (a | b) & 1)),
        B::Xor => Ok(map2(a, b, |a: u64, b: u64| (a ^ b) & 1)),
        _ => unsupported(function, Type::Pred),
    }
}

fn binary_f32(function: Binary, a: &Lanes, b: &Lanes) -> Computed {
    use Binary as B;
    match function {
        B::Add(rounding) => Ok(map2(a, b, |a, b| sum(a, b, rounding))),
        B::Subtract(rounding) => Ok(map2(a, b, |a: f32, b: f32| sum(a, -b, rounding))),
        B::MultiplyLow(Rounding::Nearest) => Ok(map2(a, b, |a: f32, b: f32| a * b)),
        B::MultiplyLow(rounding) => {
            Ok(map2(a, b, |a: f32, b: f32| rounded(f64::from(a) * f64::from(b), 0.0, rounding)))
        }
        B::Divide => Ok(map2(a, b, |a: f32, b: f32| a / b)),
        B::Minimum { nan } => Ok(map2(a, b, |a: f32, b: f32| minimum(a, b, nan))),
        B::Maximum { nan } => Ok(map2(a, b, |a: f32, b: f32| -minimum(-a, -b, nan))),
        B::CopySign => Ok(map2(a, b, |a: f32, b: f32| b.copysign(a))),
        _ => unsupported(function, Type::F32),
    }
}

fn binary_f64(function: Binary, a: &Lanes, b: &Lanes) -> Computed {
    use Binary as B;
    match function {
        B::Add(Rounding::Nearest) => Ok(map2(a, b, |a: f64, b: f64| a + b)),
        B::Add(Rounding::Zero) => Ok(map2(a, b, sum_to_zero)),
        B::Subtract(Rounding::Nearest) => Ok(map2(a, b, |a: f64, b: f64| a - b)),
        B::MultiplyLow(Rounding::Nearest) => Ok(map2(a, b, |a: f64, b: f64| a * b)),
        B::Divide => Ok(map2(a, b, |a: f64, b: f64| a / b)),
        B::Minimum { .. } => Ok(map2(a, b, f64::min)),
        B::Maximum { .. } => Ok(map2(a, b, f64::max)),
        B::CopySign => Ok(map2(a, b, |a: f64, b: f64| b.copysign(a))),
        _ => unsupported(function, Type::F64),
    }
}

/// Applies a function to 16-bit floats: computed in float32 and rounded once.
fn narrow<T: Value>(
    function: Binary,
    kind: Type,
    a: &Lanes,
    b: &Lanes,
    wide: impl Fn(T) -> f32,
    back: impl Fn(f32) -> T,
) -> Computed {
    let f: fn(f32, f32) -> f32 = match function {
        Binary::Add(_) => |a, b| a + b,
        Binary::Subtract(_) => |a, b| a - b,
        Binary::MultiplyLow(_) => |a, b| a * b,
        Binary::Divide => |a, b| a / b,
        Binary::Minimum { nan: true } => |a, b| minimum(a, b, true),
        Binary::Minimum { nan: false } => |a, b| minimum(a, b, false),
        Binary::Maximum { nan: true } => |a, b| -minimum(-a, -b, true),
        Binary::Maximum { nan: false } => |a, b| -minimum(-a, -b, false),
        _ => return unsupported(function, kind),
    };
    Ok(map2(a, b, |a: T, b: T| back(f(wide(a), wide(b)))))
}

fn minimum(a: f32, b: f32, nan: bool) -> f32 {
    if nan && (a.is_nan() || b.is_nan()) { f32::NAN } else { a.min(b) }
}

/// Rounding error of `a + b` (two-sum).
fn rounding_error(a: f64, b: f64) -> f64 {
    let sum = a + b;
    let from_b = sum - a;
    (a - (sum - from_b)) + (b - from_b)
}

fn sum(a: f32, b: f32, rounding: Rounding) -> f32 {
    if rounding == Rounding::Nearest {
        return a + b;
    }
    let (a, b) = (f64::from(a), f64::from(b));
    rounded(a + b, rounding_error(a, b), rounding)
}

fn sum_to_zero(a: f64, b: f64) -> f64 {
    let (sum, error) = (a + b, rounding_error(a, b));
    if sum > 0.0 && error < 0.0 {
        sum.next_down()
    } else if sum < 0.0 && error > 0.0 {
        sum.next_up()
    } else {
        sum
    }
}

/// Rounds `value + rest` to float32, where `rest` is less than one unit in the last place of `value`.
pub(super) fn rounded(value: f64, rest: f64, rounding: Rounding) -> f32 {
    let nearest = value as f32;
    if !nearest.is_finite() {
        return nearest;
    }
    let error = (value - f64::from(nearest)) + rest;
    match rounding {
        Rounding::Down if error < 0.0 => nearest.next_down(),
        Rounding::Up if error > 0.0 => nearest.next_up(),
        Rounding::Zero if error < 0.0 && nearest > 0.0 => nearest.next_down(),
        Rounding::Zero if error > 0.0 && nearest < 0.0 => nearest.next_up(),
        _ => nearest,
    }
}

fn fused(a: f32, b: f32, c: f32, rounding: Rounding) -> f32 {
    // A product of two float32 values is exact in float64.
    let (product, c) = (f64::from(a) * f64::from(b), f64::from(c));
    if rounding == Rounding::Nearest {
        (product + c) as f32
    } else {
        rounded(product + c, rounding_error(product, c), rounding)
    }
}

fn fused_multiply_add(rounding: Rounding, kind: Type, a: &Lanes, b: &Lanes, c: &Lanes) -> Computed {
    match (rounding, kind) {
        (_, Type::F32) => Ok(map3(a, b, c, |a, b, c| fused(a, b, c, rounding))),
        (Rounding::Nearest, Type::F64) => Ok(map3(a, b, c, f64::mul_add)),
        (_, Type::F16) => {
            Ok(map3(a, b, c, |a: f16, b: f16, c: f16| f16::from_f64(a.to_f64() * b.to_f64() + c.to_f64())))
        }
        (_, Type::Bf16) => {
            Ok(map3(a, b, c, |a: bf16, b: bf16, c: bf16| bf16::from_f64(a.to_f64() * b.to_f64() + c.to_f64())))
        }
        (_, Type::F16x2 | Type::Bf16x2) => {
            let one = if kind == Type::F16x2 { Type::F16 } else { Type::Bf16 };
            let part = |which| fused_multiply_add(rounding, one, &half(a, which), &half(b, which), &half(c, which));
            Ok(pair(&part(0)?, &part(1)?))
        }
        _ => unsupported(Ternary::FusedMultiplyAdd(rounding), kind),
    }
}

/// Integer multiply-add.
fn multiply_add(function: Ternary, kind: Type, a: &Lanes, b: &Lanes, c: &Lanes) -> Computed {
    use Ternary as T;
    match (function, kind) {
        (T::MultiplyAddLow, Type::U64 | Type::S64) => {
            Ok(map3(a, b, c, |a: u64, b: u64, c: u64| a.wrapping_mul(b).wrapping_add(c)))
        }
        (T::MultiplyAddLow, Type::U32 | Type::S32) => {
            Ok(map3(a, b, c, |a: u32, b: u32, c: u32| a.wrapping_mul(b).wrapping_add(c)))
        }
        (T::MultiplyAddLow, Type::U16 | Type::S16) => {
            Ok(map3(a, b, c, |a: u16, b: u16, c: u16| a.wrapping_mul(b).wrapping_add(c)))
        }
        (T::MultiplyAddHigh, _) => {
            binary(Binary::Add(Rounding::Nearest), kind, &binary(Binary::MultiplyHigh, kind, a, b)?, c)
        }
        (T::MultiplyAddWide, Type::U32 | Type::S32 | Type::U16 | Type::S16) => {
            let product = binary(Binary::MultiplyWide, kind, a, b)?;
            let wide = if kind.bytes() == 4 { Type::U64 } else { Type::U32 };
            binary(Binary::Add(Rounding::Nearest), wide, &product, c)
        }
        _ => unsupported(function, kind),
    }
}

pub(super) fn ternary(function: Ternary, kind: Type, a: &Lanes, b: &Lanes, c: &Lanes) -> Computed {
    use Ternary as T;
    match (function, kind) {
        (T::FusedMultiplyAdd(rounding), _) => fused_multiply_add(rounding, kind, a, b, c),
        (T::MultiplyAddLow | T::MultiplyAddHigh | T::MultiplyAddWide, _) => multiply_add(function, kind, a, b, c),
        (T::Permute, _) => Ok(map3(a, b, c, permute)),
        (T::DotBytes, _) => Ok(map3(a, b, c, |a: u32, b: u32, c: i32| {
            let products = a.to_le_bytes().into_iter().zip(b.to_le_bytes());
            products.fold(c, |sum, (a, b)| sum.wrapping_add(i32::from(a as i8) * i32::from(b as i8)))
        })),
        (T::ExtractBits, Type::U32 | Type::U64) => Ok(map3(a, b, c, |a: u64, place: u64, length: u64| {
            let value = if kind == Type::U32 { a as u32 as u64 } else { a };
            value.checked_shr(place as u32 & 0xff).unwrap_or(0) & ones(length as u32 & 0xff)
        })),
        (T::InsertBits, _) => Ok(map3(a, b, c, |a: u64, b: u64, c: u64| {
            let (place, length) = (c as u32 & 0xff, (c >> 32) as u32 & 0xff);
            let field = ones(length).checked_shl(place).unwrap_or(0);
            (b & !field) | (a.checked_shl(place).unwrap_or(0) & field)
        })),
        (T::FunnelLeft { wraps }, _) => Ok(map3(a, b, c, |low: u32, high: u32, by: u32| {
            (((joined(low, high) << funnel(by, wraps)) >> 32) & u128::from(u32::MAX)) as u32
        })),
        (T::FunnelRight { wraps }, _) => {
            Ok(map3(a, b, c, |low: u32, high: u32, by: u32| (joined(low, high) >> funnel(by, wraps)) as u32))
        }
        (T::Lookup(table), _) => Ok(map3(a, b, c, |a: u64, b: u64, c: u64| {
            let term = |bit: u8| {
                let pick = |value: u64, is: bool| if is { value } else { !value };
                pick(a, bit & 4 != 0) & pick(b, bit & 2 != 0) & pick(c, bit & 1 != 0)
            };
            (0..8).filter(|bit| table >> bit & 1 == 1).fold(0, |all, bit| all | term(bit))
        })),
        _ => unsupported(function, kind),
    }
}

fn joined(low: u32, high: u32) -> u128 {
    u128::from(low) | u128::from(high) << 32
}

fn funnel(by: u32, wraps: bool) -> u32 {
    if wraps { by & 31 } else { by.min(32) }
}

fn ones(count: u32) -> u64 {
    1u64.checked_shl(count).map_or(u64::MAX, |bit| bit - 1)
}

/// `prmt`: each selector digit picks one of eight bytes, or replicates its sign bit.
fn permute(a: u32, b: u32, selector: u32) -> u32 {
    let bytes = (u64::from(b) << 32 | u64::from(a)).to_le_bytes();
    u32::from_le_bytes(std::array::from_fn(|at| {
        let digit = selector >> (4 * at) & 15;
        let byte = bytes[digit as usize & 7];
        if digit & 8 == 0 { byte } else { ((byte as i8) >> 7) as u8 }
    }))
}

/// Returns the result and the carry-out.
pub(super) fn carry(
    function: Carry,
    kind: Type,
    [a, b, c]: [&Lanes; 3],
    carry_in: &Lanes,
) -> Result<(Lanes, Lanes), String> {
    let bits = 8 * kind.bytes() as u32;
    if !matches!(bits, 32 | 64) {
        return unsupported(function, kind);
    }
    let widen = |value: u64| u128::from(if bits == 32 { value as u32 as u64 } else { value });
    let (mut result, mut carry_out) = (*a, *carry_in);
    for lane in 0..a.len() {
        let (a, b, c, carry_in) = (widen(a[lane]), widen(b[lane]), widen(c[lane]), u128::from(carry_in[lane] & 1));
        let low = |value: u128| value & (u128::MAX >> (128 - bits));
        let value = match function {
            Carry::Add => a + b + carry_in,
            Carry::Subtract => a.wrapping_sub(b).wrapping_sub(carry_in),
            Carry::MultiplyAddLow => low(a * b) + c + carry_in,
            Carry::MultiplyAddHigh => ((a * b) >> bits) + c + carry_in,
        };
        result[lane] = low(value) as u64;
        carry_out[lane] = (value >> bits & 1) as u64;
    }
    Ok((result, carry_out))
}

/// Returns 1 in the lanes in which the comparison holds, else 0.
pub(super) fn compare(comparison: Comparison, kind: Type, a: &Lanes, b: &Lanes) -> Computed {
    Ok(match kind {
        Type::Pred => map2(a, b, |a: u64, b: u64| holds(comparison, a & 1, b & 1)),
        Type::U8 => map2(a, b, |a: u8, b: u8| holds(comparison, a, b)),
        Type::S8 => map2(a, b, |a: i8, b: i8| holds(comparison, a, b)),
        Type::U16 => map2(a, b, |a: u16, b: u16| holds(comparison, a, b)),
        Type::S16 => map2(a, b, |a: i16, b: i16| holds(comparison, a, b)),
        Type::U32 => map2(a, b, |a: u32, b: u32| holds(comparison, a, b)),
        Type::S32 => map2(a, b, |a: i32, b: i32| holds(comparison, a, b)),
        Type::U64 => map2(a, b, |a: u64, b: u64| holds(comparison, a, b)),
        Type::S64 => map2(a, b, |a: i64, b: i64| holds(comparison, a, b)),
        Type::F32 => map2(a, b, |a: f32, b: f32| holds(comparison, a, b)),
        Type::F64 => map2(a, b, |a: f64, b: f64| holds(comparison, a, b)),
        Type::F16 => map2(a, b, |a: f16, b: f16| holds(comparison, a, b)),
        Type::Bf16 => map2(a, b, |a: bf16, b: bf16| holds(comparison, a, b)),
        Type::F16x2 | Type::Bf16x2 | Type::E4m3x2 => return unsupported(comparison, kind),
    })
}

fn holds<T: PartialOrd>(comparison: Comparison, a: T, b: T) -> u64 {
    use Comparison as C;
    use std::cmp::Ordering::{Equal, Greater, Less};
    let order = a.partial_cmp(&b);
    u64::from(match comparison {
        C::Equal => order == Some(Equal),
        C::NotEqual => matches!(order, Some(Less | Greater)),
        C::Less => order == Some(Less),
        C::LessOrEqual => matches!(order, Some(Less | Equal)),
        C::Greater => order == Some(Greater),
        C::GreaterOrEqual => matches!(order, Some(Greater | Equal)),
        C::EqualOrNan => matches!(order, None | Some(Equal)),
        C::NotEqualOrNan => order != Some(Equal),
        C::LessOrNan => matches!(order, None | Some(Less)),
        C::LessOrEqualOrNan => order != Some(Greater),
        C::GreaterOrNan => matches!(order, None | Some(Greater)),
        C::GreaterOrEqualOrNan => order != Some(Less),
        C::BothNumbers => order.is_some(),
        C::AnyNan => order.is_none(),
    })
}
