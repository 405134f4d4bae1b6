//! `calotype verify`: renders a picture's recipe again and says whether the pixels agree.

use std::sync::Arc;

use image::RgbImage;
use serde_json::{Value, json};

use super::Failure;
use super::models;
use super::networks::KnownFiles;
use super::picture_options::VerifyOptions;
use super::report::Report;
use super::session::{Ordered, Session};
use crate::gallery::likeness::{ALIKE_DB, Likeness};
use crate::gallery::message::OpenedPicture;
use crate::gallery::record::ReadRecipe;
use crate::gallery::{open_picture, remake};
use crate::inference::message::{JobId, ModelFacts, ModelSource};
use crate::request::{Companions, GenerationRequest, PrecisionChoice, RecordedVae};

/// What came of it.
enum Verdict {
    /// The picture was made again.
    Compared {
        likeness: Likeness,
        /// The file kept its pixels with losses, so that no more than a likeness can be asked.
        is_lossy: bool,
        /// What has to be known beside the figures.
        notes: Vec<String>,
    },
    /// It cannot be made here, for these reasons.
    Impossible(Vec<String>),
}

pub(super) fn run(options: &VerifyOptions) -> Result<(), Failure> {
    let mut report = Report::new(options.json);
    let verdict = verdict(options);
    match &verdict {
        Ok(verdict) => report.answer(&verdict.to_json(), &verdict.to_string()),
        Err(Failure::Usage(error) | Failure::Work(error)) => report.failed(None, error),
        Err(Failure::Interrupted) => report.cancelled(None),
        Err(Failure::Told) => {}
    }
    if verdict?.is_same() { Ok(()) } else { Err(Failure::Told) }
}

fn verdict(options: &VerifyOptions) -> Result<Verdict, Failure> {
    let picture = open_picture(&options.image).map_err(|error| Failure::Work(error.for_people()))?;
    let request = match remake::request_of(&picture).and_then(|request| of_this_size(request, &picture)) {
        Ok(request) => request,
        Err(reasons) => return Ok(Verdict::Impossible(reasons)),
    };
    let start_image = match (&request.image_to_image, &options.init) {
        (None, None) => None,
        (Some(_), Some(path)) => Some(open_picture(path).map_err(|error| Failure::Usage(error.for_people()))?.image),
        (Some(start), None) => {
            let reason = format!("it was begun from {}, which is not here: name it with --init", start.source);
            return Ok(Verdict::Impossible(vec![reason]));
        }
        (None, Some(_)) => {
            return Err(Failure::Usage("the recipe begins from noise alone: leave out --init".to_owned()));
        }
    };
    render_and_compare(options, &picture, request, start_image)
}

/// A picture that was scaled or cut is no longer what its recipe draws.
fn of_this_size(request: GenerationRequest, picture: &OpenedPicture) -> Result<GenerationRequest, Vec<String>> {
    let (width, height) = picture.image.dimensions();
    if (request.size.width(), request.size.height()) == (width, height) {
        return Ok(request);
    }
    Err(vec![format!("the picture is {width}x{height}, and its recipe draws {}", request.size)])
}

