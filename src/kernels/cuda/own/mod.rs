//! Our own kernels on NVIDIA cards, compiled where they run. Candle's operations are their reference, and take their place
//! where `CALOTYPE_KERNELS=candle`.

mod attention;
mod convolution;
mod finish;
mod geglu;
mod norm;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::cuda_backend::CudaDType;
use candle_core::cuda_backend::cudarc::driver::{CudaFunction, CudaView, DeviceRepr, LaunchConfig};
use candle_core::cuda_backend::cudarc::nvrtc::{CompileOptions, compile_ptx_with_opts};
use candle_core::{CudaDevice, CudaStorage, DType, Layout, Result, Tensor, bail};
use half::{bf16, f16};

pub(in crate::kernels) use self::attention::attention;
pub(in crate::kernels) use self::convolution::{convolve, convolves};
pub(in crate::kernels) use self::finish::finish;
pub(in crate::kernels) use self::geglu::geglu;
pub(in crate::kernels) use self::norm::{group_norm, layer_norm};
use crate::kernels::card::{KeptKernels, wants_candle};

const SOURCE: &str = concat!(
    include_str!("../source/values.cu"),
    include_str!("../source/geglu.cu"),
    include_str!("../source/norm.cu"),
    include_str!("../source/finish.cu"),
    include_str!("../source/attention.cu"),
    include_str!("../source/convolution.cu"),
);
const MODULE: &str = "calotype";
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

/// Three tensors of a kernel.
type Three<'a> = [(&'a CudaStorage, &'a Layout); 3];

/// An operation of three tensors that runs on cards alone, whatever the type of its values.
macro_rules! on_cards {
    ($op:ty, $name:literal) => {
        impl candle_core::CustomOp3 for $op {
            fn name(&self) -> &'static str {
                $name
            }

            fn cpu_fwd(
                &self,
                _: &candle_core::CpuStorage,
                _: &candle_core::Layout,
                _: &candle_core::CpuStorage,
                _: &candle_core::Layout,
                _: &candle_core::CpuStorage,
                _: &candle_core::Layout,
            ) -> candle_core::Result<(candle_core::CpuStorage, candle_core::Shape)> {
                candle_core::bail!("this kernel is a card's")
            }

            fn cuda_fwd(
                &self,
                a: &candle_core::CudaStorage,
                a_layout: &candle_core::Layout,
                b: &candle_core::CudaStorage,
                b_layout: &candle_core::Layout,
                c: &candle_core::CudaStorage,
                c_layout: &candle_core::Layout,
            ) -> candle_core::Result<(candle_core::CudaStorage, candle_core::Shape)> {
                let three = [(a, a_layout), (b, b_layout), (c, c_layout)];
                match candle_core::backend::BackendStorage::dtype(a) {
                    candle_core::DType::F32 => self.run::<f32>(three),
                    candle_core::DType::F16 => self.run::<half::f16>(three),
                    candle_core::DType::BF16 => self.run::<half::bf16>(three),
                    other => candle_core::bail!("this kernel does not know {other:?}"),
                }
            }
        }
    };
}

use on_cards;
