//! Launches the kernels of `attention.cu` and `attention_sm90.cu`.

use std::sync::LazyLock;

use candle_core::cuda_backend::cudarc::driver::DeviceRepr;
use candle_core::{DType, Device, Result, Tensor, bail};
use half::bf16;

use crate::cuda::{self, LaunchConfig, Module, PushKernelArg, WrapErr};

/// Forces a kind of kernel, to compare them or to do without one.
const SETTING: &str = "LTX2_ATTENTION";

/// Which kernels may be used.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The first of those that the card can run.
    Any,
    /// Those of `attention.cu`, which all cards can run.
    Mma,
}

/// What `LTX2_ATTENTION` says, read once.
pub(crate) fn wanted() -> Result<Wanted> {
    static WANTED: LazyLock<Option<String>> =
        LazyLock::new(|| std::env::var_os(SETTING).map(|value| value.to_string_lossy().into_owned()));
    parse(WANTED.as_deref())
}

fn parse(setting: Option<&str>) -> Result<Wanted> {
    match setting {
        None | Some("") => Ok(Wanted::Any),
        Some("mma") => Ok(Wanted::Mma),
        Some(other) => bail!("{SETTING} is {other}, but it must be mma or not be set"),
    }
}

/// The instructions that a kernel multiplies with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `attention.cu`: `mma.sync`.
    Mma,
    /// `attention_sm90.cu`: `wgmma`.
    Wgmma,
}

impl Kind {
    fn module(self) -> &'static Module {
        match self {
            Self::Mma => &cuda::ATTENTION,
            Self::Wgmma => &cuda::ATTENTION_SM90,
        }
    }
}

/// A kernel for one width of a head.
#[derive(Clone, Copy)]
pub(super) struct Kernel {
    kind: Kind,
    name: &'static str,
    width: usize,
    /// Queries and threads of a block.
    queries: usize,
    threads: u32,
    shared_bytes: u32,
}

impl Kernel {
    /// Of `attention.cu`, in the words that it uses: a block's queries, and twice the keys and values of a step.
    const fn mma(name: &'static str, width: usize, warps: usize, tiles: usize, keys: usize) -> Self {
        let queries = 16 * warps * tiles;
        let shared_bytes = ((queries + 4 * keys) * width * 2) as u32;
        Self { kind: Kind::Mma, name, width, queries, threads: 32 * warps as u32, shared_bytes }
    }

    /// Of `attention_sm90.cu`, in the words that it uses: a block's queries, the keys and values of the stages, and what it takes
    /// to begin at a multiple of 1024 bytes.
    const fn wgmma(name: &'static str, width: usize, groups: usize, keys: usize, stages: usize) -> Self {
        let queries = 64 * groups;
        let shared_bytes = ((queries + 2 * stages * keys) * width * 2 + 1024) as u32;
        Self { kind: Kind::Wgmma, name, width, queries, threads: 128 * groups as u32, shared_bytes }
    }
}

/// The best ones first.
const KERNELS: [Kernel; 4] = [
    Kernel::wgmma("attention_sm90_bf16_d64", 64, 3, 128, 3),
    Kernel::wgmma("attention_sm90_bf16_d128", 128, 2, 128, 3),
    Kernel::mma("attention_bf16_d64", 64, 4, 2, 64),
    Kernel::mma("attention_bf16_d128", 128, 4, 2, 32),
];

/// Distances between neighbours in elements.
#[repr(C)]
struct Strides {
    batch: i64,
    head: i64,
    token: i64,
}

#[repr(C)]
struct Sizes {
    heads: i32,
    queries: i32,
    keys: i32,
}

// Both are plain numbers, laid out as the kernel's own.
unsafe impl DeviceRepr for Strides {}
unsafe impl DeviceRepr for Sizes {}

/// The kernel that computes this, if one does.
pub(super) fn kernel_for(q: &Tensor, scale: f64, mask: Option<&Tensor>) -> Result<Option<Kernel>> {
    // The largest score is the largest before scaling only if the scale is positive.
    if q.dtype() != DType::BF16 || mask.is_some() || scale <= 0.0 {
        return Ok(None);
    }
    let wanted = wanted()?;
    let is_wanted = |kernel: &Kernel| wanted == Wanted::Any || kernel.kind == Kind::Mma;
    Ok(kernels_for(q)?.into_iter().find(is_wanted))
}

