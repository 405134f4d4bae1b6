//! The weights of a loaded model that adapters change in place: each with the place in the open file from which it can be
//! read again as it was.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{CpuStorage, DType, Device, InplaceOp1, Layout, Shape, Tensor, Var, bail};
use candle_nn::VarBuilder;
use candle_nn::var_builder::SimpleBackend;
use rayon::prelude::*;

use super::CheckpointError;
use super::adapter::{Adapter, AdapterError};
use super::weights::Weights;

/// A part of a model that adapters change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AdaptedPart {
    /// The U-Net.
    UNet,
    /// A text encoder, counted from 0.
    Text(usize),
}

/// An adapter and how strongly it acts.
#[derive(Debug, Clone)]
pub struct ActiveAdapter {
    /// The decoded file.
    pub adapter: Arc<Adapter>,
    /// On the U-Net; 0 leaves it alone, negative steers away.
    pub unet_weight: f32,
    /// On the text encoders.
    pub text_weight: f32,
}

/// The weights of one loaded model that can be changed.
#[derive(Default)]
pub struct LiveWeights {
    parts: Vec<LivePart>,
}

struct LivePart {
    part: AdaptedPart,
    weights: Arc<Weights>,
    loaded: Loaded,
}

/// The tensors that the layers have asked for; behind a lock because they ask through a shared reference.
type Loaded = Arc<Mutex<Vec<LiveTensor>>>;

/// One weight of the model, sharing its storage with the layer that computes with it.
struct LiveTensor {
    /// As the layer asked for it.
    name: String,
    values: Var,
    /// What its values are made of, beside the file's; none when writing them failed on the way.
    applied: Option<Vec<Applied>>,
}

/// A change that is in a tensor.
#[derive(Clone)]
struct Applied {
    adapter: Arc<Adapter>,
    weight: f32,
}

impl PartialEq for Applied {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.adapter, &other.adapter) && self.weight == other.weight
    }
}

impl LiveWeights {
    /// A builder for the layers of `part`, whose weights are kept track of.
    pub(super) fn builder(
        &mut self,
        part: AdaptedPart,
        weights: Weights,
        dtype: DType,
        device: &Device,
    ) -> VarBuilder<'static> {
        let (weights, loaded) = (Arc::new(weights), Loaded::default());
        let recorder = Recorder { weights: Arc::clone(&weights), loaded: Arc::clone(&loaded) };
        self.parts.push(LivePart { part, weights, loaded });
        VarBuilder::from_backend(Box::new(recorder), dtype, device.clone())
    }

    /// Every weight that can be changed: part, name as the layer asked for it, shape.
    pub(super) fn names(&self) -> Vec<(AdaptedPart, String, Vec<usize>)> {
        let mut names = Vec::new();
        for part in &self.parts {
            let loaded = part.loaded.lock().unwrap_or_else(PoisonError::into_inner);
            names.extend(loaded.iter().map(|live| (part.part, live.name.clone(), live.values.dims().to_vec())));
        }
        names
    }

    /// Every weight's values as they are now, in f32, for comparing two states of a model.
    ///
    /// # Errors
    /// When the device fails.
    pub fn values(&self) -> candle_core::Result<Vec<Vec<f32>>> {
        let mut all = Vec::new();
        for part in &self.parts {
            for live in part.loaded.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                all.push(live.values.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?);
            }
        }
        Ok(all)
    }

    /// Brings every weight to the file's values with exactly these adapters in it, in their order; says how many weights
    /// had to be written. What needs no change is not touched. After an error or a stop each weight is still known for
    /// what it is, and the next call goes on from there.
    ///
    /// # Errors
    /// When the model's file was written to or cannot be read, or `wanted` says stop.
    pub fn apply(
        &mut self,
        adapters: &[ActiveAdapter],
        stop_wanted: &(dyn Fn() -> bool + Sync),
    ) -> Result<usize, AdapterError> {
        // Looked at once and before anything is written: all that is read below fits what the layers hold.
        if self.parts.iter().any(|part| part.differs_from(adapters))
            && let Some(path) = self.parts.iter().find_map(|part| part.weights.changed_file())
        {
            return Err(AdapterError::ModelChanged { path: path.clone() });
        }
        let mut written = 0;
        for part in &self.parts {
            let mut loaded = part.loaded.lock().unwrap_or_else(PoisonError::into_inner);
            let changing: Vec<(&mut LiveTensor, Vec<Applied>)> = loaded
                .iter_mut()
                .map(|live| {
                    let wanted = wanted(part.part, &live.name, adapters);
                    (live, wanted)
                })
                .filter(|(live, wanted)| live.applied.as_ref() != Some(wanted))
                .collect();
            written += changing.len();
            changing.into_par_iter().try_for_each(|(live, wanted)| {
                if stop_wanted() {
                    return Err(AdapterError::Cancelled);
                }
                live.write(part.part, &part.weights, wanted)
            })?;
        }
        Ok(written)
    }
}

