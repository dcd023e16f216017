//! Decoding of weights that are stored as 8-bit codes.

use candle_core::{DType, Result, Tensor};

use crate::float8::decode_e4m3;

/// Format of 8-bit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeFormat {
    /// Float8 with 4 bits of exponent, 3 of mantissa and no infinities.
    E4m3,
    /// Float8 with 5 bits of exponent and 2 of mantissa: the upper half of a float16.
    E5m2,
    /// Signed integers.
    Int8,
}

impl CodeFormat {
    /// Decodes `codes` (U8, any shape), multiplies by `scale` in float32 and rounds once to `dtype`, float32 or bfloat16.
    pub fn decode(self, codes: &Tensor, scale: f32, dtype: DType) -> Result<Tensor> {
        let value: fn(u8) -> f32 = match self {
            Self::E4m3 => return decode_e4m3(codes, scale, dtype),
            Self::E5m2 => |code| half::f16::from_bits(u16::from(code) << 8).to_f32(),
            Self::Int8 => |code| f32::from(code as i8),
        };
        let table: Vec<f32> = (0..=255).map(|code| value(code) * scale).collect();
        let table = Tensor::new(table, codes.device())?.to_dtype(dtype)?;
        // candle's `index_select` skips the largest index of a dtype, and 255 is a code.
        table.index_select(&codes.flatten_all()?.to_dtype(DType::U32)?, 0)?.reshape(codes.shape())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::test_device;

    #[test]
    fn codes_are_decoded_by_the_definitions_of_their_formats() -> Result<()> {
        let e5m2 = |code: u8| {
            let (exponent, fraction) = (i32::from(code >> 2 & 31), f32::from(code & 3) / 4.0);
            let size = match exponent {
                0 => fraction * 2f32.powi(-14),
                31 if fraction == 0.0 => f32::INFINITY,
                31 => f32::NAN,
                _ => (1.0 + fraction) * 2f32.powi(exponent - 15),
            };
            if code & 0x80 == 0 { size } else { -size }
        };
        let codes: Vec<u8> = (0..=255).collect();
        for device in [Device::Cpu, test_device()?] {
            let tensor = Tensor::new(codes.as_slice(), &device)?.reshape((16, 16))?;
            for (format, value) in
                [(CodeFormat::E5m2, e5m2 as fn(u8) -> f32), (CodeFormat::Int8, |code| f32::from(code as i8))]
            {
                for scale in [1.0, 0.37] {
                    let values = format.decode(&tensor, scale, DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
                    let expected = codes.iter().map(|code| value(*code) * scale);
                    let same = |(a, b): (f32, f32)| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
                    assert!(values.into_iter().zip(expected).all(same), "{format:?}");
                }
            }
        }
        Ok(())
    }
}
