//! Token merging (Bolya & Hoffman 2023, arXiv:2303.17604): before the self-attention on the finest level tokens that are
//! alike are joined, and afterwards each gets what its group has gained.

use candle_core::{DType, Result, Tensor};

use crate::kernels::{add_product, in_pieces};
use crate::request::TokenMerging;

/// What is joined in an evaluation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Merging {
    share: TokenMerging,
    /// Of the finest level, `(height, width)`.
    size: (usize, usize),
}

impl Merging {
    /// None where nothing is to be joined.
    pub fn new(share: TokenMerging, size: (usize, usize)) -> Option<Self> {
        (share != TokenMerging::default()).then_some(Self { share, size })
    }

    /// The same on the finest level; on others nothing is joined.
    pub fn at(self, size: (usize, usize)) -> Option<Self> {
        (self.size == size).then_some(self)
    }

    /// Which tokens of `x` `[B, C, H*W]` go together: of each square of four the first is a place to join, and of the
    /// others those that are most like one of these places join it. None where the share comes to no token.
    pub fn groups(self, x: &Tensor) -> Result<Option<Groups>> {
        let (_, channels, tokens) = x.dims3()?;
        let (height, width) = self.size;
        let is_place = |token: &usize| is_first(token / width, height) && is_first(token % width, width);
        let (places, others): (Vec<usize>, Vec<usize>) = (0..tokens).partition(is_place);
        // At most a quarter of a million tokens, so the casts are exact.
        let joining = ((tokens as f64 * self.share.get()) as usize).min(others.len());
        if joining == 0 || places.is_empty() {
            return Ok(None);
        }
        let matching = Matching { channels, tokens, places: &places, others: &others, joining };
        let values = plain(x)?;
        let rows = values.chunks_exact(channels * tokens).map(|row| matching.groups(row)).collect::<Result<_>>()?;
        Ok(Some(Groups { rows, count: tokens - joining }))
    }
}

/// Whether a coordinate is the first of a whole pair.
fn is_first(at: usize, length: usize) -> bool {
    at.is_multiple_of(2) && at + 1 < length
}

fn plain(x: &Tensor) -> Result<Vec<f32>> {
    x.to_dtype(DType::F32)?.flatten_all()?.to_vec1()
}

/// `x` `[B, C, T]` as `[B, T, C]`.
pub(super) fn tokens_first(x: &Tensor) -> Result<Tensor> {
    /// As many tokens as a thread turns at once: a few cache lines of each channel.
    const BLOCK: usize = 64;
    let (batch, channels, tokens) = x.dims3()?;
    let values = plain(x)?;
    let mut turned = Vec::with_capacity(values.len());
    for values in values.chunks_exact(channels * tokens) {
        turned.extend(in_pieces(
            tokens * channels,
            BLOCK * channels,
            || (),
            |(), block, piece| {
                let count = piece.len() / channels;
                for (c, plane) in values.chunks_exact(tokens).enumerate() {
                    for (token, value) in plane[block * BLOCK..][..count].iter().enumerate() {
                        piece[token * channels + c] = *value;
                    }
                }
                Ok::<_, candle_core::Error>(())
            },
        )?);
    }
    Tensor::from_vec(turned, (batch, tokens, channels), x.device())?.to_dtype(x.dtype())
}

/// How one picture's tokens are joined.
struct Matching<'a> {
    channels: usize,
    tokens: usize,
    /// Where is joined.
    places: &'a [usize],
    /// What may join.
    others: &'a [usize],
    /// How many of them do.
    joining: usize,
}

