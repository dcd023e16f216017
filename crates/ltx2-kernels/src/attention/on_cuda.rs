//! Selection and launch of the kernels of `attention.cu` and `attention_sm90.cu`.

use candle_core::cuda_backend::cudarc::driver::DeviceRepr;
use candle_core::{DType, Device, Result, Tensor, bail};
use half::bf16;

use super::kernel::AttentionKernel;
use crate::cuda::{self, LaunchConfig, Module, PushKernelArg, WrapErr};

/// Tensor-core instruction of a kernel.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Instruction {
    /// `mma.sync`, in `attention.cu`.
    Mma,
    /// `wgmma`, in `attention_sm90.cu`.
    Wgmma,
}

impl Instruction {
    fn module(self) -> &'static Module {
        match self {
            Self::Mma => &cuda::ATTENTION,
            Self::Wgmma => &cuda::ATTENTION_SM90,
        }
    }
}

/// Kernel for one head width, with its launch parameters.
#[derive(Clone, Copy)]
pub(super) struct Variant {
    instruction: Instruction,
    name: &'static str,
    head_width: usize,
    /// Queries of a block.
    queries: usize,
    /// Threads of a block.
    threads: u32,
    shared_bytes: u32,
}

impl Variant {
    /// Kernel of `attention.cu` with these template arguments. Shared memory holds a block's queries and two steps of
    /// keys and values.
    const fn mma(name: &'static str, head_width: usize, warps: usize, tiles: usize, keys: usize) -> Self {
        let queries = 16 * warps * tiles;
        let shared_bytes = ((queries + 4 * keys) * head_width * 2) as u32;
        Self { instruction: Instruction::Mma, name, head_width, queries, threads: 32 * warps as u32, shared_bytes }
    }

    /// Kernel of `attention_sm90.cu` with these template arguments. Shared memory holds a block's queries, the keys and
    /// values of all stages, and up to 1024 bytes of alignment.
    const fn wgmma(name: &'static str, head_width: usize, groups: usize, keys: usize, stages: usize) -> Self {
        let queries = 64 * groups;
        let shared_bytes = ((queries + 2 * stages * keys) * head_width * 2 + 1024) as u32;
        Self { instruction: Instruction::Wgmma, name, head_width, queries, threads: 128 * groups as u32, shared_bytes }
    }
}

/// All kernels, the fastest first.
const VARIANTS: [Variant; 4] = [
    Variant::wgmma("attention_sm90_bf16_d64", 64, 3, 128, 3),
    Variant::wgmma("attention_sm90_bf16_d128", 128, 2, 128, 3),
    Variant::mma("attention_bf16_d64", 64, 4, 2, 64),
    Variant::mma("attention_bf16_d128", 128, 4, 2, 32),
];

/// `attention::Strides` of `attention.cuh`: distances between neighbours in elements.
#[repr(C)]
struct Strides {
    batch: i64,
    head: i64,
    token: i64,
}

/// `attention::Sizes` of `attention.cuh`.
#[repr(C)]
struct Sizes {
    heads: i32,
    queries: i32,
    keys: i32,
}

// SAFETY: `repr(C)` with integer fields only, in the order of the C++ struct.
unsafe impl DeviceRepr for Strides {}
// SAFETY: `repr(C)` with integer fields only, in the order of the C++ struct.
unsafe impl DeviceRepr for Sizes {}

/// Selects the kernel for `q`; `None` if none supports it.
pub(super) fn select(q: &Tensor, scale: f64, kernel: AttentionKernel) -> Result<Option<Variant>> {
    // The kernels take the maximum of unscaled scores, which is the maximum of scaled ones only for a positive scale.
    if q.dtype() != DType::BF16 || scale <= 0.0 {
        return Ok(None);
    }
    let is_allowed = |variant: &Variant| match kernel {
        AttentionKernel::Auto => true,
        AttentionKernel::Mma => variant.instruction == Instruction::Mma,
    };
    Ok(supported(q)?.into_iter().find(is_allowed))
}

