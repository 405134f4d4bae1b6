//! Our own kernels on NVIDIA cards, compiled where they run: convolution without its patches in memory, normalisation with
//! activation, attention without its scores in memory, the gated GELU. Candle's operations are their reference, and take their place where `CALOTYPE_KERNELS=candle`.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::{CudaFunction, CudaView, DeviceRepr, LaunchConfig, PushKernelArg};
use candle_core::cuda_backend::cudarc::nvrtc::{CompileOptions, compile_ptx_with_opts};
use candle_core::cuda_backend::{CudaDType, WrapErr};
use candle_core::{
    CpuStorage, CudaDevice, CudaStorage, CustomOp1, CustomOp3, DType, Device, Layout, Result, Shape, Tensor, bail,
};
use half::{bf16, f16};

use crate::kernels::attention::Sight;
use crate::kernels::card::{KeptKernels, wants_candle};

const SOURCE: &str = include_str!("kernels.cu");
const MODULE: &str = "calotype";
/// Values of a group that one block of threads normalises, and the most blocks of a group.
const NORM_VALUES: usize = 1 << 14;
const NORM_PARTS: usize = 64;
/// Results and channels of a block of the convolution, and channels that are multiplied at a time, as the source has them.
const CONV_PIXELS: u32 = 128;
const CONV_ROWS: u32 = 64;
const CONV_DEPTH: usize = 16;
/// Threads of a block, as the source has it for normalisation.
const THREADS: u32 = 256;

/// Whether the card at hand has them; the engine opens one card at a time.
static ARE_LOADED: AtomicBool = AtomicBool::new(false);

/// Compiles the kernels for a card of this compute capability, or takes them from where they are kept, and loads them.
pub(super) fn load(card: &CudaDevice, capability: (i32, i32), kept: &KeptKernels) {
    ARE_LOADED.store(false, Ordering::Release);
    if wants_candle() {
        return;
    }
    let architecture = format!("compute_{}{}", capability.0, capability.1);
    let mut hasher = DefaultHasher::new();
    SOURCE.hash(&mut hasher);
    let name = format!("{architecture}-{:016x}.ptx", hasher.finish());
    let loads = |ptx: &str| card.get_or_load_custom_func("geglu_f32", MODULE, ptx).is_ok();
    let mut is_loaded = (kept.read)(&name).is_some_and(|ptx| loads(&ptx));
    if !is_loaded {
        let options = vec![format!("--gpu-architecture={architecture}")];
        match compile_ptx_with_opts(SOURCE, CompileOptions { options, ..CompileOptions::default() }) {
            Ok(ptx) => {
                let ptx = ptx.to_src();
                is_loaded = loads(&ptx);
                if is_loaded {
                    (kept.keep)(&name, &ptx);
                }
            }
            Err(error) => tracing::warn!(%error, "our own kernels could not be compiled for this card"),
        }
    }
    if !is_loaded {
        tracing::warn!("this card computes with candle's kernels: slower, and in more memory");
    }
    ARE_LOADED.store(is_loaded, Ordering::Release);
}

/// True for tensors on a card that has our kernels, of a type that they know.
fn takes(x: &Tensor) -> bool {
    let is_known = matches!(x.dtype(), DType::F32 | DType::F16 | DType::BF16);
    is_known && x.device().is_cuda() && x.elem_count() > 0 && ARE_LOADED.load(Ordering::Acquire)
}

/// As [`crate::kernels::GroupNorm`], if it is done here.
pub(in crate::kernels) fn group_norm(
    x: &Tensor,
    (weight, bias): (&Tensor, &Tensor),
    (groups, eps): (usize, f64),
    is_activated: bool,
) -> Result<Option<Tensor>> {
    if !takes(x) {
        return Ok(None);
    }
    let like = |t: &Tensor| t.to_dtype(x.dtype())?.contiguous();
    let norm = Norm { groups, eps: eps as f32, is_activated };
    x.contiguous()?.apply_op3_no_bwd(&like(weight)?, &like(bias)?, &norm).map(Some)
}

/// As [`crate::kernels::attention`], if it is done here.
pub(in crate::kernels) fn attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    heads: usize,
    sight: Sight,
) -> Result<Option<Tensor>> {
    let width = q.dim(1)? / heads.max(1);
    let same = k.dtype() == q.dtype() && v.dtype() == q.dtype() && k.dims() == v.dims();
    let fits = k.dim(0)? == q.dim(0)? && k.dim(1)? == q.dim(1)? && q.dim(1)? == heads * width;
    if !(takes(q) && same && fits && blocks(width).is_some() && k.elem_count() > 0) {
        return Ok(None);
    }
    let op = Attention { heads, width, is_backwards: sight == Sight::Backwards };
    q.contiguous()?.apply_op3_no_bwd(&k.contiguous()?, &v.contiguous()?, &op).map(Some)
}

