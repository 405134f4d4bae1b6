//! Linear maps of the last axis, with or without bias.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, D, DType, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::contiguous;
use super::matmul::{Extent, Into, Place, matmul};

/// Rows of a task: enough that arranging the weights anew for each costs little. As every division of the work it does
/// not depend on the number of threads, so that the same request gives the same bytes on any number of them.
const ROWS_OF_A_TASK: usize = 128;
/// Outputs of a task where rows are few.
const OUTPUTS_OF_A_TASK: usize = 64;
/// With no more rows than this a task takes some of the outputs instead: the weights are the larger part.
const FEW_ROWS: usize = 160;

/// `y = x W^T + b`.
#[derive(Debug, Clone)]
pub struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    /// `weight` is `[out, in]`, `bias` `[out]`.
    ///
    /// # Errors
    /// When the two do not fit.
    pub fn new(weight: Tensor, bias: Option<Tensor>) -> Result<Self> {
        let (out, _) = weight.dims2()?;
        if let Some(bias) = bias.as_ref().filter(|bias| bias.dims() != [out]) {
            bail!("linear: weight {:?}, bias {:?}", weight.dims(), bias.dims());
        }
        Ok(Self { weight, bias })
    }

    /// `x` is `[..., in]`; `[..., out]` comes back.
    ///
    /// # Errors
    /// When `x` has another width or the device fails.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if x.device().is_cpu() && x.dtype() == DType::F32 {
            let x = x.contiguous()?;
            return match &self.bias {
                Some(bias) => x.apply_op3_no_bwd(&self.weight, bias, &LinearOp),
                None => x.apply_op2_no_bwd(&self.weight, &LinearOp),
            };
        }
        let mut dims = x.dims().to_vec();
        let y = x.reshape(((), x.dim(D::Minus1)?))?.matmul(&self.weight.t()?)?;
        if let Some(width) = dims.last_mut() {
            *width = self.weight.dim(0)?;
        }
        let y = y.reshape(dims)?;
        match &self.bias {
            Some(bias) => y.broadcast_add(bias),
            None => Ok(y),
        }
    }
}

struct LinearOp;

impl CustomOp2 for LinearOp {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        map((x, x_layout), (weight, weight_layout), None)
    }
}

impl CustomOp3 for LinearOp {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let bias = contiguous(bias.as_slice::<f32>()?, bias_layout)?;
        map((x, x_layout), (weight, weight_layout), Some(bias))
    }
}

fn map(
    (x, x_layout): (&CpuStorage, &Layout),
    (weight, weight_layout): (&CpuStorage, &Layout),
    bias: Option<&[f32]>,
) -> Result<(CpuStorage, Shape)> {
    let (outputs, inputs) = weight_layout.shape().dims2()?;
    let mut dims = x_layout.dims().to_vec();
    let Some(width) = dims.last_mut().filter(|width| **width == inputs && inputs > 0 && outputs > 0) else {
        bail!("linear: input {:?}, weight {:?}", x_layout.dims(), weight_layout.dims());
    };
    *width = outputs;
    let x = contiguous(x.as_slice::<f32>()?, x_layout)?;
    let weight = contiguous(weight.as_slice::<f32>()?, weight_layout)?;
    let rows = x.len() / inputs;
    let out = if rows <= FEW_ROWS {
        by_outputs(x, weight, bias, (rows, inputs, outputs))
    } else {
        by_rows(x, weight, bias, (rows, inputs, outputs))
    };
    Ok((CpuStorage::F32(out), Shape::from(dims)))
}

/// Many rows: a task a block of them.
fn by_rows(
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    (rows, inputs, outputs): (usize, usize, usize),
) -> Vec<f32> {
    let mut out = vec![0.0_f32; rows * outputs];
    let block = ROWS_OF_A_TASK;
    let weights = (weight, Place::rows(0, inputs).transposed());
    out.par_chunks_mut(block * outputs).zip(x.par_chunks(block * inputs)).for_each(|(out, x)| {
        let extent = Extent { rows: x.len() / inputs, columns: outputs, inner: inputs };
        let into = fill(out, bias);
        matmul(extent, (out, Place::rows(0, outputs)), (x, Place::rows(0, inputs)), weights, into);
    });
    out
}

/// Few rows: a task some of the outputs of all rows, put in place afterwards.
fn by_outputs(
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    (rows, inputs, outputs): (usize, usize, usize),
) -> Vec<f32> {
    let share = OUTPUTS_OF_A_TASK;
    let parts: Vec<Vec<f32>> = weight
        .par_chunks(share * inputs)
        .enumerate()
        .map(|(index, weight)| {
            let columns = weight.len() / inputs;
            let mut part = vec![0.0_f32; rows * columns];
            let into = fill(&mut part, bias.map(|bias| &bias[index * share..][..columns]));
            let extent = Extent { rows, columns, inner: inputs };
            let weights = (weight, Place::rows(0, inputs).transposed());
            matmul(extent, (&mut part, Place::rows(0, columns)), (x, Place::rows(0, inputs)), weights, into);
            part
        })
        .collect();
    if parts.len() == 1 {
        return parts.into_iter().flatten().collect();
    }
    let mut out = Vec::with_capacity(rows * outputs);
    for row in 0..rows {
        for part in &parts {
            let columns = part.len() / rows;
            out.extend_from_slice(&part[row * columns..][..columns]);
        }
    }
    out
}

/// Puts the bias into every row, to be added to.
fn fill(out: &mut [f32], bias: Option<&[f32]>) -> Into {
    let Some(bias) = bias else { return Into::Replace };
    for row in out.chunks_exact_mut(bias.len()) {
        row.copy_from_slice(bias);
    }
    Into::Add
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::samples::wave;

    #[test]
    fn every_shape_is_candles_matrix_product() {
        for (dims, inputs, outputs) in [
            (&[1][..], 1, 1),
            (&[2, 3], 5, 7),
            (&[1, 77], 24, 33),
            (&[161], 8, 48),
            (&[2, 200], 16, 5),
            (&[3, 1, 64], 40, 320),
        ] {
            let x = wave(&[dims, &[inputs]].concat(), 0.37);
            let (weight, bias) = (wave(&[outputs, inputs], 0.71), wave(&[outputs], 1.3));
            for bias in [None, Some(bias)] {
                let linear = Linear::new(weight.clone(), bias.clone()).unwrap();
                let found = linear.forward(&x).unwrap();
                let expected = candle_nn::Linear::new(weight.clone(), bias);
                let expected = candle_nn::Module::forward(&expected, &x.reshape(((), inputs)).unwrap()).unwrap();
                assert_eq!(found.dims(), [dims, &[outputs]].concat());
                let difference = (found.reshape(((), outputs)).unwrap() - expected).unwrap().abs().unwrap();
                let difference = difference.flatten_all().unwrap().max(0).unwrap().to_scalar::<f32>().unwrap();
                assert!(difference < 1e-5, "{dims:?} {inputs} {outputs}: {difference}");
            }
        }
    }

    #[test]
    fn widths_that_do_not_fit_are_errors() {
        assert!(Linear::new(wave(&[2, 3], 0.1), Some(wave(&[3], 0.1))).is_err());
        let linear = Linear::new(wave(&[2, 3], 0.1), None).unwrap();
        assert!(linear.forward(&wave(&[4, 5], 0.1)).is_err());
    }
}
