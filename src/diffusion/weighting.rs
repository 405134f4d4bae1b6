//! What the weights of a prompt do to the text encoder's hidden states, as plain numbers.

use crate::request::Emphasis;

/// One text's hidden states and the weights of its tokens.
pub struct WeightedStates {
    /// `[tokens, width]`, row by row.
    pub states: Vec<f32>,
    /// `[tokens]`.
    pub weights: Vec<f32>,
}

/// Applies the weights to `texts`, which are all those of one part's schedule, each as often as it occurs in it, of the
/// same number of chunks. `empty` is the empty prompt's chunk, `[length, width]`.
///
/// The mean that [`Emphasis::Original`] restores is that of one chunk of all the texts together, as AUTOMATIC1111
/// encodes them (sd_hijack_clip.py, sd_emphasis.py): an alternative changes its neighbour a little.
pub fn apply(mode: Emphasis, texts: &mut [WeightedStates], empty: &[f32], length: usize) {
    let width = empty.len() / length;
    let chunks = texts.first().map_or(0, |text| text.weights.len() / length);
    for chunk in 0..chunks {
        let tokens = chunk * length..(chunk + 1) * length;
        if texts.iter().all(|text| text.weights[tokens.clone()].iter().all(|&weight| weight == 1.0)) {
            continue;
        }
        let states = tokens.start * width..tokens.end * width;
        let before = sum(texts, states.clone());
        for text in texts.iter_mut() {
            let (weights, states) = (&text.weights[tokens.clone()], &mut text.states[states.clone()]);
            if mode == Emphasis::ComfyUi {
                from_empty(states, empty, weights, width);
            } else {
                states.chunks_exact_mut(width).zip(weights).for_each(|(row, &weight)| multiply(row, weight));
            }
        }
        if mode == Emphasis::Original {
            restore_mean(texts, states, before);
        }
    }
}

/// `(z - z_empty) * weight + z_empty` wherever there is a weight.
fn from_empty(states: &mut [f32], empty: &[f32], weights: &[f32], width: usize) {
    for ((row, nothing), &weight) in states.chunks_exact_mut(width).zip(empty.chunks_exact(width)).zip(weights) {
        if weight != 1.0 {
            row.iter_mut().zip(nothing).for_each(|(value, nothing)| *value = (*value - nothing) * weight + nothing);
        }
    }
}

fn multiply(values: &mut [f32], factor: f32) {
    for value in values {
        *value *= factor;
    }
}

/// Sums are taken in f64: the mean lies near zero, and a quotient of means magnifies their rounding.
fn sum(texts: &[WeightedStates], states: std::ops::Range<usize>) -> f64 {
    texts.iter().flat_map(|text| &text.states[states.clone()]).map(|&value| f64::from(value)).sum()
}

fn restore_mean(texts: &mut [WeightedStates], states: std::ops::Range<usize>, before: f64) {
    let factor = (before / sum(texts, states.clone())) as f32;
    // Weights that are all 0 leave nothing to scale.
    if factor.is_finite() {
        let values = texts.iter_mut().flat_map(|text| &mut text.states[states.clone()]);
        values.for_each(|value| *value *= factor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: [f32; 4] = [1.0, 1.0, 2.0, 2.0];

    /// One text of two tokens, two numbers wide.
    fn weighted(mode: Emphasis, weights: [f32; 2]) -> Vec<f32> {
        let mut texts = [WeightedStates { states: vec![1.0, 2.0, 3.0, 4.0], weights: weights.to_vec() }];
        apply(mode, &mut texts, &EMPTY, 2);
        texts[0].states.clone()
    }

    #[test]
    fn each_mode_does_what_it_says() {
        assert_eq!(weighted(Emphasis::NoNorm, [2.0, 0.5]), [2.0, 4.0, 1.5, 2.0]);
        assert_eq!(weighted(Emphasis::Original, [2.0, 2.0]), [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(weighted(Emphasis::ComfyUi, [1.0, 0.0]), [1.0, 2.0, 2.0, 2.0]);
        assert_eq!(weighted(Emphasis::ComfyUi, [2.0, 2.0]), [1.0, 3.0, 4.0, 6.0]);
        assert_eq!(weighted(Emphasis::Ignore, [1.0, 1.0]), [1.0, 2.0, 3.0, 4.0]);
    }

    #[test]
    fn weights_of_zero_give_numbers() {
        assert_eq!(weighted(Emphasis::Original, [0.0, 0.0]), [0.0; 4]);
    }

    #[test]
    fn the_mean_is_that_of_all_texts_together() {
        let text = |weight| WeightedStates { states: vec![1.0, 3.0], weights: vec![weight] };
        let mut texts = [text(3.0), text(1.0)];
        apply(Emphasis::Original, &mut texts, &[0.0, 0.0], 1);
        // The sum goes from 8 to 16, so that all is halved.
        assert_eq!((&texts[0].states[..], &texts[1].states[..]), (&[1.5, 4.5][..], &[0.5, 1.5][..]));
    }
}