/// All kernels that the device of `q` supports for its head width, the fastest first; none on a CPU.
pub(super) fn supported(q: &Tensor) -> Result<Vec<Variant>> {
    let Device::Cuda(device) = q.device() else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for variant in VARIANTS.into_iter().filter(|variant| q.dims().last() == Some(&variant.head_width)) {
        if variant.instruction.module().supports(device)? {
            found.push(variant);
        }
    }
    Ok(found)
}

/// Runs `variant`, which [`select`] or [`supported`] returned for `q`.
pub(super) fn attention(variant: Variant, q: &Tensor, k: &Tensor, v: &Tensor, scale: f64) -> Result<Tensor> {
    let (b, h, t, d) = q.dims4()?;
    let s = k.dim(2)?;
    if d != variant.head_width || k.dims() != [b, h, s, d] || v.dims() != [b, h, s, d] {
        bail!("attention: shapes of q {q:?}, k {k:?} and v {v:?} do not match")
    }
    if [q, k, v].iter().any(|x| x.dtype() != DType::BF16) {
        bail!("attention: expected bfloat16, found q {q:?}, k {k:?} and v {v:?}")
    }
    if b * h == 0 || t == 0 || s == 0 || b * h > 65_535 || t.max(s) > i32::MAX as usize - variant.queries {
        bail!(
            "attention: expected 1 to 65535 heads and at least 1 query and key, found {b}x{h} heads, {t} queries and \
             {s} keys"
        )
    }
    let Device::Cuda(device) = q.device() else { bail!("attention: expected a CUDA tensor, found {q:?}") };
    let [q, k, v] = [aligned(q)?, aligned(k)?, aligned(v)?];
    let [q_strides, k_strides, v_strides] = [&q, &k, &v].map(strides);
    let sizes = Sizes { heads: h as i32, queries: t as i32, keys: s as i32 };
    let scale = (scale * std::f64::consts::LOG2_E) as f32;
    let mut out = cuda::alloc_output::<bf16>(device, b * t * h * d)?;
    {
        let [q, k, v] = [&q, &k, &v].map(Tensor::storage_and_layout);
        let (q, k) = (cuda::view::<bf16>(&q.0, q.1)?, cuda::view::<bf16>(&k.0, k.1)?);
        let v = cuda::view::<bf16>(&v.0, v.1)?;
        let kernel = variant.instruction.module().kernel(device, variant.name)?;
        kernel.allow_shared(variant.shared_bytes)?;
        let mut launch = kernel.builder();
        launch.arg(&q).arg(&k).arg(&v).arg(&mut out).arg(&q_strides).arg(&k_strides).arg(&v_strides);
        launch.arg(&sizes).arg(&scale);
        let config = LaunchConfig {
            grid_dim: (t.div_ceil(variant.queries) as u32, (b * h) as u32, 1),
            block_dim: (variant.threads, 1, 1),
            shared_mem_bytes: variant.shared_bytes,
        };
        // SAFETY: these are the parameters of the `ATTENTION` kernels in order and type. `q`, `k` and `v` are bf16 `(b,
        // h, tokens, head_width)` with the given strides and rows aligned to 16 bytes, `out` has `(b, t, h,
        // head_width)` elements, and block and shared memory sizes follow from the template arguments of the kernel.
        unsafe { launch.launch(config) }.w()?;
    }
    cuda::tensor(out, device, (b, t, h, d).into()).transpose(1, 2)
}

/// Returns `x` itself if its rows are contiguous and start at multiples of 16 bytes, else a contiguous copy.
fn aligned(x: &Tensor) -> Result<Tensor> {
    let is_aligned = |elements: usize| elements.is_multiple_of(8);
    let layout = x.layout();
    let (rows, last) = layout.stride().split_at(3);
    if last == [1] && is_aligned(layout.start_offset()) && rows.iter().all(|stride| is_aligned(*stride)) {
        return Ok(x.clone());
    }
    x.force_contiguous()
}

fn strides(x: &Tensor) -> Strides {
    let stride = x.stride();
    Strides { batch: stride[0] as i64, head: stride[1] as i64, token: stride[2] as i64 }
}
