//! The header of a GGUF file: metadata, then names, shapes, types and places of the tensors.
//!
//! Not candle's reader: that one divides by an alignment of zero, and does not name the tensor of an unknown type.

use std::collections::BTreeMap;

use candle_core::DType;
use candle_core::quantized::GgmlDType;
use serde_json::{Map, Value};

use crate::checkpoint::header::is_measurable;

/// How a tensor's numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::checkpoint) enum Form {
    /// One by one.
    Dense(DType),
    /// In blocks with common scales.
    Blocks(GgmlDType),
}

/// Number in the file, name, form.
const FORMS: [(u32, &str, Form); 13] = [
    (0, "F32", Form::Dense(DType::F32)),
    (1, "F16", Form::Dense(DType::F16)),
    (30, "BF16", Form::Dense(DType::BF16)),
    (2, "Q4_0", Form::Blocks(GgmlDType::Q4_0)),
    (3, "Q4_1", Form::Blocks(GgmlDType::Q4_1)),
    (6, "Q5_0", Form::Blocks(GgmlDType::Q5_0)),
    (7, "Q5_1", Form::Blocks(GgmlDType::Q5_1)),
    (8, "Q8_0", Form::Blocks(GgmlDType::Q8_0)),
    (10, "Q2_K", Form::Blocks(GgmlDType::Q2K)),
    (11, "Q3_K", Form::Blocks(GgmlDType::Q3K)),
    (12, "Q4_K", Form::Blocks(GgmlDType::Q4K)),
    (13, "Q5_K", Form::Blocks(GgmlDType::Q5K)),
    (14, "Q6_K", Form::Blocks(GgmlDType::Q6K)),
];

/// Longer lists, such as a vocabulary, are passed over.
const LONGEST_LIST: u64 = 1024;
const DEFAULT_ALIGNMENT: u64 = 32;
const MOST_DIMENSIONS: u32 = 8;

/// A parsed header.
#[derive(Debug)]
pub(super) struct Header {
    /// Scalars, texts and short lists by their dotted names.
    pub metadata: Map<String, Value>,
    /// By name.
    pub tensors: BTreeMap<String, Tensor>,
}

/// Where a tensor is and what it looks like.
#[derive(Debug, Clone)]
pub(in crate::checkpoint) struct Tensor {
    /// Slowest dimension first, as everywhere but in the file.
    pub shape: Vec<usize>,
    /// How it is stored.
    pub form: Form,
    /// Its bytes in the file.
    pub bytes: std::ops::Range<usize>,
}

impl Tensor {
    /// Bytes of its blocks, if it has blocks.
    pub(in crate::checkpoint) fn packed_bytes(&self) -> Option<usize> {
        match self.form {
            Form::Dense(_) => None,
            Form::Blocks(kind) => Some(self.shape.iter().product::<usize>() / kind.block_size() * kind.type_size()),
        }
    }
}

impl Header {
    /// Reads the header of a file that consists of `bytes`; the error says what is wrong.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut cursor = Cursor { bytes, at: 0 };
        if cursor.take(4)? != b"GGUF" {
            return Err("it does not begin with GGUF".into());
        }
        let version = cursor.u32()?;
        if !(2..=3).contains(&version) {
            return Err(format!("its version is {version}, but only 2 and 3 are supported"));
        }
        let (tensor_count, value_count) = (cursor.u64()?, cursor.u64()?);
        let mut metadata = Map::new();
        for _ in 0..value_count {
            let key = cursor.text()?;
            let kind = cursor.u32()?;
            if let Some(value) = cursor.value(kind).map_err(|error| format!("metadata {key}: {error}"))? {
                metadata.insert(key, value);
            }
        }
        let mut infos = Vec::new();
        for _ in 0..tensor_count {
            let name = cursor.text()?;
            let info = Info::read(&mut cursor).map_err(|error| format!("tensor {name}: {error}"))?;
            infos.push((name, info));
        }
        let alignment = match metadata.get("general.alignment") {
            None => DEFAULT_ALIGNMENT,
            Some(value) => value
                .as_u64()
                .filter(|alignment| *alignment > 0 && alignment.is_multiple_of(8))
                .ok_or_else(|| format!("general.alignment is {value}, but only multiples of 8 are supported"))?,
        };
        let start = (cursor.at as u64).next_multiple_of(alignment);
        let mut tensors = BTreeMap::new();
        for (name, info) in infos {
            let place = info.place(start, alignment, bytes.len()).map_err(|error| format!("tensor {name}: {error}"))?;
            if tensors.insert(name.clone(), place).is_some() {
                return Err(format!("it has two tensors {name}"));
            }
        }
        Ok(Self { metadata, tensors })
    }
}

