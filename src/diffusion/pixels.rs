//! Between 8-bit pictures and tensors in -1..1.

use candle_core::{DType, Device, Tensor};
use image::RgbImage;

use super::DiffusionError;
use crate::request::ImageSize;

/// `[1, 3, H, W]` in -1..1 from a picture, resized to `size` first where it differs (Lanczos, as diffusers does).
///
/// # Errors
/// When the device fails.
pub fn to_tensor(picture: &RgbImage, size: ImageSize, device: &Device) -> Result<Tensor, DiffusionError> {
    let (width, height) = (size.width(), size.height());
    let resized;
    let picture = if picture.dimensions() == (width, height) {
        picture
    } else {
        resized = image::imageops::resize(picture, width, height, image::imageops::FilterType::Lanczos3);
        &resized
    };
    let values: Vec<f32> =
        (0..3).flat_map(|channel| picture.pixels().map(move |p| f32::from(p.0[channel]) / 255.0 * 2.0 - 1.0)).collect();
    Ok(Tensor::from_vec(values, (1, 3, height as usize, width as usize), device)?)
}

/// The picture of a `[1, 3, H, W]` tensor, -1..1 clamped and rounded to 8 bits.
///
/// # Errors
/// [`DiffusionError::NotFinite`] when a value is not a number or infinite, never a black picture.
pub fn to_picture(pixels: &Tensor) -> Result<RgbImage, DiffusionError> {
    let (_, channels, height, width) = pixels.dims4()?;
    let values = pixels.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    check_finite(&values, || "the decoded pixels".to_owned())?;
    let area = height * width;
    let byte = |v: f32| ((v / 2.0 + 0.5).clamp(0.0, 1.0) * 255.0).round_ties_even() as u8;
    let bytes: Vec<u8> =
        (0..area).flat_map(|at| (0..channels).map(move |c| c * area + at)).map(|index| byte(values[index])).collect();
    let too_large = || DiffusionError::Request(format!("{width}x{height} pixels are too many for one picture"));
    let side = |px: usize| u32::try_from(px).map_err(|_| too_large());
    RgbImage::from_raw(side(width)?, side(height)?, bytes).ok_or_else(too_large)
}

/// # Errors
/// [`DiffusionError::NotFinite`] naming `place` when a value is not a number or infinite.
pub fn check_finite(values: &[f32], place: impl FnOnce() -> String) -> Result<(), DiffusionError> {
    let nans = values.iter().filter(|v| v.is_nan()).count();
    let infinities = values.iter().filter(|v| v.is_infinite()).count();
    if nans + infinities == 0 {
        return Ok(());
    }
    let what = match (nans, infinities) {
        (nans, 0) => format!("NaN ({nans} of {} values)", values.len()),
        (0, infinities) => format!("infinity ({infinities} of {} values)", values.len()),
        (nans, infinities) => format!("NaN and infinity ({nans} and {infinities} of {} values)", values.len()),
    };
    Err(DiffusionError::NotFinite { place: place(), what })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_survives_the_way_to_a_tensor_and_back() {
        let picture = RgbImage::from_fn(64, 72, |x, y| image::Rgb([x as u8, y as u8, (x * y) as u8]));
        let tensor = to_tensor(&picture, ImageSize::new(64, 72).unwrap(), &Device::Cpu).unwrap();
        assert_eq!(to_picture(&tensor).unwrap(), picture);
    }

    #[test]
    fn a_nan_is_an_error_that_says_where() {
        let pixels = Tensor::from_vec(vec![0.0, f32::NAN, f32::INFINITY], (1, 3, 1, 1), &Device::Cpu).unwrap();
        let error = to_picture(&pixels).unwrap_err().to_string();
        assert!(error.starts_with("the decoded pixels hold NaN and infinity (1 and 1 of 3 values)"), "{error}");
    }
}
