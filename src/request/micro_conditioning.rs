//! What Stable Diffusion XL is told about the picture beside the text (Podell et al. 2023, arXiv:2307.01952, section 2.2).

use serde::{Deserialize, Serialize};

use super::RequestError;

/// The size and the crop that the picture is to look as if it came from; other families are told nothing of it. What is
/// not set is said to be as it is: of the picture's own size, whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MicroConditioning {
    /// The size before it was scaled for training: small ones make blurred pictures, large ones sharp.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub original_size: Option<ToldSize>,
    /// What was cut off at the top and at the left: 0 for subjects in the middle.
    #[serde(skip_serializing_if = "super::text::is_default")]
    pub crop: Crop,
    /// The size that it was scaled and cropped to. The refiner is not told it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_size: Option<ToldSize>,
}

/// A size that is only told, in pixels: any sides from 1 to 16384.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "(u32, u32)", into = "(u32, u32)")]
pub struct ToldSize {
    width: u32,
    height: u32,
}

/// Pixels cut off at the top and at the left, each from 0 to 16384.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "(u32, u32)", into = "(u32, u32)")]
pub struct Crop {
    top: u32,
    left: u32,
}

/// The longest side that is told, in pixels.
pub const LONGEST_TOLD: u32 = 16_384;

impl ToldSize {
    /// `width` x `height` pixels.
    ///
    /// # Errors
    /// [`RequestError::Number`] when a side is not from 1 to 16384.
    pub fn new(width: u32, height: u32) -> Result<Self, RequestError> {
        Ok(Self { width: side("a told width", width, 1)?, height: side("a told height", height, 1)? })
    }

    /// In pixels.
    #[must_use]
    pub fn width(self) -> u32 {
        self.width
    }

    /// In pixels.
    #[must_use]
    pub fn height(self) -> u32 {
        self.height
    }
}

impl Crop {
    /// `top` and `left` pixels.
    ///
    /// # Errors
    /// [`RequestError::Number`] when one is above 16384.
    pub fn new(top: u32, left: u32) -> Result<Self, RequestError> {
        Ok(Self { top: side("the crop's top", top, 0)?, left: side("the crop's left", left, 0)? })
    }

    /// In pixels.
    #[must_use]
    pub fn top(self) -> u32 {
        self.top
    }

    /// In pixels.
    #[must_use]
    pub fn left(self) -> u32 {
        self.left
    }
}

fn side(what: &'static str, px: u32, min: u32) -> Result<u32, RequestError> {
    if (min..=LONGEST_TOLD).contains(&px) {
        return Ok(px);
    }
    let (found, min, max) = (f64::from(px), f64::from(min), f64::from(LONGEST_TOLD));
    Err(RequestError::Number { what, found, min, max })
}

impl TryFrom<(u32, u32)> for ToldSize {
    type Error = RequestError;

    fn try_from((width, height): (u32, u32)) -> Result<Self, RequestError> {
        Self::new(width, height)
    }
}

impl From<ToldSize> for (u32, u32) {
    fn from(size: ToldSize) -> Self {
        (size.width, size.height)
    }
}

impl TryFrom<(u32, u32)> for Crop {
    type Error = RequestError;

    fn try_from((top, left): (u32, u32)) -> Result<Self, RequestError> {
        Self::new(top, left)
    }
}

impl From<Crop> for (u32, u32) {
    fn from(crop: Crop) -> Self {
        (crop.top, crop.left)
    }
}

impl std::fmt::Display for ToldSize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

impl std::str::FromStr for ToldSize {
    type Err = String;

    /// As "1024x768".
    fn from_str(text: &str) -> Result<Self, String> {
        let (width, height) = text.split_once(['x', 'X']).ok_or("write it as 1024x768")?;
        Self::new(pixels(width)?, pixels(height)?).map_err(|error| error.to_string())
    }
}

impl std::fmt::Display for Crop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, {}", self.top, self.left)
    }
}

impl std::str::FromStr for Crop {
    type Err = String;

    /// Top and left, as "0, 64".
    fn from_str(text: &str) -> Result<Self, String> {
        let (top, left) = text.split_once(',').ok_or("write top and left as 0,64")?;
        Self::new(pixels(top)?, pixels(left)?).map_err(|error| error.to_string())
    }
}

fn pixels(text: &str) -> Result<u32, String> {
    text.trim().parse().map_err(|_| format!("\"{text}\" is not a number of pixels"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_they_are_written() {
        let size = ToldSize::new(1023, 769).unwrap();
        assert_eq!(size.to_string().parse(), Ok(size));
        let crop = Crop::new(12, 64).unwrap();
        assert_eq!(crop.to_string().parse(), Ok(crop));
        assert!("12".parse::<Crop>().unwrap_err().contains("0,64"));
        assert!("1024".parse::<ToldSize>().unwrap_err().contains("1024x768"));
        assert!("0x8".parse::<ToldSize>().unwrap_err().contains("from 1 to 16384"));
        assert!("ax8".parse::<ToldSize>().is_err() && Crop::new(0, 16_385).is_err());
    }

    #[test]
    fn what_is_usual_is_not_written() {
        let json = |told: &MicroConditioning| serde_json::to_string(told).unwrap();
        assert_eq!(json(&MicroConditioning::default()), "{}");
        let told = MicroConditioning { crop: Crop::new(0, 64).unwrap(), ..MicroConditioning::default() };
        assert_eq!(json(&told), "{\"crop\":[0,64]}");
        assert_eq!(serde_json::from_str::<MicroConditioning>(&json(&told)).unwrap(), told);
        assert!(serde_json::from_str::<MicroConditioning>("{\"original_size\":[0,8]}").is_err());
    }
}
