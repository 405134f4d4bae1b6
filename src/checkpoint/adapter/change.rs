//! What an adapter does to one weight: LoRA and its relatives (Hu et al. 2021, arXiv:2106.09685; LyCORIS, Yeh et al. 2023,
//! arXiv:2309.14859; DoRA, Liu et al. 2024, arXiv:2402.09353; IA3, Liu et al. 2022, arXiv:2205.05638).

use std::collections::HashMap;

use super::matrix::{Matrix, Stored, checked_product, with_core};
use super::names::Role;

/// The tensors of one module in a file.
pub(super) type Tensors = HashMap<Role, Stored>;

/// A change of one weight.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Change {
    delta: Delta,
    /// What the delta is multiplied by beside the user's weight.
    scale: f32,
    magnitude: Option<Magnitude>,
}

#[derive(Debug, Clone, PartialEq)]
enum Delta {
    /// `up * down`, `[out, rank] * [rank, rest]`.
    Product(Matrix, Matrix),
    /// Element by element, of two products (LoHa).
    Hadamard(Box<[(Matrix, Matrix); 2]>),
    /// `[a, b]` and `[c, d * taps]` (LoKr), with the number of taps.
    Kronecker(Matrix, Matrix, usize),
    Full(Matrix),
    /// IA3: the weight itself, a factor for each row.
    Rows(Vec<f32>),
    /// IA3: a factor for each input.
    Inputs(Vec<f32>),
}

/// DoRA's: the length that each row or input is brought to.
#[derive(Debug, Clone, PartialEq)]
enum Magnitude {
    Rows(Vec<f32>),
    Inputs(Vec<f32>),
}

impl Change {
    /// The change of the module's weight of `shape`, if its tensors make one; whether it fits is to be looked up before, by
    /// [`check_factors`], and after. `usual_scale` is that of files which keep it aside.
    ///
    /// # Errors
    /// What does not fit, for people.
    pub fn of_weight(
        tensors: &mut Tensors,
        shape: &[usize],
        usual_scale: impl FnOnce(f32) -> f32,
    ) -> Result<Option<Self>, String> {
        let most = shape.iter().product();
        let mut take = |role| tensors.remove(&role);
        let numbers = (take(Role::Alpha), take(Role::Scale));
        let magnitude = match (take(Role::Magnitude), take(Role::RowMagnitude)) {
            (Some(stored), _) => Some(Magnitude::read(stored)?),
            (None, rows) => rows.map(|stored| Magnitude::Rows(stored.values)),
        };
        let (delta, rank) = if let Some(up) = take(Role::Up) {
            let down = take(Role::Down).ok_or("its down matrix is missing")?;
            let down = down.into_matrix()?;
            let rank = down.rows;
            let down = match take(Role::Mid) {
                Some(core) => with_core(&core, &down, most)?,
                None => down,
            };
            (product(up.into_matrix()?, down)?, Some(rank))
        } else if take(Role::Down).is_some() {
            return Err("its up matrix is missing".to_owned());
        } else if let Some(first) = take(Role::Hada1A) {
            hadamard(first, tensors, most)?
        } else if [Role::Kron1, Role::Kron1A].iter().any(|role| tensors.contains_key(role)) {
            kronecker(tensors, most)?
        } else if let Some(full) = tensors.remove(&Role::Diff) {
            (Delta::Full(full.into_matrix()?), None)
        } else if let Some(on_input) = tensors.remove(&Role::OnInput) {
            let factors = tensors.remove(&Role::Factor).ok_or("its factors are missing")?.values;
            let is_on_input = on_input.number()? != 0.0;
            (if is_on_input { Delta::Inputs(factors) } else { Delta::Rows(factors) }, None)
        } else {
            return Ok(None);
        };
        let scale = match (rank, numbers) {
            (None, _) => 1.0,
            (Some(_), (_, Some(scale))) => scale.number()?,
            (Some(rank), (Some(alpha), None)) => alpha.number()? / rank as f32,
            (Some(rank), (None, None)) => usual_scale(rank as f32),
        };
        Ok(Some(Self { delta, scale, magnitude }))
    }

