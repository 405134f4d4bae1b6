//! Which text encoders a U-Net gets, out of those at hand: known by their widths, which add up to that of its context.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::part_source::PartSource;
use super::single_file::text;
use super::{CheckpointError, clip_vocabulary};
use crate::diffusion::text_encoder::{HiddenStates, TextEncoderConfig};
use crate::prompt::{SpecialTokens, Tokenizer, TokenizerError};

/// The place of a text encoder in a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// OpenAI's CLIP ViT-L, of Stable Diffusion 1.
    First,
    /// OpenCLIP's ViT-H, of Stable Diffusion 2.
    Second,
    /// OpenAI's CLIP ViT-L again, of XL.
    XlFirst,
    /// OpenCLIP's bigG, of XL and its refiner, whose U-Net is told its pooled text.
    XlLast,
}

impl Role {
    pub fn is_open_clip(self) -> bool {
        matches!(self, Self::Second | Self::XlLast)
    }

    /// Which hidden states the family is trained on.
    pub fn hidden_states(self) -> HiddenStates {
        match self {
            Self::First | Self::Second => HiddenStates::Last,
            Self::XlFirst | Self::XlLast => HiddenStates::LayerBeforeLast,
        }
    }

    /// CLIP's tokenizer, padding as the text encoder was trained.
    pub fn tokenizer(self, positions: usize) -> Result<Tokenizer, TokenizerError> {
        let special = if self.is_open_clip() { SpecialTokens::padding_with("!") } else { SpecialTokens::default() };
        clip_vocabulary::tokenizer(positions, &special)
    }

    /// The id of CLIP's vocabulary that fills the chunks: OpenCLIP's is that of "!", else the end mark.
    fn padding(self) -> u32 {
        if self.is_open_clip() { 0 } else { clip_vocabulary::END }
    }
}

/// What the shapes of a text encoder in a file say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TowerShape {
    pub vocab_size: usize,
    pub width: usize,
    pub intermediate: usize,
    pub layers: usize,
    pub positions: usize,
    /// Width of the pooled text.
    pub projection: Option<usize>,
    /// Whether it has OpenCLIP's own names.
    pub is_open_clip: bool,
}

/// How much is known of a text encoder before its role is.
#[derive(Debug, Clone)]
pub(super) enum TowerForm {
    /// By a folder's configuration; and the id that fills its chunks, where it has a tokenizer.
    Configured(Box<TextEncoderConfig>, Option<u32>),
    /// By its shapes.
    Shown(TowerShape),
}

/// A text encoder that could be taken.
#[derive(Debug, Clone)]
pub(super) struct FoundTower {
    pub form: TowerForm,
    pub source: PartSource,
    /// The companion that it is in; none for the model's own.
    pub companion: Option<PathBuf>,
}

/// A text encoder that is taken.
#[derive(Debug)]
pub(super) struct TowerConfig {
    pub config: TextEncoderConfig,
    pub hidden_states: HiddenStates,
    /// The id that fills its chunks.
    pub padding: u32,
    pub source: PartSource,
}

impl FoundTower {
    fn width(&self) -> usize {
        match &self.form {
            TowerForm::Configured(config, _) => config.hidden_size,
            TowerForm::Shown(shape) => shape.width,
        }
    }

    /// What is known of it once its role is.
    ///
    /// # Errors
    /// When its shapes make no text encoder.
    pub fn take(self, role: Role) -> Result<TowerConfig, CheckpointError> {
        let path = self.source.path();
        let (config, padding) = match self.form {
            TowerForm::Configured(config, padding) => (*config, padding.unwrap_or(role.padding())),
            TowerForm::Shown(shape) => match text::config(&shape, role) {
                Ok(config) => (config, role.padding()),
                Err(error) => return Err(CheckpointError::Damaged { problem: error.to_string(), path }),
            },
        };
        Ok(TowerConfig { config, hidden_states: role.hidden_states(), padding, source: self.source })
    }
}