/// True for values and weights that [`convolve`] knows: it multiplies 16 bits, on tensor cores.
pub(in crate::kernels) fn convolves(device: &Device, dtype: DType) -> bool {
    matches!(dtype, DType::F16 | DType::BF16) && device.is_cuda() && ARE_LOADED.load(Ordering::Acquire)
}

/// As [`crate::kernels::Conv2d`], if it is done here.
pub(in crate::kernels) fn convolve(
    x: &Tensor,
    (weight, bias): (&Tensor, &Tensor),
    (stride, padding): (usize, usize),
) -> Result<Option<Tensor>> {
    let ((_, channels, height, width), (_, channels_in, rows, columns)) = (x.dims4()?, weight.dims4()?);
    let is_known = convolves(x.device(), x.dtype()) && weight.dtype() == x.dtype() && x.elem_count() > 0;
    let is_square3 = (rows, columns) == (3, 3) && height + 2 * padding >= 3 && width + 2 * padding >= 3;
    if !(is_known && is_square3 && channels == channels_in && channels.is_multiple_of(CONV_DEPTH)) {
        return Ok(None);
    }
    let bias = bias.to_dtype(DType::F32)?.contiguous()?;
    x.contiguous()?.apply_op3_no_bwd(&weight.contiguous()?, &bias, &Convolution { stride, padding }).map(Some)
}

/// As [`crate::kernels::geglu`] along `axis`, if it is done here.
pub(in crate::kernels) fn geglu(x: &Tensor, axis: usize) -> Result<Option<Tensor>> {
    if !takes(x) || !x.dim(axis)?.is_multiple_of(2) {
        return Ok(None);
    }
    x.contiguous()?.apply_op1_no_bwd(&Geglu { axis }).map(Some)
}

/// Queries and keys of a block for a head width, as the source has them.
fn blocks(width: usize) -> Option<(u32, u32)> {
    match width {
        40 | 64 => Some((64, 32)),
        80 => Some((64, 16)),
        160 => Some((32, 16)),
        _ => None,
    }
}

/// A type of values that the kernels know.
trait OnCard: CudaDType + DeviceRepr {
    const NAME: &'static str;
}
impl OnCard for f32 {
    const NAME: &'static str = "f32";
}
impl OnCard for f16 {
    const NAME: &'static str = "f16";
}
impl OnCard for bf16 {
    const NAME: &'static str = "bf16";
}

/// A kernel that [`load`] has loaded.
fn kernel<T: OnCard>(card: &CudaDevice, name: &str) -> Result<CudaFunction> {
    Ok(card.get_or_load_custom_func(&format!("{name}_{}", T::NAME), MODULE, "")?.into_cuda_function())
}

/// The values of a tensor that lie in order.
fn values<'a, T: OnCard>(storage: &'a CudaStorage, layout: &Layout) -> Result<CudaView<'a, T>> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("this kernel needs its values in order, not {layout:?}")
    };
    Ok(storage.as_cuda_slice::<T>()?.slice(start..end))
}

fn grid(blocks: (u32, u32), threads: u32) -> LaunchConfig {
    LaunchConfig { grid_dim: (blocks.0, blocks.1, 1), block_dim: (threads, 1, 1), shared_mem_bytes: 0 }
}

struct Geglu {
    axis: usize,
}

impl Geglu {
    fn run<T: OnCard>(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let card = x.device().clone();
        let stream = card.cuda_stream();
        let mut dims = layout.dims().to_vec();
        dims[self.axis] /= 2;
        let (count, half) = (dims.iter().product::<usize>(), dims[self.axis..].iter().product::<usize>());
        let (of_kernel_count, of_kernel_half) = (count as u64, half as u64);
        let input = values::<T>(x, layout)?;
        #[expect(unsafe_code, reason = "the kernel writes every value")]
        // SAFETY: nothing is read before.
        let out = unsafe { card.alloc::<T>(count)? };
        let kernel = kernel::<T>(&card, "geglu")?;
        let mut call = stream.launch_builder(&kernel);
        call.arg(&input).arg(&out).arg(&of_kernel_count).arg(&of_kernel_half);
        #[expect(unsafe_code, reason = "a kernel is C")]
        // SAFETY: the arguments are those of the source; each thread below `count` writes one value, and reads two of
        // twice as many.
        unsafe { call.launch(grid((u32::try_from(count.div_ceil(THREADS as usize))?, 1), THREADS)) }.w()?;
        Ok((CudaStorage::wrap_cuda_slice(out, card), Shape::from(dims)))
    }
}

