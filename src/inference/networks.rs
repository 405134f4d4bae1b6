//! What changes the model between one job and the next: LoRAs and embeddings, decoded once and kept for the jobs to come.

use std::sync::Arc;

use super::message::Job;
use crate::checkpoint::{ActiveAdapter, Adapter, AdapterError, LiveWeights, embedding_hash, read_embedding};
use crate::diffusion::DiffusionError;
use crate::diffusion::pipeline::{LearnedVectors, StableDiffusion};
use crate::request::{AdapterUse, EmbeddingUse, RecordedAdapter, RecordedEmbedding};

/// Decoded adapters that no job uses are kept up to this together.
const MOST_KEPT_BYTES: usize = 1 << 30;

/// What is applied to one loaded model.
pub(super) struct Networks {
    live: LiveWeights,
    /// The latest last.
    decoded: Vec<Arc<Adapter>>,
    learned: Vec<LearnedVectors>,
}

impl Networks {
    /// Nothing is applied to a model that was just loaded.
    pub fn new(live: LiveWeights) -> Self {
        Self { live, decoded: Vec::new(), learned: Vec::new() }
    }

    /// Brings the model to what a job asks for, and nothing else; says what is not done as asked. What is so already is
    /// left alone.
    ///
    /// # Errors
    /// When a file does not fit or cannot be read, or `stop_wanted` says so. The model is then as before or, after a stop
    /// or a fault of the disk, on the way: the next job brings it where it belongs.
    pub fn bring_to(
        &mut self,
        model: &mut StableDiffusion,
        job: &Job,
        stop_wanted: &(dyn Fn() -> bool + Sync),
    ) -> Result<BroughtTo, DiffusionError> {
        let mut brought = BroughtTo::default();
        let mut active = Vec::new();
        for wanted in job.adapters.iter().filter(|wanted| wanted.unet_weight != 0.0 || wanted.text_weight != 0.0) {
            if stop_wanted() {
                return Err(DiffusionError::Cancelled);
            }
            let (adapter, is_new) = self.adapter(wanted).map_err(failed)?;
            brought.warnings.extend(adapter.what_does_not_fit().filter(|_| is_new));
            let (unet_weight, text_weight) = (wanted.unet_weight as f32, wanted.text_weight as f32);
            if !unet_weight.is_finite() || !text_weight.is_finite() {
                return Err(DiffusionError::Request(format!("the weight of \"{}\" is no number", wanted.name)));
            }
            brought.adapters.push(RecordedAdapter {
                name: wanted.name.clone(),
                hash: adapter.hash().to_owned(),
                unet_weight: wanted.unet_weight,
                text_weight: wanted.text_weight,
            });
            active.push(ActiveAdapter { adapter, unet_weight, text_weight });
        }
        self.learn(model, &job.embeddings).map_err(|error| match error {
            Fault::File(error) => failed(error),
            Fault::Model(error) => error,
        })?;
        for EmbeddingUse { word, path } in &job.embeddings {
            let hash = embedding_hash(path).map_err(|error| failed(error.into()))?;
            brought.embeddings.push(RecordedEmbedding { word: word.clone(), hash });
        }
        let written = self.live.apply(&active, stop_wanted).map_err(failed)?;
        if written > 0 {
            tracing::debug!(written, adapters = active.len(), "weights changed");
            if model.unet.is_quantised() {
                model.unet.quantise()?;
            }
        }
        self.forget(&active);
        Ok(brought)
    }

    /// The decoded file, and whether it was decoded just now.
    fn adapter(&mut self, wanted: &AdapterUse) -> Result<(Arc<Adapter>, bool), AdapterError> {
        let known = self.decoded.iter().position(|known| known.path() == wanted.path);
        let known = known.map(|at| self.decoded.remove(at)).filter(|known| known.is_current());
        let (adapter, is_new) = match known {
            Some(known) => (known, false),
            None => (Arc::new(Adapter::read(&wanted.path, &self.live)?), true),
        };
        self.decoded.push(Arc::clone(&adapter));
        Ok((adapter, is_new))
    }

    /// Lets decoded files go that this job does not use, the oldest first.
    fn forget(&mut self, active: &[ActiveAdapter]) {
        let mut kept: usize = self.decoded.iter().map(|adapter| adapter.bytes()).sum();
        self.decoded.retain(|adapter| {
            let is_used = active.iter().any(|active| Arc::ptr_eq(&active.adapter, adapter));
            let stays = is_used || kept <= MOST_KEPT_BYTES;
            kept -= if stays { 0 } else { adapter.bytes() };
            stays
        });
    }

    fn learn(&mut self, model: &mut StableDiffusion, wanted: &[EmbeddingUse]) -> Result<(), Fault> {
        let towers = model.text_encoders.towers().iter();
        let widths: Vec<usize> = towers.map(|tower| tower.encoder.config().hidden_size).collect();
        let read = |wanted: &EmbeddingUse| {
            let by_encoder = read_embedding(&wanted.path, &widths)?;
            Ok(LearnedVectors { word: wanted.word.clone(), by_encoder })
        };
        // Small files, read anew for every job: one may have been replaced.
        let learned = wanted.iter().map(read).collect::<Result<Vec<_>, AdapterError>>().map_err(Fault::File)?;
        if learned != self.learned {
            model.learn(&learned).map_err(Fault::Model)?;
            self.learned = learned;
        }
        Ok(())
    }
}

/// What a model was brought to for a job.
#[derive(Debug, Default)]
pub(super) struct BroughtTo {
    /// What is not done as asked, a sentence each.
    pub warnings: Vec<String>,
    /// For the recipe.
    pub adapters: Vec<RecordedAdapter>,
    /// For the recipe.
    pub embeddings: Vec<RecordedEmbedding>,
}

enum Fault {
    File(AdapterError),
    Model(DiffusionError),
}

fn failed(error: AdapterError) -> DiffusionError {
    match error {
        AdapterError::Cancelled => DiffusionError::Cancelled,
        error => DiffusionError::Request(error.to_string()),
    }
}
