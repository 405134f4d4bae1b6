//! What happens to sums on their way out: bias, what the timestep says, the skip connection, the gate.

#![expect(clippy::inline_always, reason = "only what is inlined is compiled for its caller's processor features")]

use std::mem::MaybeUninit;

use super::maths::{Maths, gelu};
use super::panel::{Value, runs};
use super::product::Block;
use super::tile::COLUMNS;
use super::values::Shared;
use super::vector::widest;

/// What is added to the rows of a product of pictures of `area` pixels, whose result is `[B, rows, area]`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Finish<'a> {
    /// One for each row of the weights.
    pub bias: Option<&'a [f32]>,
    /// One for each row of each picture, or of all pictures.
    pub rows: Option<&'a [f32]>,
    /// One for each value of the result.
    pub values: Option<&'a [f32]>,
}

/// The form of a result `[B, rows, area]`, and which pixels of it a product's columns are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    pub rows: usize,
    pub area: usize,
    /// The first of the product's pixels in each picture.
    pub first: usize,
    /// How many of them each picture has.
    pub len: usize,
}

impl Form {
    /// Of a product that has all pixels.
    pub fn whole(rows: usize, area: usize) -> Self {
        Self { rows, area, first: 0, len: area }
    }

    /// Where a pixel of the product's lies in the result.
    pub fn place(&self, picture: usize, row: usize, pixel: usize) -> usize {
        (picture * self.rows + row) * self.area + self.first + pixel
    }
}

impl Finish<'_> {
    /// Writes a block to its places in the result.
    #[expect(unsafe_code, reason = "blocks are written from many threads")]
    pub fn write<T: Value>(&self, form: Form, block: &Block, out: &Shared<T>) {
        for panel in block.panels() {
            let first = block.columns.start + panel.start;
            for run in runs(first..first + panel.len(), form.len) {
                let within = panel.start + run.columns().start..panel.start + run.columns().end;
                for index in 0..block.rows {
                    let row = block.first_row + index;
                    let start = form.place(run.picture(), row, run.pixels().start);
                    // SAFETY: blocks have different rows or columns, runs of a block different columns.
                    let out = unsafe { out.part(start, run.pixels().len()) };
                    let constant = self.constant(form, run.picture(), row);
                    let values = self.values.map_or(&[][..], |values| &values[start..start + out.len()]);
                    add(out, block.row(index, &within), constant, values);
                }
            }
        }
    }

    /// As [`Finish::write`], each row multiplied by the GELU of the one that belongs to it.
    #[expect(unsafe_code, reason = "blocks are written from many threads")]
    pub fn write_gated<T: Value>(&self, form: Form, block: &Block, out: &Shared<T>) {
        for panel in block.panels() {
            let first = block.columns.start + panel.start;
            for run in runs(first..first + panel.len(), form.len) {
                let within = panel.start + run.columns().start..panel.start + run.columns().end;
                for index in 0..block.rows {
                    let row = block.first_row + index;
                    let start = form.place(run.picture(), row, run.pixels().start);
                    // SAFETY: as above.
                    let out = unsafe { out.part(start, run.pixels().len()) };
                    let bias = self.bias.map_or([0.0; 2], |bias| [bias[row], bias[form.rows + row]]);
                    gate(out, block.row(index, &within), block.partner(index, &within), bias);
                }
            }
        }
    }

    /// Writes a block to its places in a result `[columns, rows]`, of which `rows` are the product's; only the bias is
    /// added.
    #[expect(unsafe_code, reason = "blocks are written from many threads")]
    pub fn write_rows(&self, rows: usize, block: &Block, out: &Shared<f32>) {
        for panel in block.panels() {
            for column in panel {
                let start = (block.columns.start + column) * rows + block.first_row;
                // SAFETY: blocks have different rows or columns.
                let out = unsafe { out.part(start, block.rows) };
                for (index, out) in out.iter_mut().enumerate() {
                    let bias = self.bias.map_or(0.0, |bias| bias[block.first_row + index]);
                    out.write(block.value(index, column) + bias);
                }
            }
        }
    }

    /// What is added to every value of a row of a picture.
    pub fn constant(&self, form: Form, picture: usize, row: usize) -> f32 {
        let of_row = |rows: &[f32]| if rows.len() == form.rows { rows[row] } else { rows[picture * form.rows + row] };
        self.bias.map_or(0.0, |bias| bias[row]) + self.rows.map_or(0.0, of_row)
    }
}

widest! {
    /// `out = sums + constant + values`; no `values` are zeros.
    pub(super) add, add_body, <T: Value>, (out: &mut [MaybeUninit<T>], sums: &[f32], constant: f32, values: &[f32])
}

widest! {
    /// `out = (sums + bias[0]) * gelu(gates + bias[1])`; at most [`COLUMNS`] of them.
    gate, gate_body, maths M, <T: Value>, (out: &mut [MaybeUninit<T>], sums: &[f32], gates: &[f32], bias: [f32; 2])
}

#[inline(always)]
fn add_body<T: Value>(out: &mut [MaybeUninit<T>], sums: &[f32], constant: f32, values: &[f32]) {
    if values.is_empty() {
        for (out, sum) in out.iter_mut().zip(sums) {
            out.write(T::from_f32(sum + constant));
        }
    } else {
        for ((out, sum), value) in out.iter_mut().zip(sums).zip(values) {
            out.write(T::from_f32(sum + constant + value));
        }
    }
}

#[inline(always)]
fn gate_body<M: Maths, T: Value>(out: &mut [MaybeUninit<T>], sums: &[f32], gates: &[f32], bias: [f32; 2]) {
    let mut results = [0.0_f32; COLUMNS];
    for ((result, sum), gate) in results.iter_mut().zip(sums).zip(gates) {
        *result = (sum + bias[0]) * gelu::<M>(gate + bias[1]);
    }
    for (out, result) in out.iter_mut().zip(&results[..sums.len()]) {
        out.write(T::from_f32(*result));
    }
}
