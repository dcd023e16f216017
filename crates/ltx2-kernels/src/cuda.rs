//! Launch support for this crate's CUDA kernels: their PTX, operands, outputs and launch configurations.

use std::ops::Deref;
use std::sync::Arc;

use candle_core::cuda_backend::CudaDType;
use candle_core::cuda_backend::cudarc::driver::sys::CUfunction_attribute;
use candle_core::cuda_backend::cudarc::driver::{
    CudaFunction, CudaSlice, CudaStream, CudaView, DeviceRepr, LaunchArgs,
};
use candle_core::op::BackpropOp;
use candle_core::{CudaDevice, CudaStorage, D, DType, Device, Layout, Result, Shape, Storage, Tensor, bail};
use half::bf16;

pub(crate) use candle_core::cuda_backend::WrapErr;
pub(crate) use candle_core::cuda_backend::cudarc::driver::{LaunchConfig, PushKernelArg};

/// PTX of one `.cu` file.
pub(crate) struct Module {
    name: &'static str,
    ptx: &'static str,
    target: Target,
}

/// GPUs for which a module is compiled.
enum Target {
    /// All from sm_80 on.
    Sm80OrNewer,
    /// Only this compute capability.
    Exactly((i32, i32)),
}

macro_rules! module {
    ($name:literal) => {
        module!($name, Target::Sm80OrNewer)
    };
    ($name:literal, $target:expr) => {
        Module {
            name: concat!("ltx2-", $name),
            ptx: include_str!(concat!(env!("OUT_DIR"), "/", $name, ".ptx")),
            target: $target,
        }
    };
}

/// `attention/attention.cu`.
pub(crate) const ATTENTION: Module = module!("attention");
/// `attention/attention_sm90.cu`.
pub(crate) const ATTENTION_SM90: Module = module!("attention_sm90", Target::Exactly((9, 0)));
/// `bias_epilogue.cu`.
pub(crate) const BIAS_EPILOGUE: Module = module!("bias_epilogue");
/// `conv3d/add_bias.cu`.
pub(crate) const ADD_BIAS: Module = module!("add_bias");
/// `conv3d/im2col.cu`.
pub(crate) const IM2COL: Module = module!("im2col");
/// `conv3d/implicit_gemm.cu`.
pub(crate) const IMPLICIT_GEMM: Module = module!("implicit_gemm");
/// `depth_to_space.cu`.
pub(crate) const DEPTH_TO_SPACE: Module = module!("depth_to_space");
/// `float8.cu`.
pub(crate) const FLOAT8: Module = module!("float8");
/// `norm_rope.cu`.
pub(crate) const NORM_ROPE: Module = module!("norm_rope");
/// `pixel_norm.cu`.
pub(crate) const PIXEL_NORM: Module = module!("pixel_norm");
/// `residual.cu`.
pub(crate) const RESIDUAL: Module = module!("residual");
/// `rms_modulate.cu`.
pub(crate) const RMS_MODULATE: Module = module!("rms_modulate");
/// `synth.cu`.
pub(crate) const SYNTH: Module = module!("synth");

/// Every module with one of its kernels: loading the kernel compiles the module.
const MODULES: [(&Module, &str); 13] = [
    (&ATTENTION, "attention_bf16_d64"),
    (&ATTENTION_SM90, "attention_sm90_bf16_d64"),
    (&BIAS_EPILOGUE, "bias_sum_bf16"),
    (&ADD_BIAS, "conv3d_add_bias_bf16x8"),
    (&IM2COL, "im2col_16x8"),
    (&IMPLICIT_GEMM, "conv3d_implicit_gemm_128"),
    (&DEPTH_TO_SPACE, "depth_to_space_bf16"),
    (&FLOAT8, "decode_e4m3_bf16"),
    (&NORM_ROPE, "norm_rope_bf16"),
    (&PIXEL_NORM, "pixel_norm_silu_bf16x8"),
    (&RESIDUAL, "residual_bf16"),
    (&RMS_MODULATE, "rms_norm_modulate_bf16"),
    (&SYNTH, "synth_bf16"),
];

/// Compiles every module that supports `device`.
pub(crate) fn load_all(device: &CudaDevice) -> Result<()> {
    for (module, name) in MODULES {
        if module.supports(device)? {
            module.kernel(device, name)?;
        }
    }
    Ok(())
}

/// A loaded kernel and the stream on which it is launched.
pub(crate) struct Kernel {
    function: CudaFunction,
    stream: Arc<CudaStream>,
}

impl Module {
    /// Whether the driver can load the module on `device`.
    pub(crate) fn supports(&self, device: &CudaDevice) -> Result<bool> {
        match self.target {
            Target::Sm80OrNewer => Ok(true),
            Target::Exactly(capability) => Ok(device.cuda_stream().context().compute_capability().w()? == capability),
        }
    }

