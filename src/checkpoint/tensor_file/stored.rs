//! How a tensor is stored, and its numbers as f32.

use candle_core::Device;
use candle_core::quantized::{GgmlDType, ggml_file};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

/// How the numbers of a tensor are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredType {
    F64,
    F32,
    F16,
    BF16,
    /// 8 bits without infinities (Micikevicius et al. 2022, arXiv:2209.05433).
    F8E4M3,
    F8E5M2,
    /// Counts.
    I64,
    /// Counts and flags.
    U8,
    /// GGML's blocks.
    Quantised(GgmlDType),
    /// What else models do not compute with: its name, and what [`StoredType::block`] says.
    Other(&'static str, (usize, usize)),
}

impl StoredType {
    /// Numbers and bytes of the smallest piece that stands alone.
    pub fn block(self) -> (usize, usize) {
        match self {
            Self::F64 | Self::I64 => (1, 8),
            Self::F32 => (1, 4),
            Self::F16 | Self::BF16 => (1, 2),
            Self::F8E4M3 | Self::F8E5M2 | Self::U8 => (1, 1),
            Self::Quantised(kind) => (kind.block_size(), kind.type_size()),
            Self::Other(_, block) => block,
        }
    }

    /// For people: "F16", "Q8_0".
    pub fn name(self) -> String {
        match self {
            // candle writes Q4K for what GGML calls Q4_K.
            Self::Quantised(kind) => format!("{kind:?}").replace('K', "_K"),
            Self::Other(name, _) => name.to_owned(),
            // As safetensors spells them.
            Self::F8E4M3 => "F8_E4M3".to_owned(),
            Self::F8E5M2 => "F8_E5M2".to_owned(),
            plain => format!("{plain:?}"),
        }
    }

    /// True for what can be computed with.
    pub fn is_number(self) -> bool {
        !matches!(self, Self::Other(..))
    }

    /// The numbers of whole blocks, as many as `out` has places.
    ///
    /// # Errors
    /// What cannot be read, by name.
    pub fn decode(self, bytes: &[u8], out: &mut [f32]) -> Result<(), String> {
        match self {
            Self::F64 => each(bytes, out, |c| f64::from_le_bytes(c) as f32),
            Self::F32 => each(bytes, out, f32::from_le_bytes),
            Self::F16 => halves(bytes, out, f16::from_le_bytes, f16::ZERO),
            Self::BF16 => halves(bytes, out, bf16::from_le_bytes, bf16::ZERO),
            Self::F8E4M3 => each(bytes, out, |[byte]| f8e4m3(byte)),
            // The upper half of an f16.
            Self::F8E5M2 => each(bytes, out, |[byte]| f16::from_bits(u16::from(byte) << 8).to_f32()),
            Self::I64 => each(bytes, out, |c| i64::from_le_bytes(c) as f32),
            Self::U8 => each(bytes, out, |[byte]| f32::from(byte)),
            Self::Quantised(kind) => {
                let read = ggml_file::qtensor_from_ggml(kind, bytes, vec![out.len()], &Device::Cpu)
                    .and_then(|blocks| blocks.dequantize(&Device::Cpu)?.to_vec1::<f32>());
                out.copy_from_slice(&read.map_err(|error| error.to_string())?);
            }
            Self::Other(name, _) => return Err(name.to_owned()),
        }
        Ok(())
    }
}

fn each<const N: usize>(bytes: &[u8], out: &mut [f32], decode: impl Fn([u8; N]) -> f32) {
    for (value, &bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
        *value = decode(bytes);
    }
}

/// Converts halves a block at a time, for which processors have instructions.
fn halves<H: Copy>(bytes: &[u8], out: &mut [f32], read: fn([u8; 2]) -> H, zero: H)
where
    [H]: HalfFloatSliceExt,
{
    const BLOCK: usize = 1 << 12;
    let mut halves = [zero; BLOCK];
    for (bytes, out) in bytes.as_chunks().0.chunks(BLOCK).zip(out.chunks_mut(BLOCK)) {
        for (half, &pair) in halves.iter_mut().zip(bytes) {
            *half = read(pair);
        }
        halves[..out.len()].convert_to_f32_slice(out);
    }
}

/// Sign, 4 bits of exponent with a bias of 7, 3 bits of mantissa; the largest pattern is no number.
fn f8e4m3(byte: u8) -> f32 {
    let sign = if byte & 0x80 == 0 { 1.0 } else { -1.0 };
    let (exponent, mantissa) = (i32::from(byte >> 3 & 0xf), f32::from(byte & 7));
    match (exponent, byte & 7) {
        (15, 7) => f32::NAN,
        (0, _) => sign * mantissa * 2_f32.powi(-9),
        _ => sign * (1.0 + mantissa / 8.0) * 2_f32.powi(exponent - 7),
    }
}

