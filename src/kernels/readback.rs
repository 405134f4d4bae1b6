//! Values on their way from where they were computed to the processor.

use std::collections::VecDeque;

use candle_core::{Device, Result, Tensor};

#[cfg(feature = "cuda")]
use super::cuda::readback::{Coming, Lane};

/// Brings values to the processor in the order in which they were asked for. An NVIDIA card copies them beside what it computes
/// next, which therefore is to be begun before they are waited for.
#[derive(Debug, Default)]
pub struct Readback {
    under_way: VecDeque<Reading>,
    #[cfg(feature = "cuda")]
    lane: Lane,
}

#[derive(Debug)]
enum Reading {
    Here(Vec<f32>),
    #[cfg(feature = "cuda")]
    Coming(Coming),
}

impl Readback {
    /// How many tensors may be under way while another one is computed, so that the device never has to wait: none where they
    /// are here at once.
    #[must_use]
    pub fn usual_lead(device: &Device) -> usize {
        usize::from(device.is_cuda())
    }

    /// Begins to copy a tensor of f32.
    ///
    /// # Errors
    /// When the device fails.
    pub fn begin(&mut self, x: &Tensor) -> Result<()> {
        #[cfg(feature = "cuda")]
        if let Device::Cuda(card) = x.device() {
            self.under_way.push_back(Reading::Coming(self.lane.begin(x, card)?));
            return Ok(());
        }
        self.under_way.push_back(Reading::Here(x.flatten_all()?.to_vec1()?));
        Ok(())
    }

    /// Waits for the oldest and gives its values in order; none when nothing is under way.
    ///
    /// # Errors
    /// When the device fails.
    pub fn finish(&mut self) -> Result<Option<Vec<f32>>> {
        match self.under_way.pop_front() {
            None => Ok(None),
            Some(Reading::Here(values)) => Ok(Some(values)),
            #[cfg(feature = "cuda")]
            Some(Reading::Coming(coming)) => self.lane.finish(coming).map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::samples::wave;

    #[test]
    fn values_come_in_the_order_in_which_they_were_asked_for() {
        let (first, second) = (wave(&[2, 3], 0.3), wave(&[3, 2], 0.7).t().unwrap());
        let mut readback = Readback::default();
        assert!(readback.finish().unwrap().is_none());
        readback.begin(&first).unwrap();
        readback.begin(&second).unwrap();
        for expected in [first, second] {
            let expected = expected.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert_eq!(readback.finish().unwrap(), Some(expected));
        }
        assert!(readback.finish().unwrap().is_none());
        assert_eq!(Readback::usual_lead(&Device::Cpu), 0);
    }
}