impl LivePart {
    fn differs_from(&self, adapters: &[ActiveAdapter]) -> bool {
        let loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.iter().any(|live| live.applied.as_ref() != Some(&wanted(self.part, &live.name, adapters)))
    }
}

/// What is to be in one weight.
fn wanted(part: AdaptedPart, name: &str, adapters: &[ActiveAdapter]) -> Vec<Applied> {
    let weight = |active: &ActiveAdapter| match part {
        AdaptedPart::UNet => active.unet_weight,
        AdaptedPart::Text(_) => active.text_weight,
    };
    let changes = |active: &&ActiveAdapter| weight(active) != 0.0 && active.adapter.changes(part, name);
    let applied = |active: &ActiveAdapter| Applied { adapter: Arc::clone(&active.adapter), weight: weight(active) };
    adapters.iter().filter(changes).map(applied).collect()
}

impl LiveTensor {
    fn write(&mut self, part: AdaptedPart, weights: &Weights, wanted: Vec<Applied>) -> Result<(), AdapterError> {
        // Unknown until all of it is written.
        self.applied = None;
        let shape = self.values.shape().clone();
        let rewrite = |values: &mut [f32]| -> Result<(), CheckpointError> {
            weights.read_again(&self.name, values)?;
            for Applied { adapter, weight } in &wanted {
                adapter.add_to(values, shape.dims(), part, &self.name, *weight);
            }
            Ok(())
        };
        if self.values.device().is_cpu() && self.values.dtype() == DType::F32 {
            self.values.inplace_op1(&Rewrite(rewrite))?;
        } else {
            let mut values = vec![0.0; shape.elem_count()];
            rewrite(&mut values)?;
            let values = Tensor::from_vec(values, shape.clone(), self.values.device())?;
            self.values.set(&values.to_dtype(self.values.dtype())?)?;
        }
        self.applied = Some(wanted);
        Ok(())
    }
}

/// Writes a tensor's values where they are, without a copy of them.
struct Rewrite<F>(F);

impl<F: Fn(&mut [f32]) -> Result<(), CheckpointError>> InplaceOp1 for Rewrite<F> {
    fn name(&self) -> &'static str {
        "rewrite"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        match (storage, layout.contiguous_offsets()) {
            (CpuStorage::F32(values), Some((start, end))) => {
                (self.0)(&mut values[start..end]).map_err(candle_core::Error::wrap)
            }
            _ => bail!("weights are kept as f32 in order, not {layout:?}"),
        }
    }
}

/// Hands weights to the layers and keeps a handle on each.
struct Recorder {
    weights: Arc<Weights>,
    loaded: Loaded,
}

impl Recorder {
    fn keep(
        &self,
        found: Result<(Vec<f32>, Vec<usize>), CheckpointError>,
        name: &str,
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        let (values, shape) = found.map_err(candle_core::Error::wrap)?;
        let values = if dtype == DType::F32 {
            Var::from_vec(values, shape, device)?
        } else {
            Var::from_tensor(&Tensor::from_vec(values, shape, device)?.to_dtype(dtype)?)?
        };
        // Shares the storage without being a variable: no layer records a graph for it.
        let tensor = values.as_detached_tensor();
        let live = LiveTensor { name: name.to_owned(), values, applied: Some(Vec::new()) };
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner).push(live);
        Ok(tensor)
    }
}

impl SimpleBackend for Recorder {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        _: candle_nn::Init,
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        self.keep(self.weights.load(Some(&shape), name), name, dtype, device)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> candle_core::Result<Tensor> {
        self.keep(self.weights.load(None, name), name, dtype, device)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.weights.contains_tensor(name)
    }
}