impl CustomOp1 for Geglu {
    fn name(&self) -> &'static str {
        "geglu"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("this kernel is a card's")
    }

    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        match x.dtype() {
            DType::F32 => self.run::<f32>(x, layout),
            DType::F16 => self.run::<f16>(x, layout),
            DType::BF16 => self.run::<bf16>(x, layout),
            other => bail!("this kernel does not know {other:?}"),
        }
    }
}

/// Three tensors of a kernel.
type Three<'a> = [(&'a CudaStorage, &'a Layout); 3];

struct Norm {
    groups: usize,
    eps: f32,
    is_activated: bool,
}

impl Norm {
    fn run<T: OnCard>(&self, [(x, layout), weight, bias]: Three) -> Result<(CudaStorage, Shape)> {
        let card = x.device().clone();
        let stream = card.cuda_stream();
        let dims = layout.dims();
        let area: usize = dims[2..].iter().product();
        let (all, length) = (dims[0] * self.groups, dims[1] / self.groups * area);
        if weight.1.dims() != [dims[1]] || bias.1.dims() != [dims[1]] {
            bail!("group-norm has {:?} weights, its input {dims:?}", weight.1.dims());
        }
        let parts = u32::try_from(length.div_ceil(NORM_VALUES).clamp(1, NORM_PARTS))?;
        let config = grid((parts, u32::try_from(all)?), THREADS);
        let (input, weight, bias) =
            (values::<T>(x, layout)?, values::<T>(weight.0, weight.1)?, values::<T>(bias.0, bias.1)?);
        #[expect(unsafe_code, reason = "the kernels write every value")]
        // SAFETY: nothing is read before.
        let (statistics, out) =
            unsafe { (card.alloc::<f32>(2 * parts as usize * all)?, card.alloc::<T>(layout.shape().elem_count())?) };
        let (length, area, groups) = (length as u64, area as u64, u32::try_from(self.groups)?);
        let is_activated = i32::from(self.is_activated);
        let measure = kernel::<T>(&card, "group_statistics")?;
        let mut call = stream.launch_builder(&measure);
        call.arg(&input).arg(&statistics).arg(&length);
        #[expect(unsafe_code, reason = "a kernel is C")]
        // SAFETY: the arguments are those of the source; a block writes two numbers of `parts * all * 2`.
        unsafe { call.launch(config) }.w()?;
        let apply = kernel::<T>(&card, "group_apply")?;
        let mut call = stream.launch_builder(&apply);
        call.arg(&input).arg(&weight).arg(&bias).arg(&statistics).arg(&out);
        call.arg(&length).arg(&area).arg(&groups).arg(&self.eps).arg(&is_activated);
        #[expect(unsafe_code, reason = "a kernel is C")]
        // SAFETY: the arguments are those of the source; the blocks cover `length * all` values, once each, and as many
        // channels as there are weights.
        unsafe { call.launch(config) }.w()?;
        Ok((CudaStorage::wrap_cuda_slice(out, card), layout.shape().clone()))
    }
}

struct Attention {
    heads: usize,
    width: usize,
    is_backwards: bool,
}