    /// The change of the module's bias, if its tensors make one.
    ///
    /// # Errors
    /// As [`Change::of_weight`].
    pub fn of_bias(tensors: &mut Tensors, scale_of_weight: f32) -> Result<Option<Self>, String> {
        let plain = tensors.remove(&Role::DiffBias).map(|stored| (stored, 1.0));
        let scaled = tensors.remove(&Role::UpBias).map(|stored| (stored, scale_of_weight));
        let Some((stored, scale)) = plain.or(scaled) else { return Ok(None) };
        Ok(Some(Self { delta: Delta::Full(stored.into_matrix()?), scale, magnitude: None }))
    }

    pub fn scale(&self) -> f32 {
        self.scale
    }

    /// Width of what goes into the layer, as far as the file tells.
    pub fn inputs(&self) -> Option<usize> {
        match &self.delta {
            Delta::Product(_, down) => Some(down.columns),
            Delta::Hadamard(pairs) => Some(pairs[0].1.columns),
            Delta::Kronecker(first, second, taps) => Some(first.columns * second.columns / taps.max(&1)),
            Delta::Full(full) => Some(full.columns),
            Delta::Rows(_) | Delta::Inputs(_) => None,
        }
    }

    pub fn bytes(&self) -> usize {
        match &self.delta {
            Delta::Product(a, b) | Delta::Kronecker(a, b, _) => a.bytes() + b.bytes(),
            Delta::Hadamard(pairs) => pairs.iter().map(|(a, b)| a.bytes() + b.bytes()).sum(),
            Delta::Full(full) => full.bytes(),
            Delta::Rows(factors) | Delta::Inputs(factors) => factors.len() * size_of::<f32>(),
        }
    }

