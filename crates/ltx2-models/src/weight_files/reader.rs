//! Multi-threaded reads of tensors from files to a device.
//!
//! One thread reads more slowly than a fast disk, and much more slowly than the page cache. Reads to a GPU go through
//! page-locked staging buffers: one buffer is copied to the device while the next one is filled.

#[cfg(feature = "cuda")]
mod staging;

use std::borrow::Cow;
#[cfg(feature = "cuda")]
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytemuck::Pod;
use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use candle_core::{DType, Device, Result, Tensor, WithDType, bail};
use half::{bf16, f16};

use super::file_span::FileSpan;

/// A tensor reader. Owns the staging buffers, which are freed with it.
#[derive(Debug, Default)]
pub(crate) struct TensorReader {
    #[cfg(feature = "cuda")]
    staging: Mutex<staging::Staging>,
}

/// Device of the tensors to read, and the reader to use.
#[derive(Clone, Copy)]
pub(crate) struct ReadTarget<'a> {
    pub(crate) device: &'a Device,
    pub(crate) reader: &'a TensorReader,
}

impl TensorReader {
    /// Reads a tensor whose elements are stored one by one in native byte order.
    pub(super) fn tensor(&self, from: FileSpan, dtype: DType, shape: &[usize], device: &Device) -> Result<Tensor> {
        match dtype {
            DType::BF16 => self.elements::<bf16>(from, shape, device),
            DType::F16 => self.elements::<f16>(from, shape, device),
            DType::F32 => self.elements::<f32>(from, shape, device),
            DType::F64 => self.elements::<f64>(from, shape, device),
            DType::U8 => self.elements::<u8>(from, shape, device),
            DType::U32 => self.elements::<u32>(from, shape, device),
            DType::I64 => self.elements::<i64>(from, shape, device),
            other => bail!("cannot read a tensor of dtype {other:?} from a file: the dtype is not supported"),
        }
    }

    /// Reads a GGUF tensor of quantisation `kind` without dequantising it.
    pub(super) fn quantized(
        &self,
        from: FileSpan,
        kind: GgmlDType,
        shape: &[usize],
        device: &Device,
    ) -> Result<QTensor> {
        let elements = shape.iter().product::<usize>();
        #[cfg(feature = "cuda")]
        if let Device::Cuda(cuda) = device
            && let Some(storage) = self.staging().quantized(from, (kind, elements), cuda)?
        {
            return QTensor::new(storage, shape);
        }
        let bytes = elements / kind.block_size() * kind.type_size();
        // Aligned as quantised blocks require.
        let mut blocks = bytemuck::allocation::zeroed_vec::<u64>(bytes.div_ceil(size_of::<u64>()));
        let blocks = &mut bytemuck::cast_slice_mut(&mut blocks)[..bytes];
        from.read(blocks)?;
        QTensor::new(QStorage::from_data(Cow::Borrowed(blocks), device, kind)?, shape)
    }

    #[cfg(feature = "cuda")]
    fn staging(&self) -> MutexGuard<'_, staging::Staging> {
        self.staging.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn elements<T: Element>(&self, from: FileSpan, shape: &[usize], device: &Device) -> Result<Tensor> {
        #[cfg(feature = "cuda")]
        if let Device::Cuda(cuda) = device
            && let Some(tensor) = self.staging().tensor::<T>(from, shape, cuda)?
        {
            return Ok(tensor);
        }
        // Zeroed lazily by the operating system: each reading thread faults in its own pages.
        let mut values = bytemuck::allocation::zeroed_vec::<T>(shape.iter().product());
        from.read(bytemuck::cast_slice_mut(&mut values))?;
        Tensor::from_vec(values, shape, device)
    }
}

/// Element types that can be read from files.
#[cfg(not(feature = "cuda"))]
trait Element: WithDType + Pod {}
#[cfg(not(feature = "cuda"))]
impl<T: WithDType + Pod> Element for T {}
#[cfg(feature = "cuda")]
trait Element: WithDType + Pod + candle_core::cuda_backend::CudaDType + staging::DeviceRepr {}
#[cfg(feature = "cuda")]
impl<T: WithDType + Pod + candle_core::cuda_backend::CudaDType + staging::DeviceRepr> Element for T {}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::file_span::CHUNK;
    use super::*;

    fn test_device() -> Result<Device> {
        if cfg!(feature = "cuda") { Device::new_cuda_with_stream(0) } else { Ok(Device::Cpu) }
    }

    #[test]
    fn elements_are_read_from_any_offset() -> Result<()> {
        // More than two chunks, and more than one staging buffer of a GPU.
        let values: Vec<f32> = (0..(33 << 20) / 4 + 5).map(|i| i as f32).collect();
        let mut file = tempfile::tempfile()?;
        file.write_all(b"abc")?;
        file.write_all(bytemuck::cast_slice(&values))?;
        let device = test_device()?;
        let reader = TensorReader::default();
        for (first, count) in [(0, values.len()), (1, 1), (7, CHUNK / 4), (values.len() - 3, 3)] {
            let span = FileSpan { file: &file, offset: 3 + 4 * first as u64 };
            let got = reader.tensor(span, DType::F32, &[count], &device)?.to_vec1::<f32>()?;
            assert!(got == values[first..first + count], "{first} {count}");
        }
        let codes = reader.tensor(FileSpan { file: &file, offset: 0 }, DType::U8, &[1, 3], &device)?.to_vec2::<u8>()?;
        assert_eq!(codes, [b"abc"]);
        Ok(())
    }

    #[test]
    fn quantized_blocks_are_read_unchanged() -> Result<()> {
        let device = test_device()?;
        // Q8_0 stores 32 values with a common scale in 34 bytes. The counts are below the staging threshold and above
        // the size of a staging buffer.
        for count in [3, (34 << 20) / 34] {
            let block = |index: usize| {
                let scale = half::f16::from_f32(1.0 + (index % 7) as f32).to_le_bytes();
                scale.into_iter().chain((0..32).map(move |i| ((index + i) % 200) as u8))
            };
            let mut file = tempfile::tempfile()?;
            file.write_all(&[0; 5])?;
            file.write_all(&(0..count).flat_map(block).collect::<Vec<u8>>())?;
            let span = FileSpan { file: &file, offset: 5 };
            let read = TensorReader::default().quantized(span, GgmlDType::Q8_0, &[count, 32], &device)?;
            let got = read.dequantize(&device)?.to_device(&Device::Cpu)?;
            for index in [0, 1, count / 2, count - 1] {
                let scale = 1.0 + (index % 7) as f32;
                let expected: Vec<f32> = (0..32).map(|i| scale * f32::from(((index + i) % 200) as u8 as i8)).collect();
                assert_eq!(got.get(index)?.to_vec1::<f32>()?, expected, "{index} of {count}");
            }
        }
        Ok(())
    }

    #[test]
    fn reading_past_the_end_fails() -> Result<()> {
        let mut file = tempfile::tempfile()?;
        file.write_all(&[0; 10])?;
        let short = TensorReader::default().tensor(FileSpan { file: &file, offset: 4 }, DType::F32, &[2], &Device::Cpu);
        assert!(short.is_err());
        Ok(())
    }
}
