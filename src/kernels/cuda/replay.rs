//! Recordings of what a card does: CUDA graphs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::{CudaGraph, CudaStream, sys};
use candle_core::{CudaDevice, Result, Tensor, TensorId};

use super::memory::trim_graphs;
use crate::kernels::card::wants_candle;
use crate::kernels::recording::{Computations, Recorder};

/// Whether a recording was found to give what the same gives unrecorded; once for a run of the program.
static IS_PROVEN: AtomicBool = AtomicBool::new(false);

/// False where candle's operations are wanted, one by one.
pub(in crate::kernels) fn records() -> bool {
    !wants_candle()
}

/// The recordings of a picture, and what they hold of the card's memory.
#[derive(Default)]
pub(in crate::kernels) struct Kept {
    computations: Computations<CudaGraph>,
    memory: GraphMemory,
}

impl Kept {
    /// As [`Computations::run`].
    pub fn run<E: From<candle_core::Error>>(
        &mut self,
        card: &CudaDevice,
        id: TensorId,
        inputs: &[Tensor],
        compute: impl Fn(&[Tensor]) -> std::result::Result<Tensor, E>,
    ) -> std::result::Result<Tensor, E> {
        self.memory.0.get_or_insert_with(|| card.cuda_stream());
        self.computations.run(&Tape { card }, id, inputs, compute)
    }
}

/// What graphs took for what they compute stays with them; given back after the last of them.
#[derive(Default)]
struct GraphMemory(Option<Arc<CudaStream>>);

impl Drop for GraphMemory {
    fn drop(&mut self) {
        let Some(stream) = &self.0 else { return };
        if let Err(error) = stream.synchronize().and_then(|()| trim_graphs(stream.context())) {
            tracing::debug!(%error, "the memory of graphs was not given back");
        }
    }
}

struct Tape<'a> {
    card: &'a CudaDevice,
}

/// A stream that is recorded; it is so no longer at the end, however that comes.
struct Recording<'a>(&'a Arc<CudaStream>);

impl Recording<'_> {
    fn finish(self) -> Option<CudaGraph> {
        let graph = self.end();
        std::mem::forget(self);
        graph
    }

    fn end(&self) -> Option<CudaGraph> {
        let flags = sys::CUgraphInstantiate_flags::CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH;
        let graph = self.0.end_capture(flags);
        // What failed while it was recorded has not failed.
        let left = self.0.context().check_err();
        left.and(graph).unwrap_or_else(|error| {
            tracing::warn!(%error, "what the card computes cannot be recorded");
            None
        })
    }
}

impl Drop for Recording<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

impl Recorder for Tape<'_> {
    type Recording = CudaGraph;

    fn rehearse<R>(&self, run: impl FnOnce() -> R) -> R {
        // Small values that operations bring to the card are kept there, as nothing can be brought while it records.
        let _kept = self.card.enable_cuda_graph_htod_cache();
        run()
    }

    fn record(&self, run: impl FnOnce() -> Result<()>) -> Option<CudaGraph> {
        let _kept = self.card.enable_cuda_graph_htod_cache();
        let stream = self.card.cuda_stream();
        stream.begin_capture(sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED).ok()?;
        let recording = Recording(&stream);
        let is_whole = run().is_ok();
        recording.finish().filter(|_| is_whole)
    }

    fn launch(&self, graph: &CudaGraph) -> Result<()> {
        graph.launch().w()
    }

    fn is_proven(&self) -> bool {
        IS_PROVEN.load(Ordering::Acquire)
    }

    fn prove(&self) {
        IS_PROVEN.store(true, Ordering::Release);
    }
}