impl Attention {
    fn run<T: OnCard>(&self, [(q, layout), k, v]: Three) -> Result<(CudaStorage, Shape)> {
        let Some((block_queries, block_keys)) = blocks(self.width) else {
            bail!("no kernel for heads of {}", self.width)
        };
        let card = q.device().clone();
        let stream = card.cuda_stream();
        let (queries, keys) = (u32::try_from(layout.dims()[2])?, u32::try_from(k.1.dims()[2])?);
        let heads = u32::try_from(layout.dims()[0] * self.heads)?;
        let scale = 1.0 / (self.width as f32).sqrt();
        let is_backwards = i32::from(self.is_backwards);
        let (of_q, of_k, of_v) = (values::<T>(q, layout)?, values::<T>(k.0, k.1)?, values::<T>(v.0, v.1)?);
        #[expect(unsafe_code, reason = "the kernel writes every value")]
        // SAFETY: nothing is read before.
        let out = unsafe { card.alloc::<T>(layout.shape().elem_count())? };
        let kernel = kernel::<T>(&card, &format!("attention_{}", self.width))?;
        let mut call = stream.launch_builder(&kernel);
        call.arg(&of_q).arg(&of_k).arg(&of_v).arg(&out).arg(&queries).arg(&keys).arg(&scale).arg(&is_backwards);
        let config = grid((queries.div_ceil(block_queries), heads), block_queries / 4 * (block_keys / 4));
        #[expect(unsafe_code, reason = "a kernel is C")]
        // SAFETY: the arguments are those of the source; q and the result are `heads * width * queries` values, k and v
        // `heads * width * keys`, as `attention` has checked.
        unsafe { call.launch(config) }.w()?;
        Ok((CudaStorage::wrap_cuda_slice(out, card), layout.shape().clone()))
    }
}

struct Convolution {
    stride: usize,
    padding: usize,
}

impl Convolution {
    fn run<T: OnCard>(&self, [(x, layout), weight, bias]: Three) -> Result<(CudaStorage, Shape)> {
        let card = x.device().clone();
        let stream = card.cuda_stream();
        let ([pictures, channels, height, width], channels_out) = (layout.shape().dims4()?.into(), weight.1.dims()[0]);
        let side = |side: usize| (side + 2 * self.padding - 3) / self.stride + 1;
        let dims = [pictures, channels_out, side(height), side(width)];
        if bias.1.dims() != [channels_out] {
            bail!("convolution: bias {:?}, weight {:?}", bias.1.dims(), weight.1.dims());
        }
        let (of_x, of_weight) = (values::<T>(x, layout)?, values::<T>(weight.0, weight.1)?);
        let of_bias = values::<f32>(bias.0, bias.1)?;
        #[expect(unsafe_code, reason = "the kernel writes every value")]
        // SAFETY: nothing is read before.
        let out = unsafe { card.alloc::<T>(dims.iter().product())? };
        let pixels = u32::try_from(pictures * dims[2] * dims[3])?;
        let config =
            grid((pixels.div_ceil(CONV_PIXELS), u32::try_from(channels_out)?.div_ceil(CONV_ROWS)), CONV_PIXELS);
        let numbers = [pictures, channels, height, width, channels_out, dims[2], dims[3], self.stride, self.padding];
        let numbers = numbers.map(u32::try_from).into_iter().collect::<std::result::Result<Vec<_>, _>>()?;
        let kernel = kernel::<T>(&card, "convolve3x3")?;
        let mut call = stream.launch_builder(&kernel);
        call.arg(&of_x).arg(&of_weight).arg(&of_bias).arg(&out);
        for number in &numbers {
            call.arg(number);
        }
        #[expect(unsafe_code, reason = "a kernel is C")]
        // SAFETY: the arguments are those of the source; the blocks cover the results, once each, and places outside of `x`
        // and of `weight` are not read.
        unsafe { call.launch(config) }.w()?;
        Ok((CudaStorage::wrap_cuda_slice(out, card), Shape::from(dims.to_vec())))
    }
}

/// An operation of three tensors that runs on cards alone, whatever the type of its values.
macro_rules! on_cards {
    ($op:ty, $name:literal) => {
        impl CustomOp3 for $op {
            fn name(&self) -> &'static str {
                $name
            }

            fn cpu_fwd(
                &self,
                _: &CpuStorage,
                _: &Layout,
                _: &CpuStorage,
                _: &Layout,
                _: &CpuStorage,
                _: &Layout,
            ) -> Result<(CpuStorage, Shape)> {
                bail!("this kernel is a card's")
            }

            fn cuda_fwd(
                &self,
                a: &CudaStorage,
                a_layout: &Layout,
                b: &CudaStorage,
                b_layout: &Layout,
                c: &CudaStorage,
                c_layout: &Layout,
            ) -> Result<(CudaStorage, Shape)> {
                let three = [(a, a_layout), (b, b_layout), (c, c_layout)];
                match a.dtype() {
                    DType::F32 => self.run::<f32>(three),
                    DType::F16 => self.run::<f16>(three),
                    DType::BF16 => self.run::<bf16>(three),
                    other => bail!("this kernel does not know {other:?}"),
                }
            }
        }
    };
}

on_cards!(Norm, "group-norm");
on_cards!(Attention, "attention");
on_cards!(Convolution, "convolution");
