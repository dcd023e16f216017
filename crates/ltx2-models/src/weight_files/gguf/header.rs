//! Parser for the header of a GGUF file: metadata, then name, shape, type and offset of each tensor.
//!
//! candle's own parser divides by zero if the alignment is 0, and does not name the tensor whose type it does not know.

use std::collections::BTreeMap;

use candle_core::DType;
use candle_core::quantized::GgmlDType;
use serde_json::{Map, Value};

use crate::weight_files::range::fits_usize;

/// Encoding of the elements of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// One element after the other.
    Dense(DType),
    /// Blocks of quantised elements with common scales.
    Quantized(GgmlDType),
}

/// GGUF type number, name and encoding.
const ENCODINGS: [(u32, &str, Encoding); 13] = [
    (0, "F32", Encoding::Dense(DType::F32)),
    (1, "F16", Encoding::Dense(DType::F16)),
    (30, "BF16", Encoding::Dense(DType::BF16)),
    (2, "Q4_0", Encoding::Quantized(GgmlDType::Q4_0)),
    (3, "Q4_1", Encoding::Quantized(GgmlDType::Q4_1)),
    (6, "Q5_0", Encoding::Quantized(GgmlDType::Q5_0)),
    (7, "Q5_1", Encoding::Quantized(GgmlDType::Q5_1)),
    (8, "Q8_0", Encoding::Quantized(GgmlDType::Q8_0)),
    (10, "Q2_K", Encoding::Quantized(GgmlDType::Q2K)),
    (11, "Q3_K", Encoding::Quantized(GgmlDType::Q3K)),
    (12, "Q4_K", Encoding::Quantized(GgmlDType::Q4K)),
    (13, "Q5_K", Encoding::Quantized(GgmlDType::Q5K)),
    (14, "Q6_K", Encoding::Quantized(GgmlDType::Q6K)),
];