fn render_and_compare(
    options: &VerifyOptions,
    picture: &OpenedPicture,
    request: GenerationRequest,
    start_image: Option<Arc<RgbImage>>,
) -> Result<Verdict, Failure> {
    let recipe = picture.recipe.clone().unwrap_or_default();
    let named = options.model.as_deref().map(models::resolve).transpose()?;
    // The recipe's own model, which may be called otherwise here.
    let own = if named.is_none() { models::recorded_model(&recipe) } else { None };
    let is_own = own.is_some();
    let model = named.or(own);
    let (companions, missing) = companions(options, &recipe)?;
    if let Some(missing) = missing {
        return Ok(Verdict::Impossible(vec![missing]));
    }
    let is_vae_known = companions.vae.is_some();
    let mut files = KnownFiles::of(&options.networks, &[])?;
    if let Some(record) = &picture.record {
        files.take_recipe(&record.adapters, request.dialect)?;
    }
    let mut other_files = Vec::new();
    let precision = recipe.precision.as_deref().and_then(|name| name.parse().ok());
    let precision = PrecisionChoice::Always(options.precision.or(precision).unwrap_or_default());
    let mut session = Session::start((options.device, options.threads), Report::new(options.json))?;
    let (mut notes, mut refusal) = (Vec::new(), None);
    let other = |facts: &ModelFacts| if is_own { None } else { other_model(&recipe, &facts.name) };
    let check = |facts: &ModelFacts| match other(facts) {
        None => match recipe.vae.as_ref().filter(|named| !is_vae_known && !is_called(facts, named)) {
            None => Ok(()),
            Some(RecordedVae { name, .. }) => {
                refusal = Some(format!("it was made with the VAE {name}, which is not here: name it with --vae"));
                Err(Failure::Told)
            }
        },
        Some(named) if options.model.is_some() => {
            notes.push(format!("the file names {named}; {} was used", facts.name));
            Ok(())
        }
        Some(named) => {
            refusal = Some(format!("it was made with {named}, not with {}: name it with --model", facts.name));
            Err(Failure::Told)
        }
    };
    let source = model.map_or(ModelSource::BuiltIn, ModelSource::OnDisk);
    let (mut vae, mut card) = (None, None);
    let drawn = session.load((source, companions, precision), check).and_then(|(facts, _)| {
        (vae, card) = (facts.vae.clone(), facts.card.clone());
        let networks = files.called(&request, facts.tokenizer.as_deref())?;
        let recorded = files.recorded(&networks)?;
        other_files = picture.record.as_ref().map_or_else(Vec::new, |record| recorded.differing_from(record));
        session.draw(JobId(0), Ordered { request, start_image, networks, preview_decoder: None }, |_, _, _| Ok(()))
    });
    session.end();
    if let Some(reason) = refusal {
        return Ok(Verdict::Impossible(vec![reason]));
    }
    let drawn = drawn?;
    notes.extend(other_files);
    notes.extend(other_vae(recipe.vae.as_ref(), vae.as_ref()));
    notes.extend(recipe.other_card(card.as_deref()).map(computed_elsewhere));
    if recipe.noise_source.is_none() {
        notes.push("the file does not say which generator drew the noise; torch-cpu was taken".to_owned());
    }
    let likeness = Likeness::of(&picture.image, &drawn.image)
        .ok_or_else(|| Failure::Work("the engine drew a picture of another size".to_owned()))?;
    Ok(Verdict::Compared { likeness, is_lossy: picture.is_lossy, notes })
}

/// The file's model in words, when it is not known to be the one at hand. A folder's name is all that can be compared:
/// hashes in files are those of single-file models.
fn other_model(recipe: &ReadRecipe, at_hand: &str) -> Option<String> {
    match (&recipe.model, &recipe.model_hash) {
        (Some(model), _) if bare_name(model).eq_ignore_ascii_case(bare_name(at_hand)) => None,
        (Some(model), Some(hash)) => Some(format!("{model} (hash {hash})")),
        (Some(model), None) => Some(model.clone()),
        (None, Some(hash)) => Some(format!("a model of hash {hash}")),
        (None, None) => Some("no model".to_owned()),
    }
}

/// What the options name, and for what they do not the recipe's, with the reason why that is not to be had.
fn companions(options: &VerifyOptions, recipe: &ReadRecipe) -> Result<(Companions, Option<String>), Failure> {
    let mut companions = options.companions.resolve()?;
    companions.vae = companions.vae.or_else(|| recipe.vae.as_ref().and_then(models::recorded_vae));
    companions.prediction = companions.prediction.or(recipe.prediction);
    let mut missing = None;
    if companions.text_encoders.is_empty() {
        for name in &recipe.text_encoders {
            if let Some(path) = models::recorded_text_encoder(name) {
                companions.text_encoders.push(path);
            } else {
                let reason = "which is not here: name it with --text-encoder";
                missing = Some(format!("it was made with the text encoder {name}, {reason}"));
            }
        }
    }
    Ok((companions, missing))
}