impl Matching<'_> {
    /// `values` are `[C, T]`.
    fn groups(&self, values: &[f32]) -> Result<RowGroups> {
        let nearest = self.nearest(values)?;
        let (likeness, place) = (|other: &usize| nearest[2 * other], |other: usize| nearest[2 * other + 1] as usize);
        let mut order: Vec<usize> = (0..self.others.len()).collect();
        // Stable, so that of equals the first joins.
        order.sort_by(|a, b| likeness(b).total_cmp(&likeness(a)));
        let mut joins: Vec<Option<usize>> = vec![None; self.tokens];
        for &other in &order[..self.joining] {
            joins[self.others[other]] = Some(self.places[place(other)]);
        }
        Ok(RowGroups::of(&joins))
    }

    /// For each of the others its likeness to the place that is most like it, the cosine between them, and that place's
    /// index, which an f32 holds exactly.
    fn nearest(&self, values: &[f32]) -> Result<Vec<f32>> {
        /// So many at once, that their likenesses to all places stay in the cache.
        const BLOCK: usize = 64;
        let &Self { channels, tokens, places, others, .. } = self;
        let mut factors = vec![0.0_f32; tokens];
        for plane in values.chunks_exact(tokens) {
            factors.iter_mut().zip(plane).for_each(|(sum, value)| *sum += value * value);
        }
        // From the squares of their lengths to what makes them of length 1.
        for factor in &mut factors {
            *factor = 1.0 / factor.sqrt().max(f32::MIN_POSITIVE);
        }
        let unit = |plane: &[f32], token: usize| plane[token] * factors[token];
        let mut columns = Vec::with_capacity(channels * places.len());
        for plane in values.chunks_exact(tokens) {
            columns.extend(places.iter().map(|&token| unit(plane, token)));
        }
        let room = || (vec![0.0_f32; BLOCK * channels], vec![0.0_f32; BLOCK * places.len()]);
        in_pieces(2 * others.len(), 2 * BLOCK, room, |(rows, likenesses), index, piece| {
            let block = &others[index * BLOCK..][..piece.len() / 2];
            for (c, plane) in values.chunks_exact(tokens).enumerate() {
                for (row, &token) in block.iter().enumerate() {
                    rows[row * channels + c] = unit(plane, token);
                }
            }
            let likenesses = &mut likenesses[..block.len() * places.len()];
            likenesses.fill(0.0);
            // [block, C] x [C, places]
            add_product(likenesses, rows, &columns, [block.len(), channels, places.len()]);
            for (found, likenesses) in piece.chunks_exact_mut(2).zip(likenesses.chunks_exact(places.len())) {
                let mut best = (f32::NEG_INFINITY, 0);
                for (place, &likeness) in likenesses.iter().enumerate() {
                    if likeness > best.0 {
                        best = (likeness, place);
                    }
                }
                found.copy_from_slice(&[best.0, best.1 as f32]);
            }
            Ok(())
        })
    }
}

/// Which tokens of each picture of a batch go together.
pub(super) struct Groups {
    rows: Vec<RowGroups>,
    /// How many groups each picture has.
    count: usize,
}

/// The same of one picture.
struct RowGroups {
    /// The group of each token; groups stand in the order of the tokens that others join.
    of_token: Vec<usize>,
    /// The tokens, group after group.
    members: Vec<usize>,
    /// Where each group begins among the members, and where the last one ends.
    starts: Vec<usize>,
}

impl RowGroups {
    /// From which token each joins, if one.
    fn of(joins: &[Option<usize>]) -> Self {
        let mut of_token = vec![0; joins.len()];
        let mut count = 0;
        for token in (0..joins.len()).filter(|&token| joins[token].is_none()) {
            of_token[token] = count;
            count += 1;
        }
        for (token, joined) in joins.iter().enumerate() {
            if let Some(joined) = joined {
                of_token[token] = of_token[*joined];
            }
        }
        let mut starts = vec![0; count + 1];
        for group in &of_token {
            starts[group + 1] += 1;
        }
        for group in 0..count {
            starts[group + 1] += starts[group];
        }
        let mut members: Vec<usize> = (0..joins.len()).collect();
        // Stable: in the order of the tokens.
        members.sort_by_key(|&token| of_token[token]);
        Self { of_token, members, starts }
    }
}

impl Groups {
    /// The mean of every group of `x` `[B, T, C]`, as `[B, C, G]`.
    pub fn means(&self, x: &Tensor) -> Result<Tensor> {
        /// As many f32 as a cache line holds.
        const BLOCK: usize = 16;
        let (batch, tokens, channels) = x.dims3()?;
        let (values, count) = (plain(x)?, self.count);
        let mut means = Vec::with_capacity(batch * channels * count);
        for (groups, values) in self.rows.iter().zip(values.chunks_exact(tokens * channels)) {
            means.extend(in_pieces(
                channels * count,
                BLOCK * count,
                || (),
                |(), block, piece| {
                    let width = piece.len() / count;
                    for (group, ends) in groups.starts.array_windows().enumerate() {
                        let &[start, end] = ends;
                        let mut sums = [0.0_f32; BLOCK];
                        for token in &groups.members[start..end] {
                            let token = &values[token * channels + block * BLOCK..][..width];
                            sums.iter_mut().zip(token).for_each(|(sum, value)| *sum += value);
                        }
                        let factor = 1.0 / (end - start) as f32;
                        (0..width).for_each(|c| piece[c * count + group] = sums[c] * factor);
                    }
                    Ok::<_, candle_core::Error>(())
                },
            )?);
        }
        Tensor::from_vec(means, (batch, channels, count), x.device())?.to_dtype(x.dtype())
    }