/// Out of `found`, the best first, those whose widths add up to `context`: two for XL, else one. Every companion has to
/// be of use.
///
/// # Errors
/// When there are none, naming what there is; `path` is the model's.
pub(super) fn choose(
    mut found: Vec<FoundTower>,
    (context, is_xl): (usize, bool),
    path: &Path,
) -> Result<Vec<FoundTower>, CheckpointError> {
    let widths: Vec<usize> = found.iter().map(FoundTower::width).collect();
    let companions: HashSet<&PathBuf> = found.iter().filter_map(|tower| tower.companion.as_ref()).collect();
    let count = found.len();
    let pairs = (0..count).flat_map(|first| (first + 1..count).map(move |second| vec![first, second]));
    let is_enough = |chosen: &Vec<usize>| {
        let used: HashSet<&PathBuf> = chosen.iter().filter_map(|&at| found[at].companion.as_ref()).collect();
        chosen.iter().map(|&at| widths[at]).sum::<usize>() == context && used == companions
    };
    let chosen = pairs.filter(|_| is_xl).chain((0..count).map(|only| vec![only])).find(is_enough);
    let Some(mut chosen) = chosen else { return Err(misfit(&found, (context, is_xl), path)) };
    // The narrower is CLIP ViT-L.
    chosen.sort_by_key(|&at| widths[at]);
    let mut towers: Vec<Option<FoundTower>> = found.drain(..).map(Some).collect();
    Ok(chosen.into_iter().filter_map(|at| towers[at].take()).collect())
}

fn misfit(found: &[FoundTower], (context, is_xl): (usize, bool), path: &Path) -> CheckpointError {
    let path = path.to_owned();
    if found.is_empty() {
        let part = if is_xl { "text encoders (conditioner.embedders)" } else { "text encoder (cond_stage_model)" };
        return CheckpointError::MissingPart { part, option: "--text-encoder", path };
    }
    let name = |tower: &FoundTower| {
        let name = tower.companion.as_deref().and_then(Path::file_name);
        name.map_or_else(|| "the model's own".to_owned(), |name| name.to_string_lossy().into_owned())
    };
    let found: Vec<String> = found.iter().map(|tower| format!("{} ({})", name(tower), tower.width())).collect();
    let wanted = match context {
        768 => "CLIP-L's (768)",
        1024 => "OpenCLIP-H's (1024)",
        1280 => "OpenCLIP bigG's (1280)",
        2048 => "those of CLIP-L (768) and OpenCLIP bigG (1280)",
        _ => "texts of another width",
    };
    CheckpointError::TextEncoders { wanted, context, found: found.join(", "), path }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::original_names::PartNames;

    fn tower(width: usize, companion: Option<&str>) -> FoundTower {
        let shape = TowerShape {
            vocab_size: 49408,
            width,
            intermediate: 4 * width,
            layers: 12,
            positions: 77,
            projection: None,
            is_open_clip: width > 768,
        };
        let source = PartSource::File { path: "/m".into(), names: PartNames::as_asked() };
        FoundTower { form: TowerForm::Shown(shape), source, companion: companion.map(PathBuf::from) }
    }

    #[test]
    fn chunks_are_filled_with_what_the_tokenizer_fills_them_with() {
        for role in [Role::First, Role::Second, Role::XlFirst, Role::XlLast] {
            assert_eq!(role.padding(), role.tokenizer(77).unwrap().marks().padding, "{role:?}");
        }
    }

    fn chosen(found: Vec<FoundTower>, context: usize, is_xl: bool) -> Result<Vec<(usize, Option<PathBuf>)>, String> {
        let chosen = choose(found, (context, is_xl), Path::new("/m")).map_err(|error| error.to_string())?;
        Ok(chosen.into_iter().map(|tower| (tower.width(), tower.companion)).collect())
    }

    #[test]
    fn which_is_which_shows_by_the_widths_and_companions_come_first() {
        let (l, g) = (|from| tower(768, from), |from| tower(1280, from));
        let both = chosen(vec![g(Some("g")), l(Some("l"))], 2048, true).unwrap();
        assert_eq!(both, [(768, Some("l".into())), (1280, Some("g".into()))]);
        let mixed = chosen(vec![g(Some("g")), l(None), g(None)], 2048, true).unwrap();
        assert_eq!(mixed, [(768, None), (1280, Some("g".into()))]);
        assert_eq!(chosen(vec![l(None), g(None)], 1280, true).unwrap(), [(1280, None)], "the refiner has one");
        assert_eq!(chosen(vec![l(Some("l")), l(None)], 768, false).unwrap(), [(768, Some("l".into()))]);
    }

    #[test]
    fn what_does_not_fit_is_named_with_what_would() {
        let error = chosen(vec![tower(1280, Some("/t/clip_g.safetensors")), tower(768, None)], 768, false).unwrap_err();
        for part in ["clip_g.safetensors (1280)", "CLIP-L's (768)", "/m"] {
            assert!(error.contains(part), "{error}");
        }
        let error = chosen(vec![tower(768, Some("l"))], 2048, true).unwrap_err();
        assert!(error.contains("CLIP-L (768) and OpenCLIP bigG (1280)"), "{error}");
        let error = chosen(Vec::new(), 2048, true).unwrap_err();
        assert!(error.contains("no text encoders (conditioner.embedders) inside") && error.contains("--text-encoder"));
    }
}