fn is_called(facts: &ModelFacts, named: &RecordedVae) -> bool {
    facts.vae.as_ref().is_some_and(|used| used.name.eq_ignore_ascii_case(&named.name))
}

/// Where the picture was computed, and where it was now.
fn computed_elsewhere((made, here): (&str, &str)) -> String {
    format!("it was computed on {made}, and here on {here}")
}

/// How the VAE that was used is not the one that the file names.
fn other_vae(named: Option<&RecordedVae>, used: Option<&RecordedVae>) -> Option<String> {
    match (named, used) {
        (None, None) => None,
        (None, Some(used)) => Some(format!("the file names no VAE; {} was used", used.name)),
        (Some(named), None) => Some(format!("the file names the VAE {}; the model's own was used", named.name)),
        (Some(named), Some(used)) => match (&named.hash, &used.hash) {
            (Some(hash), Some(other)) if hash.eq_ignore_ascii_case(other) => None,
            (Some(hash), Some(other)) => {
                Some(format!("the VAE {} is another file (hash {other} and not {hash})", used.name))
            }
            _ if named.name.eq_ignore_ascii_case(&used.name) => None,
            _ => Some(format!("the file names the VAE {}; {} was used", named.name, used.name)),
        },
    }
}

/// A model's name without folders and the endings of its file.
fn bare_name(name: &str) -> &str {
    let name = name.rsplit(['/', '\\']).next().unwrap_or(name);
    let ending = [".safetensors", ".ckpt", ".gguf"].into_iter().find_map(|ending| name.strip_suffix(ending));
    ending.unwrap_or(name)
}

impl Verdict {
    fn is_same(&self) -> bool {
        match self {
            Self::Compared { likeness, is_lossy: true, .. } => likeness.psnr_db >= ALIKE_DB,
            Self::Compared { likeness, is_lossy: false, .. } => likeness.is_exact(),
            Self::Impossible(_) => false,
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Compared { likeness, is_lossy, notes } => json!({
                "event": "verified",
                "result": if self.is_same() { "same" } else { "different" },
                "is_lossy": is_lossy,
                "pixels": likeness.pixels,
                "different": likeness.different,
                "largest": likeness.largest,
                // Null for equal pictures, whose ratio is infinite.
                "psnr_db": likeness.psnr_db,
                "notes": notes,
            }),
            Self::Impossible(reasons) => json!({"event": "verified", "result": "impossible", "reasons": reasons}),
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (likeness, is_lossy, notes) = match self {
            Self::Compared { likeness, is_lossy, notes } => (likeness, is_lossy, notes),
            Self::Impossible(reasons) => {
                write!(f, "this picture cannot be made again here:")?;
                return reasons.iter().try_for_each(|reason| write!(f, "\n  {reason}"));
            }
        };
        let Likeness { pixels, different, largest, psnr_db } = likeness;
        let word = if self.is_same() { "the same" } else { "different" };
        if likeness.is_exact() {
            write!(f, "the same: all {pixels} pixels agree")?;
        } else if *is_lossy {
            write!(
                f,
                "{word}, as far as a lossy file tells: {psnr_db:.1} dB, and {ALIKE_DB} dB are taken for the same"
            )?;
        } else {
            write!(f, "{word}: {different} of {pixels} pixels, by at most {largest} of 255 ({psnr_db:.1} dB)")?;
        }
        notes.iter().try_for_each(|note| write!(f, "\n  {note}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_known_by_its_bare_name() {
        let with = |model: Option<&str>, hash: Option<&str>| ReadRecipe {
            model: model.map(str::to_owned),
            model_hash: hash.map(str::to_owned),
            ..ReadRecipe::default()
        };
        assert_eq!(other_model(&with(Some("sd\\V1-5.safetensors"), None), "v1-5"), None);
        assert_eq!(other_model(&with(Some("v2"), Some("ab")), "v1-5").as_deref(), Some("v2 (hash ab)"));
        assert_eq!(other_model(&with(None, Some("ab")), "v1-5").as_deref(), Some("a model of hash ab"));
        assert_eq!(other_model(&with(None, None), "v1-5").as_deref(), Some("no model"));
    }
}
