//! DeepCache (Ma et al. 2023, arXiv:2312.00858): what the U-Net's deep blocks gave at the last whole evaluation stands for
//! what they would give at the next ones.

use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};

use super::DiffusionError;
use super::conditioning::Moment;
use super::unet::{Evaluation, UNet};
use crate::kernels::activations;
use crate::request::BlockCaching;

/// What is kept between the evaluations of a picture.
pub struct DeepCache {
    caching: BlockCaching,
    /// Whether the rows are those of guided steps.
    is_guided: bool,
    /// Of each pass, `[rows, C, H, W]`.
    features: Vec<Tensor>,
}

/// The same as plain data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeepFeatures {
    /// Whether the rows are those of guided steps.
    pub is_guided: bool,
    /// One for each pass of an evaluation.
    pub passes: Vec<DeepFeature>,
}

/// What enters the outermost blocks on the way up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeepFeature {
    /// `[rows, C, H, W]`.
    pub shape: [usize; 4],
    /// As many values.
    pub values: Vec<f32>,
}

impl DeepCache {
    /// With nothing kept yet.
    ///
    /// # Errors
    /// When the U-Net has no such branch.
    pub fn new(caching: BlockCaching, unet: &UNet) -> Result<Self, DiffusionError> {
        let branches = unet.branches();
        if caching.branch() as usize >= branches {
            let problem = format!("this model has the branches 0 to {}, not {}", branches - 1, caching.branch());
            return Err(DiffusionError::Request(problem));
        }
        Ok(Self { caching, is_guided: true, features: Vec::new() })
    }

    /// Takes up what [`DeepCache::state`] gave; `dtype` is what the weights are in.
    ///
    /// # Errors
    /// When the shapes do not fit their values, or the device fails.
    pub fn restore(&mut self, state: &DeepFeatures, dtype: DType, device: &Device) -> Result<(), DiffusionError> {
        let tensor = |feature: &DeepFeature| {
            if feature.shape.iter().product::<usize>() != feature.values.len() {
                return Err(DiffusionError::State("its deep features have another size than they say".to_owned()));
            }
            let values = Tensor::from_slice(&feature.values, feature.shape.to_vec(), device)?;
            Ok(values.to_dtype(activations(dtype, device))?)
        };
        self.features = state.passes.iter().map(tensor).collect::<Result<_, _>>()?;
        self.is_guided = state.is_guided;
        Ok(())
    }

    /// As plain data; nothing where the next call of the model is a whole one anyway.
    ///
    /// # Errors
    /// When the device fails.
    pub fn state(&self, next_call: usize) -> Result<Option<DeepFeatures>, DiffusionError> {
        if self.is_whole(next_call) || self.features.is_empty() {
            return Ok(None);
        }
        let plain = |feature: &Tensor| {
            let (rows, channels, height, width) = feature.dims4()?;
            // Widening loses nothing.
            let values = feature.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
            Ok::<_, DiffusionError>(DeepFeature { shape: [rows, channels, height, width], values })
        };
        let passes = self.features.iter().map(plain).collect::<Result<_, _>>()?;
        Ok(Some(DeepFeatures { is_guided: self.is_guided, passes }))
    }

    fn is_whole(&self, call: usize) -> bool {
        call.is_multiple_of(self.caching.interval() as usize)
    }

    /// Forgets what is kept where the evaluation at `moment` is to be a whole one: every so many calls, and where other
    /// rows are evaluated than before.
    pub fn begin(&mut self, moment: Moment) {
        if self.is_whole(moment.call) || moment.is_guided != self.is_guided {
            self.features.clear();
            self.is_guided = moment.is_guided;
        }
    }

    /// The prediction for the rows of the pass `index`, whole or of the outermost blocks alone.
    ///
    /// # Errors
    /// As [`UNet::evaluate`].
    pub fn predict(
        &mut self,
        unet: &UNet,
        index: usize,
        x: &Tensor,
        evaluation: &Evaluation,
    ) -> Result<Tensor, DiffusionError> {
        let branch = self.caching.branch() as usize;
        if let Some(deep) = self.features.get(index) {
            return unet.evaluate_outermost(x, evaluation, branch, deep);
        }
        let (prediction, deep) = unet.evaluate_keeping(x, evaluation, branch)?;
        self.features.push(deep);
        Ok(prediction)
    }
}