/// What the header says of a tensor.
struct Info {
    shape: Vec<usize>,
    form: Form,
    offset: u64,
}

impl Info {
    fn read(cursor: &mut Cursor) -> Result<Self, String> {
        let dimensions = cursor.u32()?;
        if dimensions > MOST_DIMENSIONS {
            return Err(format!("it has {dimensions} dimensions"));
        }
        let mut shape = (0..dimensions)
            .map(|_| usize::try_from(cursor.u64()?).map_err(|error| error.to_string()))
            .collect::<Result<Vec<_>, _>>()?;
        // The file's first dimension is the fastest.
        shape.reverse();
        let number = cursor.u32()?;
        let form = FORMS.iter().find(|(known, _, _)| *known == number).map(|(_, _, form)| *form).ok_or_else(|| {
            let names: Vec<&str> = FORMS.iter().map(|(_, name, _)| *name).collect();
            format!("its type is number {number}, but only {} are supported", names.join(", "))
        })?;
        Ok(Self { shape, form, offset: cursor.u64()? })
    }

    fn place(self, start: u64, alignment: u64, file: usize) -> Result<Tensor, String> {
        let (block, size) = match self.form {
            Form::Dense(dtype) => (1, dtype.size_in_bytes()),
            Form::Blocks(kind) => (kind.block_size(), kind.type_size()),
        };
        let row = self.shape.last().copied().unwrap_or(1);
        if !row.is_multiple_of(block) {
            return Err(format!("its rows of {row} are no multiple of its blocks of {block}"));
        }
        if !self.offset.is_multiple_of(alignment) {
            return Err(format!("its offset {} is no multiple of the alignment {alignment}", self.offset));
        }
        if !is_measurable(&self.shape) {
            return Err(format!("its shape {:?} is beyond measure", self.shape));
        }
        let elements: usize = self.shape.iter().product();
        let length = (elements / block).checked_mul(size);
        let first = start.checked_add(self.offset).and_then(|first| usize::try_from(first).ok());
        let range = first.zip(length).and_then(|(first, length)| Some(first..first.checked_add(length)?));
        match range {
            Some(bytes) if bytes.end <= file => Ok(Tensor { shape: self.shape, form: self.form, bytes }),
            _ => Err(format!("it lies outside the file of {file} bytes (truncated?)")),
        }
    }
}

/// Reads little-endian values one after the other.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let taken = self.at.checked_add(count).and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or_else(|| format!("it ends within its header, after {} bytes", self.bytes.len()))?;
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        Ok(self.take(N)?.try_into().expect("as many bytes as were asked for"))
    }

    fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, String> {
        self.array().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Result<String, String> {
        let length = usize::try_from(self.u64()?).map_err(|error| error.to_string())?;
        Ok(String::from_utf8_lossy(self.take(length)?).into_owned())
    }

    /// A value of type `kind`; nothing for a list that is too long to be kept.
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
            8 => self.text()?.into(),
            9 => return self.list(),
            10 => self.u64()?.into(),
            11 => i64::from_le_bytes(self.array()?).into(),
            12 => f64::from_le_bytes(self.array()?).into(),
            other => return Err(format!("its type is number {other}, which is not known")),
        }))
    }

    fn list(&mut self) -> Result<Option<Value>, String> {
        let (kind, length) = (self.u32()?, self.u64()?);
        if kind == 9 {
            return Err("it is a list of lists, which is not supported".into());
        }
        let mut values = Vec::new();
        for _ in 0..length {
            let value = self.value(kind)?;
            if length <= LONGEST_LIST {
                values.extend(value);
            }
        }
        Ok((length <= LONGEST_LIST).then_some(Value::Array(values)))
    }
}

/// The number that was meant: 1e-6, not the float32 next to it.
fn decimal(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}