/// Where a tensor lies and what it is.
#[derive(Debug, Clone)]
pub struct StoredTensor {
    pub shape: Vec<usize>,
    pub kind: StoredType,
    /// From the file's start.
    pub offset: u64,
    pub len_bytes: u64,
    /// In numbers, where rows do not follow each other.
    pub strides: Option<Vec<usize>>,
    /// What the stored numbers are to be multiplied with.
    pub scale: f32,
}

impl StoredTensor {
    /// A tensor of `shape` at `offset` of the file; `None` when no file can be that long, or no block ends where it does.
    pub fn packed(shape: Vec<usize>, kind: StoredType, offset: u64) -> Option<Self> {
        let count = shape.iter().try_fold(1_usize, |n, &side| n.checked_mul(side))?;
        let (numbers, bytes) = kind.block();
        let blocks = count.is_multiple_of(numbers).then_some(count / numbers)?;
        let len_bytes = u64::try_from(blocks.checked_mul(bytes)?).ok()?;
        offset.checked_add(len_bytes)?;
        Some(Self { shape, kind, offset, len_bytes, strides: None, scale: 1.0 })
    }

    /// How many numbers lie in the file.
    pub fn stored_count(&self) -> usize {
        let (numbers, bytes) = self.kind.block();
        // A type that is not known has no size.
        usize::try_from(self.len_bytes).unwrap_or(usize::MAX) / bytes.max(1) * numbers
    }

    /// The rows of one third, counted from 0; `None` when they cannot be cut in three.
    pub fn third(&self, index: usize) -> Option<Self> {
        let [rows, rest @ ..] = self.shape.as_slice() else { return None };
        if !rows.is_multiple_of(3) || !self.len_bytes.is_multiple_of(3) || index > 2 || self.strides.is_some() {
            return None;
        }
        let third = Self::packed([&[rows / 3], rest].concat(), self.kind, self.offset)?;
        Some(Self { offset: self.offset + index as u64 * third.len_bytes, scale: self.scale, ..third })
    }

    /// The numbers in the order of the shape, from those in the order of the file.
    pub fn in_order(&self, stored: Vec<f32>) -> Option<Vec<f32>> {
        let Some(strides) = &self.strides else { return Some(stored) };
        let count: usize = self.shape.iter().product();
        let mut ordered = Vec::with_capacity(count);
        let mut place = vec![0; self.shape.len()];
        for _ in 0..count {
            let at: usize = place.iter().zip(strides).map(|(i, stride)| i * stride).sum();
            ordered.push(*stored.get(at)?);
            for axis in (0..place.len()).rev() {
                place[axis] += 1;
                if place[axis] < self.shape[axis] {
                    break;
                }
                place[axis] = 0;
            }
        }
        Some(ordered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_bit_numbers_are_those_of_the_paper() {
        let read = |kind: StoredType, byte: u8| {
            let mut out = [0.0];
            kind.decode(&[byte], &mut out).unwrap();
            out[0]
        };
        let e4m3 = |byte| read(StoredType::F8E4M3, byte);
        assert_eq!([0x7e, 0x08, 0x01, 0x38, 0xb9].map(e4m3), [448.0, 0.015625, 0.001953125, 1.0, -1.125]);
        assert!(e4m3(0x7f).is_nan() && e4m3(0xff).is_nan());
        let e5m2 = |byte| read(StoredType::F8E5M2, byte);
        assert_eq!([0x7b, 0x04, 0x01, 0x3c, 0xbd].map(e5m2), [57344.0, 6.103515625e-5, 1.52587890625e-5, 1.0, -1.25]);
    }

    #[test]
    fn a_transposed_view_is_put_in_order() {
        let mut view = StoredTensor::packed(vec![3, 2], StoredType::F32, 0).unwrap();
        view.strides = Some(vec![1, 3]);
        assert_eq!(view.in_order(vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]).unwrap(), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert!(view.third(0).is_none());
    }

    #[test]
    fn what_no_file_holds_is_no_tensor() {
        assert!(StoredTensor::packed(vec![usize::MAX, 2], StoredType::F16, 0).is_none());
        assert!(StoredTensor::packed(vec![33], StoredType::Quantised(GgmlDType::Q8_0), 0).is_none());
        assert_eq!(StoredTensor::packed(vec![2, 32], StoredType::Quantised(GgmlDType::Q8_0), 0).unwrap().len_bytes, 68);
    }
}