/// GGUF types that are not supported.
const OTHER_TYPES: [(u32, &str); 17] = [
    (9, "Q8_1"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (20, "IQ4_NL"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (23, "IQ4_XS"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (28, "F64"),
    (29, "IQ1_M"),
    (39, "MXFP4"),
];

/// Longer arrays, such as a vocabulary, are skipped.
const MAX_ARRAY_LENGTH: u64 = 1024;
const DEFAULT_ALIGNMENT: u64 = 32;
const MAX_DIMENSIONS: u32 = 8;

/// A parsed and validated header.
#[derive(Debug)]
pub(super) struct GgufHeader {
    /// Scalars, strings and short arrays by dotted key.
    pub(super) metadata: Map<String, Value>,
    /// Tensors by name.
    pub(super) tensors: BTreeMap<String, GgufTensor>,
}

/// Shape, encoding and byte range of a tensor.
#[derive(Debug, Clone)]
pub(in crate::weight_files) struct GgufTensor {
    /// Slowest dimension first, the reverse of the order in the file.
    pub(in crate::weight_files) shape: Vec<usize>,
    pub(super) encoding: Encoding,
    /// Byte range within the file.
    pub(super) bytes: std::ops::Range<usize>,
}

impl GgufTensor {
    /// Size in bytes of a quantised tensor; `None` for a dense one.
    pub(in crate::weight_files) fn quantized_bytes(&self) -> Option<usize> {
        match self.encoding {
            Encoding::Dense(_) => None,
            Encoding::Quantized(kind) => {
                Some(self.shape.iter().product::<usize>() / kind.block_size() * kind.type_size())
            }
        }
    }
}

impl GgufHeader {
    /// Parses the header of a file with the content `bytes`.
    ///
    /// # Errors
    /// A message about the first invalid or unsupported value, with the name of its tensor or metadata key.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut cursor = ByteCursor { bytes, position: 0 };
        if cursor.take(4)? != b"GGUF" {
            return Err("the file does not begin with GGUF".into());
        }
        let version = cursor.u32()?;
        if !(2..=3).contains(&version) {
            return Err(format!("GGUF version is {version}, but only 2 and 3 are supported"));
        }
        let (tensor_count, value_count) = (cursor.u64()?, cursor.u64()?);
        let mut metadata = Map::new();
        for _ in 0..value_count {
            let key = cursor.string()?;
            let kind = cursor.u32()?;
            if let Some(value) = cursor.value(kind).map_err(|error| format!("metadata {key}: {error}"))? {
                metadata.insert(key, value);
            }
        }
        let mut infos = Vec::new();
        for _ in 0..tensor_count {
            let name = cursor.string()?;
            let info = TensorInfo::parse(&mut cursor).map_err(|error| format!("tensor {name}: {error}"))?;
            infos.push((name, info));
        }
        let alignment = match metadata.get("general.alignment") {
            None => DEFAULT_ALIGNMENT,
            Some(value) => value
                .as_u64()
                .filter(|alignment| *alignment > 0 && alignment.is_multiple_of(8))
                .ok_or_else(|| format!("general.alignment is {value}, but only multiples of 8 are supported"))?,
        };
        let start = (cursor.position as u64).next_multiple_of(alignment);
        let mut tensors = BTreeMap::new();
        for (name, info) in infos {
            let tensor =
                info.resolve(start, alignment, bytes.len()).map_err(|error| format!("tensor {name}: {error}"))?;
            if tensors.insert(name.clone(), tensor).is_some() {
                return Err(format!("tensor {name} occurs twice"));
            }
        }
        Ok(Self { metadata, tensors })
    }
}

/// The header's entry for a tensor, before the byte range is known.
struct TensorInfo {
    shape: Vec<usize>,
    encoding: Encoding,
    /// Bytes from the beginning of the tensor data.
    offset: u64,
}

impl TensorInfo {
    fn parse(cursor: &mut ByteCursor) -> Result<Self, String> {
        let dimensions = cursor.u32()?;
        if dimensions > MAX_DIMENSIONS {
            return Err(format!("it has {dimensions} dimensions, but at most {MAX_DIMENSIONS} are supported"));
        }
        let mut shape = (0..dimensions)
            .map(|_| usize::try_from(cursor.u64()?).map_err(|error| error.to_string()))
            .collect::<Result<Vec<_>, _>>()?;
        // GGUF stores the fastest dimension first.
        shape.reverse();
        let number = cursor.u32()?;
        let known = ENCODINGS.iter().find(|(known, _, _)| *known == number);
        let encoding = known.map(|(_, _, encoding)| *encoding).ok_or_else(|| {
            let names: Vec<&str> = ENCODINGS.iter().map(|(_, name, _)| *name).collect();
            let other = OTHER_TYPES.iter().find(|(other, _)| *other == number);
            match other.map(|(_, name)| *name) {
                Some(name) => format!("GGUF type {name} is not supported, use Q4_K or another of {}", names.join(", ")),
                None => format!("GGUF type number is {number}, but only {} are supported", names.join(", ")),
            }
        })?;
        Ok(Self { shape, encoding, offset: cursor.u64()? })
    }

    /// Computes the byte range and checks that it lies within a file of `file_size` bytes. `start` is the offset of the
    /// tensor data.
    fn resolve(self, start: u64, alignment: u64, file_size: usize) -> Result<GgufTensor, String> {
        let (block, size) = match self.encoding {
            Encoding::Dense(dtype) => (1, dtype.size_in_bytes()),
            Encoding::Quantized(kind) => (kind.block_size(), kind.type_size()),
        };
        let row = self.shape.last().copied().unwrap_or(1);
        if !row.is_multiple_of(block) {
            return Err(format!("row length {row} is not a multiple of the block size {block}"));
        }
        if !self.offset.is_multiple_of(alignment) {
            return Err(format!("offset {} is not a multiple of the alignment {alignment}", self.offset));
        }
        if !fits_usize(&self.shape) {
            return Err(format!("shape {:?} overflows usize", self.shape));
        }
        let elements: usize = self.shape.iter().product();
        let length = (elements / block).checked_mul(size);
        let first = start.checked_add(self.offset).and_then(|first| usize::try_from(first).ok());
        let range = first.zip(length).and_then(|(first, length)| Some(first..first.checked_add(length)?));
        match range {
            Some(bytes) if bytes.end <= file_size => {
                Ok(GgufTensor { shape: self.shape, encoding: self.encoding, bytes })
            }
            _ => Err(format!("its data lies outside the file of {file_size} bytes (truncated?)")),
        }
    }
}

/// A cursor over little-endian values.
struct ByteCursor<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> ByteCursor<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let taken = self.position.checked_add(count).and_then(|end| self.bytes.get(self.position..end));
        let taken =
            taken.ok_or_else(|| format!("the file ends within its header, after {} bytes", self.bytes.len()))?;
        self.position += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        Ok(self.take(N)?.try_into().expect("`take` returns N bytes"))
    }

    fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, String> {
        self.array().map(u64::from_le_bytes)
    }

    fn string(&mut self) -> Result<String, String> {
        let length = usize::try_from(self.u64()?).map_err(|error| error.to_string())?;
        Ok(String::from_utf8_lossy(self.take(length)?).into_owned())
    }

    /// Reads a metadata value of GGUF type `kind`; `None` for an array longer than [`MAX_ARRAY_LENGTH`].
    fn value(&mut self, kind: u32) -> Result<Option<Value>, String> {
        Ok(Some(match kind {
            0 => u8::from_le_bytes(self.array()?).into(),
            1 => i8::from_le_bytes(self.array()?).into(),
            2 => u16::from_le_bytes(self.array()?).into(),
            3 => i16::from_le_bytes(self.array()?).into(),
            4 => self.u32()?.into(),
            5 => i32::from_le_bytes(self.array()?).into(),
            6 => decimal(f32::from_le_bytes(self.array()?)).into(),
            7 => (u8::from_le_bytes(self.array()?) != 0).into(),
            8 => self.string()?.into(),
            9 => return self.array_value(),
            10 => self.u64()?.into(),
            11 => i64::from_le_bytes(self.array()?).into(),
            12 => f64::from_le_bytes(self.array()?).into(),
            other => return Err(format!("value type number {other} is unknown")),
        }))
    }

    fn array_value(&mut self) -> Result<Option<Value>, String> {
        let (kind, length) = (self.u32()?, self.u64()?);
        if kind == 9 {
            return Err("nested arrays are not supported".into());
        }
        let mut values = Vec::new();
        for _ in 0..length {
            let value = self.value(kind)?;
            if length <= MAX_ARRAY_LENGTH {
                values.extend(value);
            }
        }
        Ok((length <= MAX_ARRAY_LENGTH).then_some(Value::Array(values)))
    }
}

/// The shortest decimal that rounds to `value`: 1e-6 rather than its float32 neighbour 9.999999974752427e-7.
fn decimal(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}