/// All that the card of `q` can run on heads of its width, the best ones first; none on a CPU.
pub(super) fn kernels_for(q: &Tensor) -> Result<Vec<Kernel>> {
    let Device::Cuda(device) = q.device() else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for kernel in KERNELS.into_iter().filter(|kernel| q.dims().last() == Some(&kernel.width)) {
        if kernel.kind.module().is_for(device)? {
            found.push(kernel);
        }
    }
    Ok(found)
}

pub(super) fn attention(kernel: Kernel, q: &Tensor, k: &Tensor, v: &Tensor, scale: f64) -> Result<Tensor> {
    let (b, h, t, d) = q.dims4()?;
    let s = k.dim(2)?;
    if k.dims() != [b, h, s, d] || v.dims() != [b, h, s, d] || k.dtype() != q.dtype() || v.dtype() != q.dtype() {
        bail!("attention of {q:?} to {k:?} and {v:?}: they have to agree in all but their lengths")
    }
    if b * h == 0 || t == 0 || s == 0 || b * h > 65_535 || t.max(s) > i32::MAX as usize - kernel.queries {
        bail!("attention of {t} queries to {s} keys in {b}x{h} heads: lengths have to be above zero, heads below 65536")
    }
    let Device::Cuda(device) = q.device() else { bail!("an attention kernel needs its queries on a card") };
    let [q, k, v] = [aligned(q)?, aligned(k)?, aligned(v)?];
    let [q_strides, k_strides, v_strides] = [&q, &k, &v].map(strides);
    let sizes = Sizes { heads: h as i32, queries: t as i32, keys: s as i32 };
    let scale = (scale * std::f64::consts::LOG2_E) as f32;
    // Every element is written below.
    let mut out = unsafe { device.alloc::<bf16>(b * t * h * d)? };
    {
        let ((q, q_at), (k, k_at), (v, v_at)) =
            (q.storage_and_layout(), k.storage_and_layout(), v.storage_and_layout());
        let (q, k, v) = (cuda::view::<bf16>(&q, q_at)?, cuda::view::<bf16>(&k, k_at)?, cuda::view::<bf16>(&v, v_at)?);
        let function = kernel.kind.module().kernel(device, kernel.name)?;
        function.allow_shared(kernel.shared_bytes)?;
        let mut launch = function.builder();
        launch.arg(&q).arg(&k).arg(&v).arg(&mut out).arg(&q_strides).arg(&k_strides).arg(&v_strides);
        launch.arg(&sizes).arg(&scale);
        let config = LaunchConfig {
            grid_dim: (t.div_ceil(kernel.queries) as u32, (b * h) as u32, 1),
            block_dim: (kernel.threads, 1, 1),
            shared_mem_bytes: kernel.shared_bytes,
        };
        unsafe { launch.launch(config) }.w()?;
    }
    cuda::tensor(out, device, (b, t, h, d).into()).transpose(1, 2)
}

/// The same tensor with rows that the kernel can copy in pieces of 16 bytes; itself if it is so.
fn aligned(x: &Tensor) -> Result<Tensor> {
    let pieces = |elements: usize| elements.is_multiple_of(8);
    let layout = x.layout();
    let (rows, last) = layout.stride().split_at(3);
    if last == [1] && pieces(layout.start_offset()) && rows.iter().all(|stride| pieces(*stride)) {
        return Ok(x.clone());
    }
    x.force_contiguous()
}

fn strides(x: &Tensor) -> Strides {
    let stride = x.stride();
    Strides { batch: stride[0] as i64, head: stride[1] as i64, token: stride[2] as i64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setting_is_understood_or_refused() -> Result<()> {
        assert!(parse(None)? == Wanted::Any && parse(Some("mma"))? == Wanted::Mma);
        let error = parse(Some("fast")).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("LTX2_ATTENTION is fast"), "{error}");
        Ok(())
    }
}
