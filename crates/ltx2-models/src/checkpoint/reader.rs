//! Reading numbers from files: by several threads, as one alone is slower than a disk, and much slower than what the system
//! still has of the file; to a card through page-locked memory, from which it copies while the next piece is read.

#[cfg(feature = "cuda")]
mod staging;

use std::borrow::Cow;
use std::fs::File;
use std::os::unix::fs::FileExt;
#[cfg(feature = "cuda")]
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytemuck::Pod;
use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use candle_core::{DType, Device, Result, Tensor, WithDType, bail};
use half::{bf16, f16};
use rayon::prelude::*;

/// Bytes that a thread reads at once.
const PIECE: usize = 2 << 20;

/// A part of a file, as long as what it is read into.
#[derive(Clone, Copy)]
pub(super) struct Span<'a> {
    pub(super) file: &'a File,
    /// Its beginning in bytes from the file's.
    pub(super) at: u64,
}

impl Span<'_> {
    /// Reads it.
    fn read(self, into: &mut [u8]) -> std::io::Result<()> {
        let pieces = into.par_chunks_mut(PIECE).enumerate();
        pieces.try_for_each(|(number, piece)| self.file.read_exact_at(piece, self.at + (number * PIECE) as u64))
    }

    /// What begins `bytes` further.
    #[cfg(feature = "cuda")]
    fn skip(self, bytes: usize) -> Self {
        Self { at: self.at + bytes as u64, ..self }
    }
}

/// Reads tensors; what it takes for that goes with it.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    #[cfg(feature = "cuda")]
    staging: Mutex<staging::Way>,
}

/// Where tensors are read to, and by what.
#[derive(Clone, Copy)]
pub(crate) struct To<'a> {
    pub(crate) device: &'a Device,
    pub(crate) reader: &'a Reader,
}

impl Reader {
    /// What stands at `from`, numbers in the machine's order, as a tensor.
    pub(super) fn tensor(&self, from: Span, dtype: DType, shape: &[usize], device: &Device) -> Result<Tensor> {
        match dtype {
            DType::BF16 => self.numbers::<bf16>(from, shape, device),
            DType::F16 => self.numbers::<f16>(from, shape, device),
            DType::F32 => self.numbers::<f32>(from, shape, device),
            DType::F64 => self.numbers::<f64>(from, shape, device),
            DType::U8 => self.numbers::<u8>(from, shape, device),
            DType::U32 => self.numbers::<u32>(from, shape, device),
            DType::I64 => self.numbers::<i64>(from, shape, device),
            other => bail!("numbers of type {other:?} cannot be read from a file"),
        }
    }

    /// What stands at `from`, blocks of `kind`, as a tensor of them.
    pub(super) fn blocks(&self, from: Span, kind: GgmlDType, shape: &[usize], device: &Device) -> Result<QTensor> {
        let elements = shape.iter().product::<usize>();
        #[cfg(feature = "cuda")]
        if let Device::Cuda(cuda) = device
            && let Some(storage) = self.way().blocks(from, (kind, elements), cuda)?
        {
            return QTensor::new(storage, shape);
        }
        let bytes = elements / kind.block_size() * kind.type_size();
        // Aligned as blocks are.
        let mut blocks = bytemuck::allocation::zeroed_vec::<u64>(bytes.div_ceil(size_of::<u64>()));
        let blocks = &mut bytemuck::cast_slice_mut(&mut blocks)[..bytes];
        from.read(blocks)?;
        QTensor::new(QStorage::from_data(Cow::Borrowed(blocks), device, kind)?, shape)
    }

    #[cfg(feature = "cuda")]
    fn way(&self) -> MutexGuard<'_, staging::Way> {
        self.staging.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn numbers<T: Number>(&self, from: Span, shape: &[usize], device: &Device) -> Result<Tensor> {
        #[cfg(feature = "cuda")]
        if let Device::Cuda(cuda) = device
            && let Some(tensor) = self.way().tensor::<T>(from, shape, cuda)?
        {
            return Ok(tensor);
        }
        // Zeros that the system makes page by page, in the threads that read.
        let mut values = bytemuck::allocation::zeroed_vec::<T>(shape.iter().product());
        from.read(bytemuck::cast_slice_mut(&mut values))?;
        Tensor::from_vec(values, shape, device)
    }
}

/// What files hold.
#[cfg(not(feature = "cuda"))]
trait Number: WithDType + Pod {}
#[cfg(not(feature = "cuda"))]
impl<T: WithDType + Pod> Number for T {}
#[cfg(feature = "cuda")]
trait Number: WithDType + Pod + candle_core::cuda_backend::CudaDType + staging::DeviceRepr {}
#[cfg(feature = "cuda")]
impl<T: WithDType + Pod + candle_core::cuda_backend::CudaDType + staging::DeviceRepr> Number for T {}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn test_device() -> Result<Device> {
        if cfg!(feature = "cuda") { Device::new_cuda_with_stream(0) } else { Ok(Device::Cpu) }
    }

    #[test]
    fn numbers_are_read_from_any_place() -> Result<()> {
        // More than two pieces, and more than one stage of a card's copies.
        let values: Vec<f32> = (0..(33 << 20) / 4 + 5).map(|i| i as f32).collect();
        let mut file = tempfile::tempfile()?;
        file.write_all(b"abc")?;
        file.write_all(bytemuck::cast_slice(&values))?;
        let device = test_device()?;
        let reader = Reader::default();
        for (first, count) in [(0, values.len()), (1, 1), (7, PIECE / 4), (values.len() - 3, 3)] {
            let span = Span { file: &file, at: 3 + 4 * first as u64 };
            let got = reader.tensor(span, DType::F32, &[count], &device)?.to_vec1::<f32>()?;
            assert!(got == values[first..first + count], "{first} {count}");
        }
        let codes = reader.tensor(Span { file: &file, at: 0 }, DType::U8, &[1, 3], &device)?.to_vec2::<u8>()?;
        assert_eq!(codes, [b"abc"]);
        Ok(())
    }

    #[test]
    fn blocks_are_read_as_they_are() -> Result<()> {
        let device = test_device()?;
        // Q8_0: 32 numbers by a common scale in 34 bytes. Fewer than are staged, and more than a stage.
        for count in [3, (34 << 20) / 34] {
            let block = |number: usize| {
                let scale = half::f16::from_f32(1.0 + (number % 7) as f32).to_le_bytes();
                scale.into_iter().chain((0..32).map(move |i| ((number + i) % 200) as u8))
            };
            let mut file = tempfile::tempfile()?;
            file.write_all(&[0; 5])?;
            file.write_all(&(0..count).flat_map(block).collect::<Vec<u8>>())?;
            let span = Span { file: &file, at: 5 };
            let read = Reader::default().blocks(span, GgmlDType::Q8_0, &[count, 32], &device)?;
            let got = read.dequantize(&device)?.to_device(&Device::Cpu)?;
            for number in [0, 1, count / 2, count - 1] {
                let scale = 1.0 + (number % 7) as f32;
                let expected: Vec<f32> = (0..32).map(|i| scale * f32::from(((number + i) % 200) as u8 as i8)).collect();
                assert_eq!(got.get(number)?.to_vec1::<f32>()?, expected, "{number} of {count}");
            }
        }
        Ok(())
    }

    #[test]
    fn a_file_that_was_cut_is_an_error() -> Result<()> {
        let mut file = tempfile::tempfile()?;
        file.write_all(&[0; 10])?;
        let short = Reader::default().tensor(Span { file: &file, at: 4 }, DType::F32, &[2], &Device::Cpu);
        assert!(short.is_err());
        Ok(())
    }
}