    /// Checks that the change is one of a weight of this shape. Ones at the end of a shape do not matter: linear maps are
    /// also kept as convolutions.
    ///
    /// # Errors
    /// The two shapes, for people.
    pub fn check(&self, shape: &[usize]) -> Result<(), String> {
        let (out, rest, inputs) = sides(shape);
        let (rows, columns) = match &self.delta {
            Delta::Product(up, down) => (up.rows, down.columns),
            Delta::Hadamard(pairs) => {
                let [(a, b), (c, d)] = &**pairs;
                if (a.rows, b.columns) != (c.rows, d.columns) {
                    return Err("its two products have different shapes".to_owned());
                }
                (a.rows, b.columns)
            }
            Delta::Kronecker(first, second, _) => {
                (first.rows.saturating_mul(second.rows), first.columns.saturating_mul(second.columns))
            }
            Delta::Full(full) => (full.rows, full.columns),
            Delta::Rows(factors) => (factors.len(), rest),
            Delta::Inputs(factors) => (out, if factors.len() == inputs { rest } else { factors.len() }),
        };
        check_sides((rows, columns), (out, rest))?;
        match &self.magnitude {
            Some(Magnitude::Rows(lengths)) if lengths.len() != out => {
                Err("its DoRA scale has another length".to_owned())
            }
            Some(Magnitude::Inputs(lengths)) if lengths.len() != inputs => {
                Err("its DoRA scale has another length".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// Adds the change, `strength` times, to a weight for which [`Change::check`] passed.
    pub fn add_to(&self, weight: &mut [f32], shape: &[usize], strength: f32) {
        let Some(magnitude) = &self.magnitude else { return self.add_delta(weight, shape, strength * self.scale) };
        let mut changed = weight.to_vec();
        self.add_delta(&mut changed, shape, self.scale);
        magnitude.bring(&mut changed, shape);
        for (value, changed) in weight.iter_mut().zip(changed) {
            *value += strength * (changed - *value);
        }
    }

    fn add_delta(&self, weight: &mut [f32], shape: &[usize], factor: f32) {
        match &self.delta {
            Delta::Product(up, down) => up.add_times(down, factor, weight),
            Delta::Hadamard(pairs) => {
                let [first, second] = &**pairs;
                let (first, second) = (first.0.times(&first.1), second.0.times(&second.1));
                for ((value, a), b) in weight.iter_mut().zip(&first.values).zip(&second.values) {
                    *value += factor * a * b;
                }
            }
            Delta::Kronecker(first, second, _) => add_kronecker(weight, first, second, factor),
            Delta::Full(full) => {
                for (value, delta) in weight.iter_mut().zip(&full.values) {
                    *value += factor * delta;
                }
            }
            Delta::Rows(factors) => {
                let rest = weight.len() / factors.len().max(1);
                for (row, own) in weight.chunks_exact_mut(rest.max(1)).zip(factors) {
                    for value in row {
                        *value += factor * own * *value;
                    }
                }
            }
            Delta::Inputs(factors) => {
                let (_, _, inputs) = sides(shape);
                for_inputs(weight, shape, inputs, |input, value| *value += factor * factors[input] * *value);
            }
        }
    }
}

/// What is wrong with the factors of a module.
pub(super) struct Misfit {
    /// For people.
    pub problem: String,
    /// How wide the input of the layer is that they are made for.
    pub inputs: usize,
}

/// Checks, before anything is multiplied, that the products of a module's factors will have the weight's shape.
///
/// # Errors
/// The two shapes, for people.
pub(super) fn check_factors(tensors: &Tensors, shape: &[usize]) -> Result<(), Misfit> {
    let (out, rest, _) = sides(shape);
    // What holds nothing is told as such.
    let matrix = |role| tensors.get(&role).filter(|stored| !stored.values.is_empty()).map(Stored::sides);
    let product = |a: Role, b: Role, core: Role| {
        let ((rows, columns), (_, inputs)) = (matrix(a)?, matrix(b)?);
        // With a core, `a` is stored the other way round, but for LoRA's.
        let is_turned = tensors.contains_key(&core) && core != Role::Mid;
        let taps = tensors.get(&core).map_or(1, Stored::taps);
        Some((if is_turned { columns } else { rows }, inputs.saturating_mul(taps)))
    };
    let kronecker = || {
        let first = matrix(Role::Kron1).or(matrix(Role::Kron1A).zip(matrix(Role::Kron1B)).map(|(a, b)| (a.0, b.1)))?;
        let second = matrix(Role::Kron2).or(product(Role::Kron2A, Role::Kron2B, Role::Kron2Core))?;
        Some((first.0.saturating_mul(second.0), first.1.saturating_mul(second.1)))
    };
    let products = [
        product(Role::Up, Role::Down, Role::Mid),
        product(Role::Hada1A, Role::Hada1B, Role::Hada1Core),
        product(Role::Hada2A, Role::Hada2B, Role::Hada2Core),
        kronecker(),
    ];
    for found in products.into_iter().flatten() {
        check_sides(found, (out, rest)).map_err(|problem| Misfit { problem, inputs: found.1 })?;
    }
    Ok(())
}

fn check_sides(found: (usize, usize), of_weight: (usize, usize)) -> Result<(), String> {
    if found == of_weight {
        return Ok(());
    }
    let ((rows, columns), (out, rest)) = (found, of_weight);
    Err(format!("it is made for a weight of {rows} x {columns}, and the model's is {out} x {rest}"))
}

/// Rows, values of a row, inputs of a row.
fn sides(shape: &[usize]) -> (usize, usize, usize) {
    let out = shape.first().copied().unwrap_or(1);
    let rest: usize = shape.iter().skip(1).product();
    (out, rest, shape.get(1).copied().unwrap_or(1))
}

fn for_inputs(weight: &mut [f32], shape: &[usize], inputs: usize, mut act: impl FnMut(usize, &mut f32)) {
    let taps: usize = shape.iter().skip(2).product();
    for (index, group) in weight.chunks_exact_mut(taps.max(1)).enumerate() {
        for value in group {
            act(index % inputs.max(1), value);
        }
    }
}

fn product(up: Matrix, down: Matrix) -> Result<Delta, String> {
    up.meets(&down)?;
    Ok(Delta::Product(up, down))
}

/// Two products; with cores, `a` is stored the other way round.
fn hadamard(first: Stored, tensors: &mut Tensors, most: usize) -> Result<(Delta, Option<usize>), String> {
    let mut take = |role| tensors.remove(&role).ok_or("one of its four matrices is missing").map_err(str::to_owned);
    let (first_b, second, second_b) = (take(Role::Hada1B)?, take(Role::Hada2A)?, take(Role::Hada2B)?);
    let rank = first_b.shape.first().copied();
    let mut pair = |a: Stored, b: Stored, core: Role| -> Result<(Matrix, Matrix), String> {
        let (a, b) = (a.into_matrix()?, b.into_matrix()?);
        let (a, b) = match tensors.remove(&core) {
            Some(core) => (a.transposed(), with_core(&core, &b, most)?),
            None => (a, b),
        };
        a.meets(&b)?;
        Ok((a, b))
    };
    let pairs = [pair(first, first_b, Role::Hada1Core)?, pair(second, second_b, Role::Hada2Core)?];
    Ok((Delta::Hadamard(Box::new(pairs)), rank))
}

/// Both factors whole or as products; the rank is the second's, else the first's, and none if both are whole.
fn kronecker(tensors: &mut Tensors, most: usize) -> Result<(Delta, Option<usize>), String> {
    let mut take = |role| tensors.remove(&role);
    let halves = |a: Option<Stored>, b: Option<Stored>| a.zip(b).ok_or("one half of a factor is missing".to_owned());
    let mut rank = None;
    let first = if let Some(whole) = take(Role::Kron1) {
        whole.into_matrix()?
    } else {
        let (a, b) = halves(take(Role::Kron1A), take(Role::Kron1B))?;
        rank = b.shape.first().copied();
        checked_product(&a.into_matrix()?, &b.into_matrix()?, most)?
    };
    let (second, taps) = if let Some(whole) = take(Role::Kron2) {
        let taps = whole.taps();
        (whole.into_matrix()?, taps)
    } else {
        let (a, b) = halves(take(Role::Kron2A), take(Role::Kron2B))?;
        rank = b.shape.first().copied();
        if let Some(core) = take(Role::Kron2Core) {
            let right = with_core(&core, &b.into_matrix()?, most)?;
            (checked_product(&a.into_matrix()?.transposed(), &right, most)?, core.taps())
        } else {
            let taps = b.taps();
            (checked_product(&a.into_matrix()?, &b.into_matrix()?, most)?, taps)
        }
    };
    Ok((Delta::Kronecker(first, second, taps), rank))
}

/// `weight[(a c), (b d taps)] += factor * first[a, b] * second[c, d taps]`.
fn add_kronecker(weight: &mut [f32], first: &Matrix, second: &Matrix, factor: f32) {
    let rest = first.columns * second.columns;
    for (row, values) in weight.chunks_exact_mut(rest).enumerate() {
        let (a, c) = (row / second.rows, row % second.rows);
        let second = &second.values[c * second.columns..][..second.columns];
        for (b, values) in values.chunks_exact_mut(second.len()).enumerate() {
            let own = factor * first.values[a * first.columns + b];
            values.iter_mut().zip(second).for_each(|(value, second)| *value += own * second);
        }
    }
}

impl Magnitude {
    /// Which side of the shape is 1 tells what the lengths are of.
    fn read(stored: Stored) -> Result<Self, String> {
        match stored.shape.as_slice() {
            [_] | [_, 1] | [_, 1, 1, 1] => Ok(Self::Rows(stored.values)),
            [1, _] | [1, _, 1, 1] => Ok(Self::Inputs(stored.values)),
            shape => Err(format!("its DoRA scale has shape {shape:?}")),
        }
    }

    /// Brings each row or input to its length.
    fn bring(&self, weight: &mut [f32], shape: &[usize]) {
        let bring = |length: &f32, norm: f64| length / (norm.sqrt() as f32 + f32::EPSILON);
        match self {
            Self::Rows(lengths) => {
                let rest = (weight.len() / lengths.len().max(1)).max(1);
                for (row, length) in weight.chunks_exact_mut(rest).zip(lengths) {
                    let factor = bring(length, row.iter().map(|&value| f64::from(value).powi(2)).sum());
                    for value in row {
                        *value *= factor;
                    }
                }
            }
            Self::Inputs(lengths) => {
                let mut norms = vec![0.0_f64; lengths.len()];
                for_inputs(weight, shape, lengths.len(), |input, value| norms[input] += f64::from(*value).powi(2));
                let factors: Vec<f32> = lengths.iter().zip(norms).map(|(length, norm)| bring(length, norm)).collect();
                for_inputs(weight, shape, lengths.len(), |input, value| *value *= factors[input]);
            }
        }
    }
}