    /// `x` `[B, C, T]` plus to each token what `gained` `[B, C, G]` has for its group.
    pub fn add_to_members(&self, x: &Tensor, gained: &Tensor) -> Result<Tensor> {
        let (_, channels, tokens) = x.dims3()?;
        let (values, gained) = (plain(x)?, plain(gained)?);
        let sums = in_pieces(
            values.len(),
            tokens,
            || (),
            |(), plane, piece| {
                let gained = &gained[plane * self.count..][..self.count];
                let of_token = &self.rows[plane / channels].of_token;
                let values = &values[plane * tokens..][..tokens];
                for ((sum, value), &group) in piece.iter_mut().zip(values).zip(of_token) {
                    *sum = value + gained[group];
                }
                Ok::<_, candle_core::Error>(())
            },
        )?;
        Tensor::from_vec(sums, x.shape(), x.device())?.to_dtype(x.dtype())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn wave(shape: (usize, usize, usize)) -> Tensor {
        let values = (0..shape.0 * shape.1 * shape.2).map(|i| (i as f32 * 0.37).sin() + 0.1).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    fn groups_of(x: &Tensor, size: (usize, usize), share: f64) -> Option<Groups> {
        Merging::new(TokenMerging::new(share).unwrap(), size).and_then(|merging| merging.groups(x).unwrap())
    }

    #[test]
    fn as_many_tokens_join_as_the_share_says_and_no_more_than_may() {
        for (size, share, left) in [((6, 6), 0.5, 18), ((6, 6), 0.75, 9), ((5, 7), 0.5, 18), ((5, 7), 0.75, 9)] {
            let x = wave((2, 3, size.0 * size.1));
            assert_eq!(groups_of(&x, size, share).unwrap().count, left, "{size:?} {share}");
        }
        let x = wave((1, 3, 8));
        assert!(groups_of(&x, (1, 8), 0.75).is_none(), "no square of four");
        assert!(groups_of(&wave((1, 3, 16)), (4, 4), 0.05).is_none(), "less than one token");
        assert!(groups_of(&wave((1, 3, 16)), (4, 4), 0.0).is_none());
    }

    #[test]
    fn a_token_joins_the_place_that_points_the_same_way() {
        // Two channels: the places point along the axes, each other token the way of one of them, at any length.
        let (right, up) = ([1.0_f32, 0.0], [0.0_f32, 1.0]);
        let tokens = [right, up, up, right, right, up, up, right].map(|[a, b]| [a * 3.0, b * 3.0]);
        let values = [0, 1].map(|c| tokens.map(|token| token[c])).concat();
        let x = Tensor::from_vec(values, (1, 2, 8), &Device::Cpu).unwrap();
        let groups = groups_of(&x, (2, 4), 0.75).unwrap();
        assert_eq!(groups.rows[0].of_token, [0, 1, 1, 0, 0, 1, 1, 0]);
        assert_eq!(groups.rows[0].members, [0, 3, 4, 7, 1, 2, 5, 6]);
    }

    #[test]
    fn every_token_gets_the_mean_of_its_group_back() {
        let x = wave((2, 20, 90));
        let groups = groups_of(&x, (9, 10), 0.6).unwrap();
        let turned = tokens_first(&x).unwrap();
        assert_eq!(turned.to_vec3::<f32>().unwrap(), x.transpose(1, 2).unwrap().to_vec3::<f32>().unwrap());
        let means = groups.means(&turned).unwrap();
        let back = groups.add_to_members(&x.zeros_like().unwrap(), &means).unwrap().to_vec3::<f32>().unwrap();
        let x = x.to_vec3::<f32>().unwrap();
        for (picture, row) in groups.rows.iter().enumerate() {
            for (token, group) in row.of_token.iter().enumerate() {
                let members: Vec<usize> = (0..90).filter(|&other| row.of_token[other] == *group).collect();
                for (values, back) in x[picture].iter().zip(&back[picture]) {
                    let mean = members.iter().map(|&m| values[m]).sum::<f32>() / members.len() as f32;
                    assert!((mean - back[token]).abs() < 1e-6);
                }
            }
        }
    }
}