    /// Loads the kernel `name` on `device`, or returns it from candle's cache.
    pub(crate) fn kernel(&self, device: &CudaDevice, name: &str) -> Result<Kernel> {
        if self.ptx.is_empty() {
            bail!(
                "kernel {name} is not available: this program was built with LTX2_KERNELS_WITHOUT_NVCC=1, for type \
                 checks only; build it with nvcc"
            )
        }
        let function = device.get_or_load_custom_func(name, self.name, self.ptx)?.into_cuda_function();
        Ok(Kernel { function, stream: device.cuda_stream() })
    }
}

impl Kernel {
    /// Starts an argument list, to be filled in the order of the kernel's parameters.
    pub(crate) fn builder(&self) -> LaunchArgs<'_> {
        self.stream.launch_builder(&self.function)
    }

    /// Raises the limit of dynamic shared memory per block to `bytes`: above 48 KiB a kernel has to opt in.
    pub(crate) fn allow_shared(&self, bytes: u32) -> Result<()> {
        let attribute = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        self.function.set_attribute(attribute, bytes as i32).w()
    }
}

/// Element type of a kernel's output.
pub(crate) trait Element: CudaDType + DeviceRepr {}

impl Element for bf16 {}
impl Element for f32 {}

/// Allocates an output of `count` elements with unspecified contents. The kernel that gets it writes all of them.
pub(crate) fn alloc_output<T: Element>(device: &CudaDevice, count: usize) -> Result<CudaSlice<T>> {
    // SAFETY: every bit pattern is a valid `T`, which is bf16 or f32, so the contents are unspecified but not invalid.
    unsafe { device.alloc::<T>(count) }
}

/// Proof that tensors can be accessed in vectors of 16 bytes, with what a launch needs to know about them.
pub(crate) struct Vectorized<'a> {
    /// Device of all tensors.
    pub(crate) device: &'a CudaDevice,
    /// dtype of all tensors: bfloat16 or float32.
    pub(crate) dtype: DType,
    /// Elements of a vector.
    pub(crate) elements: usize,
}

impl<'a> Vectorized<'a> {
    /// Returns `None` unless `tensors` are contiguous on one CUDA device, all bfloat16 or all float32, start at a
    /// multiple of 16 bytes, and `width` is a positive multiple of the elements of a vector.
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

/// Elements between the rows of `other` that belong to neighbouring rows of `x`: 0 if `other` is one row for all rows.
/// `None` if it broadcasts in another way.
pub(crate) fn row_stride(x: &Tensor, other: &Tensor) -> Option<usize> {
    let width = x.dim(D::Minus1).ok()?;
    match other.dims() {
        dims if dims == x.dims() => Some(width),
        [.., last] if *last == width && other.elem_count() == width => Some(0),
        _ => None,
    }
}

/// Threads of a block that loops over `items`: whole warps, at most 256 threads.
pub(crate) fn block_threads(items: usize) -> u32 {
    (items.div_ceil(32) * 32).clamp(32, 256) as u32
}

/// Configuration with one thread for each of `items`.
pub(crate) fn one_thread_per_item(items: u32) -> LaunchConfig {
    const THREADS: u32 = 256;
    LaunchConfig { grid_dim: (items.div_ceil(THREADS), 1, 1), block_dim: (THREADS, 1, 1), shared_mem_bytes: 0 }
}

/// View of a tensor's device memory, from its first element on.
pub(crate) fn view<'a, T: CudaDType>(storage: &'a Storage, layout: &Layout) -> Result<CudaView<'a, T>> {
    match storage {
        Storage::Cuda(storage) => Ok(storage.as_cuda_slice::<T>()?.slice(layout.start_offset()..)),
        other => bail!("expected a CUDA tensor as a kernel operand, found one on {:?}", other.device().location()),
    }
}

/// [`view`] of an optional tensor.
pub(crate) fn optional_view<'a, T: CudaDType>(
    tensor: Option<&'a (impl Deref<Target = Storage>, &Layout)>,
) -> Result<Option<CudaView<'a, T>>> {
    tensor.map(|(storage, layout)| view::<T>(storage, layout)).transpose()
}

/// Adds an optional pointer to the argument list, null if it is `None`.
pub(crate) fn optional_arg<'a, T: DeviceRepr>(launch: &mut LaunchArgs<'a>, view: Option<&'a CudaView<'a, T>>) {
    static NULL: u64 = 0;
    match view {
        Some(view) => launch.arg(view),
        None => launch.arg(&NULL),
    };
}

/// Wraps a kernel's output as a contiguous tensor of `shape`.
pub(crate) fn tensor<T: CudaDType>(out: CudaSlice<T>, device: &CudaDevice, shape: Shape) -> Tensor {
    let storage = CudaStorage::wrap_cuda_slice(out, device.clone());
    Tensor::from_storage(Storage::Cuda(storage), shape, BackpropOp::none(), false)
}
