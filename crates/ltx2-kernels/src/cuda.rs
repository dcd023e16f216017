//! This crate's CUDA kernels: their code, and what launching them takes.

use std::ops::Deref;
use std::sync::Arc;

use candle_core::cuda_backend::CudaDType;
use candle_core::cuda_backend::cudarc::driver::sys::CUfunction_attribute;
use candle_core::cuda_backend::cudarc::driver::{
    CudaFunction, CudaSlice, CudaStream, CudaView, DeviceRepr, LaunchArgs,
};
use candle_core::op::BackpropOp;
use candle_core::{CudaDevice, CudaStorage, D, DType, Device, Layout, Result, Shape, Storage, Tensor, bail};

pub(crate) use candle_core::cuda_backend::WrapErr;
pub(crate) use candle_core::cuda_backend::cudarc::driver::{LaunchConfig, PushKernelArg};

/// The kernels of one file.
pub(crate) struct Module {
    name: &'static str,
    ptx: &'static str,
    cards: Cards,
}

/// The cards that a module is for.
enum Cards {
    /// All from sm_80 on.
    All,
    /// Those of this compute capability, and no newer ones.
    Only((i32, i32)),
}

macro_rules! module {
    ($name:literal) => {
        module!($name, Cards::All)
    };
    ($name:literal, $cards:expr) => {
        Module {
            name: concat!("ltx2-", $name),
            ptx: include_str!(concat!(env!("OUT_DIR"), "/", $name, ".ptx")),
            cards: $cards,
        }
    };
}

/// `attention.cu`.
pub(crate) const ATTENTION: Module = module!("attention");
/// `attention_sm90.cu`.
pub(crate) const ATTENTION_SM90: Module = module!("attention_sm90", Cards::Only((9, 0)));
/// `columns.cu`.
pub(crate) const COLUMNS: Module = module!("columns");
/// `conv3d.cu`.
pub(crate) const CONV3D: Module = module!("conv3d");
/// `conv3d_tiles.cu`.
pub(crate) const CONV3D_TILES: Module = module!("conv3d_tiles");
/// `depth_to_space.cu`.
pub(crate) const DEPTH_TO_SPACE: Module = module!("depth_to_space");
/// `float8.cu`.
pub(crate) const FLOAT8: Module = module!("float8");
/// `modulate.cu`.
pub(crate) const MODULATE: Module = module!("modulate");
/// `norm_rope.cu`.
pub(crate) const NORM_ROPE: Module = module!("norm_rope");
/// `pixel_norm.cu`.
pub(crate) const PIXEL_NORM: Module = module!("pixel_norm");
/// `product.cu`.
pub(crate) const PRODUCT: Module = module!("product");
/// `residual.cu`.
pub(crate) const RESIDUAL: Module = module!("residual");
/// `synth.cu`.
pub(crate) const SYNTH: Module = module!("synth");

/// One kernel of each file.
const ANY: [(&Module, &str); 13] = [
    (&ATTENTION, "attention_bf16_d64"),
    (&ATTENTION_SM90, "attention_sm90_bf16_d64"),
    (&COLUMNS, "columns_16x8"),
    (&CONV3D, "add_bias_bf16x8"),
    (&CONV3D_TILES, "conv3d_tiles_128"),
    (&DEPTH_TO_SPACE, "depth_to_space_bf16"),
    (&FLOAT8, "decode_e4m3_bf16"),
    (&MODULATE, "rms_norm_modulate_bf16"),
    (&NORM_ROPE, "norm_rope_bf16"),
    (&PIXEL_NORM, "pixel_norm_silu_bf16x8"),
    (&PRODUCT, "product_sum_bf16"),
    (&RESIDUAL, "residual_bf16"),
    (&SYNTH, "synth_bf16"),
];

/// Has the driver compile all kernels of this crate that are for `device`.
pub(crate) fn load_all(device: &CudaDevice) -> Result<()> {
    for (module, name) in ANY {
        if module.is_for(device)? {
            module.kernel(device, name)?;
        }
    }
    Ok(())
}

/// A kernel on a device.
pub(crate) struct Kernel {
    function: CudaFunction,
    stream: Arc<CudaStream>,
}

impl Module {
    /// Whether the driver can load it for `device`.
    pub(crate) fn is_for(&self, device: &CudaDevice) -> Result<bool> {
        match self.cards {
            Cards::All => Ok(true),
            Cards::Only(capability) => Ok(device.cuda_stream().context().compute_capability().w()? == capability),
        }
    }

