//! Pictures in progress that a TAESD decodes: which one is chosen, and what the canvas shows.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use calotype::app::{Errand, Report};
use calotype::inference::message::{Event as EngineEvent, ModelFacts, ModelSource};
use calotype::library::index::LibraryIndex;
use calotype::library::message::{Activity, Entry, Event, Family, KindGroup, ModelKind};
use calotype::state::Persisted;
use calotype::state::action::Question;
use calotype::state::previews::PreviewChoice;

use crate::studio::{Studio, facts, latents, picture, ready_event};
use crate::window_models::{entry, folder};

fn taesd(path: &str) -> Entry {
    let mut taesd = entry(KindGroup::Taesd, "x", Family::Sd1);
    taesd.path = path.into();
    taesd.name = Path::new(path).file_stem().unwrap().to_string_lossy().into_owned();
    taesd.card =
        taesd.card.map(|card| calotype::library::message::Card { kind: ModelKind::Taesd, family: None, ..card });
    taesd
}

fn lists(paths: &[&str]) -> Event {
    Event::Changed(Arc::new(LibraryIndex {
        entries: paths.iter().map(|path| Arc::new(taesd(path))).collect(),
        folders: vec![folder("/own", true)],
        activity: Activity::Idle,
    }))
}

/// A window whose model and choice are these, with the usual files in its library.
fn window(source: ModelSource, has_xl_latents: bool, choice: PreviewChoice) -> Studio {
    let mut persisted = Persisted::default();
    persisted.settings.model = source.clone();
    persisted.settings.previews = choice;
    let mut studio = Studio::open_with(persisted, [1280.0, 900.0]);
    studio.ready();
    let facts = ModelFacts { has_xl_latents, ..facts(source) };
    studio.engine_says(EngineEvent::ModelFound(Box::new(facts)));
    studio.library_says(lists(&[
        "/m/models/VAE-approx/model.safetensors",
        "/m/models/vae_approx/taesdxl_decoder.pth",
        "/m/models/vae_approx/taesd_decoder.pth",
    ]));
    studio
}

fn on_disk() -> ModelSource {
    ModelSource::OnDisk("/m/foxes.safetensors".into())
}

fn decoder_of_next_job(studio: &mut Studio) -> Option<PathBuf> {
    studio.press_generate();
    studio.one_job().preview_decoder
}

#[test]
fn the_decoder_is_the_one_made_for_the_model() {
    let chosen = |source, is_xl| {
        let mut studio = window(source, is_xl, PreviewChoice::Automatic);
        studio.library_says(lists(&["/m/taesdxl_decoder.pth", "/m/taesd/diffusion_pytorch_model.safetensors"]));
        decoder_of_next_job(&mut studio)
    };
    assert_eq!(chosen(on_disk(), true), Some("/m/taesdxl_decoder.pth".into()));
    assert_eq!(chosen(on_disk(), false), Some("/m/taesd/diffusion_pytorch_model.safetensors".into()));
    assert_eq!(chosen(ModelSource::BuiltIn, false), None);
    let mut studio = window(on_disk(), true, PreviewChoice::Automatic);
    assert_eq!(decoder_of_next_job(&mut studio), Some("/m/models/vae_approx/taesdxl_decoder.pth".into()));
    let mut studio = window(on_disk(), true, PreviewChoice::Quick);
    assert_eq!(decoder_of_next_job(&mut studio), None);
}

#[test]
fn a_file_of_the_users_choice_is_used_and_remembered() {
    let mut studio = window(on_disk(), false, PreviewChoice::Quick);
    studio.click("Settings");
    studio.assert_sees("Rough, at no cost");
    studio.click("TAESD file…");
    let asked = studio.desktop.take_all();
    assert!(matches!(&asked[..], [Errand::Ask(Question::PreviewDecoder)]), "{asked:?}");
    studio.desktop.say(Report::Chosen(Question::PreviewDecoder, "/t/mine.pth".into()));
    studio.window().run();
    studio.assert_sees("Sharp, by mine.pth");
    studio.click("Close");
    assert_eq!(decoder_of_next_job(&mut studio), Some("/t/mine.pth".into()));
    let stored = calotype::app::read_stored(&studio.harness.state().stored());
    assert_eq!(stored.settings.previews, PreviewChoice::File("/t/mine.pth".into()));
}

#[test]
fn a_decoded_step_stays_until_the_next_decoded_one() {
    let mut studio = window(on_disk(), false, PreviewChoice::Automatic);
    let EngineEvent::ModelReady { colours, .. } = ready_event() else { panic!("not ready") };
    studio.engine_says(EngineEvent::ModelReady { facts: Box::new(facts(on_disk())), colours, seconds: 0.2 });
    studio.press_generate();
    let job = studio.one_job().id;
    studio.engine_says(EngineEvent::Started { job });
    let step = |step, picture| EngineEvent::Step { job, step, steps: 20, preview: latents(), picture };
    let shown = |studio: &Studio| {
        let developing = studio.harness.state().studio().canvas.shown_developing();
        developing.and_then(|developing| developing.picture.clone())
    };
    studio.engine_says(step(1, None));
    assert!(shown(&studio).is_none());
    studio.engine_says(step(2, Some(picture())));
    assert_eq!(shown(&studio), Some(picture()));
    studio.engine_says(step(3, None));
    assert_eq!(shown(&studio), Some(picture()));
    studio.assert_sees("Preview of the picture in progress");
}