    /// A kernel by its name in the file.
    pub(crate) fn kernel(&self, device: &CudaDevice, name: &str) -> Result<Kernel> {
        if self.ptx.is_empty() {
            bail!(
                "{name} cannot run: this program was built without nvcc (LTX2_KERNELS_WITHOUT_NVCC), only to be checked"
            )
        }
        let function = device.get_or_load_custom_func(name, self.name, self.ptx)?.into_cuda_function();
        Ok(Kernel { function, stream: device.cuda_stream() })
    }
}

impl Kernel {
    /// Takes the arguments, in the kernel's order.
    pub(crate) fn builder(&self) -> LaunchArgs<'_> {
        self.stream.launch_builder(&self.function)
    }

    /// Lets a block have `bytes` of shared memory, where that is more than every card gives unasked.
    pub(crate) fn allow_shared(&self, bytes: u32) -> Result<()> {
        let attribute = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        self.function.set_attribute(attribute, bytes as i32).w()
    }
}

/// Tensors that kernels can read 16 bytes at a time.
pub(crate) struct Packed<'a> {
    /// Where all of them are.
    pub(crate) device: &'a CudaDevice,
    /// What they all hold.
    pub(crate) dtype: DType,
    /// How many elements are read at a time.
    pub(crate) elements: usize,
}

impl<'a> Packed<'a> {
    /// If `tensors` are contiguous on a card, all bfloat16 or all float32, and begin and have `width` in whole packs.
    pub(crate) fn new(tensors: &[&'a Tensor], width: usize) -> Option<Self> {
        let Device::Cuda(device) = tensors[0].device() else { return None };
        let dtype = tensors[0].dtype();
        let elements = match dtype {
            DType::BF16 => 8,
            DType::F32 => 4,
            _ => return None,
        };
        let fits = |x: &&Tensor| {
            x.dtype() == dtype
                && x.device().same_device(tensors[0].device())
                && x.is_contiguous()
                && x.layout().start_offset().is_multiple_of(elements)
        };
        (width > 0 && width.is_multiple_of(elements) && tensors.iter().all(fits)).then_some(Self {
            device,
            dtype,
            elements,
        })
    }
}

/// How far apart the rows of `other` are that belong to neighbouring rows of `x`: 0 if it has one row for all; none if it
/// broadcasts otherwise.
pub(crate) fn row_step(x: &Tensor, other: &Tensor) -> Option<usize> {
    let width = x.dim(D::Minus1).ok()?;
    match other.dims() {
        dims if dims == x.dims() => Some(width),
        [.., last] if *last == width && other.elem_count() == width => Some(0),
        _ => None,
    }
}

/// A block of whole warps for `work` things to do, a thread for each where there are not too many.
pub(crate) fn threads(work: usize) -> u32 {
    (work.div_ceil(32) * 32).clamp(32, 256) as u32
}

/// A tensor's elements from its first one on, for a kernel to read.
pub(crate) fn view<'a, T: CudaDType>(storage: &'a Storage, layout: &Layout) -> Result<CudaView<'a, T>> {
    match storage {
        Storage::Cuda(storage) => Ok(storage.as_cuda_slice::<T>()?.slice(layout.start_offset()..)),
        other => bail!("a CUDA kernel cannot read what is on {:?}", other.device().location()),
    }
}

/// The same of a tensor that may be missing.
pub(crate) fn view_if_any<'a, T: CudaDType>(
    tensor: Option<&'a (impl Deref<Target = Storage>, &Layout)>,
) -> Result<Option<CudaView<'a, T>>> {
    tensor.map(|(storage, layout)| view::<T>(storage, layout)).transpose()
}

/// Passes what a kernel takes as null where it is missing.
pub(crate) fn arg_if_any<'a, T: DeviceRepr>(launch: &mut LaunchArgs<'a>, view: Option<&'a CudaView<'a, T>>) {
    static NULL: u64 = 0;
    match view {
        Some(view) => launch.arg(view),
        None => launch.arg(&NULL),
    };
}

/// A thread for each of `count` things to do.
pub(crate) fn over(count: u32) -> LaunchConfig {
    const THREADS: u32 = 256;
    LaunchConfig { grid_dim: (count.div_ceil(THREADS), 1, 1), block_dim: (THREADS, 1, 1), shared_mem_bytes: 0 }
}

/// A tensor over what a kernel wrote, of as many elements as `shape`.
pub(crate) fn tensor<T: CudaDType>(out: CudaSlice<T>, device: &CudaDevice, shape: Shape) -> Tensor {
    let storage = CudaStorage::wrap_cuda_slice(out, device.clone());
    Tensor::from_storage(Storage::Cuda(storage), shape, BackpropOp::none(), false)
}
