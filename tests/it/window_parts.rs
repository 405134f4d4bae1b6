//! Parts from other files in the window: chosen beside a model, remembered, asked for by recipes.

use std::sync::Arc;

use calotype::app::{Errand, Report, read_stored};
use calotype::gallery::message as gallery;
use calotype::inference::message::{Command as EngineCommand, Event as EngineEvent, ModelSource};
use calotype::library::index::LibraryIndex;
use calotype::library::message::{Activity, Entry, Event, Family, Hashes, KindGroup, ModelKind};
use calotype::request::{Companions, PredictionOverride, RecordedVae};
use calotype::state::action::Question;
use egui::Key;
use egui_kittest::kittest::Queryable as _;

use crate::studio::{Studio, facts, opened, picture, ready_event};
use crate::window_models::{entry, folder};

const MODEL: &str = "/m/foxes.safetensors";
const VAE: &str = "/m/ft-mse.safetensors";
const CLIP: &str = "/m/clip_l.safetensors";

fn part(group: KindGroup, kind: ModelKind, name: &str) -> Entry {
    let mut part = entry(group, name, Family::Sd1);
    if let Ok(card) = &mut part.card {
        card.kind = kind;
    }
    part
}

/// With a model on disk loaded, and a VAE and a text encoder in the library.
fn drawing_with_foxes() -> Studio {
    let mut studio = Studio::open_ready();
    let mut vae = part(KindGroup::Vae, ModelKind::Vae, "ft-mse");
    vae.hashes = Some(Hashes { sha256: "cd".repeat(32), old: None, after_header: None });
    let entries = [
        entry(KindGroup::Checkpoint, "foxes", Family::Sd1),
        vae,
        part(KindGroup::TextEncoder, ModelKind::TextEncoder, "clip_l"),
    ];
    studio.library_says(Event::Changed(Arc::new(LibraryIndex {
        entries: entries.into_iter().map(Arc::new).collect(),
        folders: vec![folder("/m", false)],
        activity: Activity::Idle,
    })));
    studio.click("Models…");
    studio.press(Key::ArrowDown);
    studio.press(Key::Enter);
    assert_eq!(loads(&studio), [Companions::default()]);
    foxes_ready(&mut studio, &Companions::default(), None);
    studio
}

/// The engine has loaded the model with these.
fn foxes_ready(studio: &mut Studio, companions: &Companions, vae: Option<RecordedVae>) {
    let EngineEvent::ModelReady { colours, seconds, .. } = ready_event() else { panic!("no model") };
    let mut facts = Box::new(facts(ModelSource::OnDisk(MODEL.into())));
    (facts.name, facts.companions, facts.vae) = ("foxes".into(), companions.clone(), vae);
    studio.engine_says(EngineEvent::ModelReady { facts, colours, seconds });
}

fn loads(studio: &Studio) -> Vec<Companions> {
    let commands = studio.engine().take_all().into_iter();
    let loads = commands.filter_map(|command| match command {
        EngineCommand::Load(order) => {
            assert_eq!(order.source, ModelSource::OnDisk(MODEL.into()));
            Some(order.companions)
        }
        EngineCommand::Generate(_) => None,
    });
    loads.collect()
}

fn with_vae(path: &str) -> Companions {
    Companions { vae: Some(path.into()), ..Companions::default() }
}

/// Opens the choosers of the model at hand from the menu of models.
fn open_parts(studio: &mut Studio) {
    studio.window().get_by_role_and_label(egui::accesskit::Role::ComboBox, "Model").click();
    studio.window().run();
    studio.click("Parts from other files…");
}

/// Opens a list and chooses from it.
fn choose(studio: &mut Studio, list: &str, entry: &str) {
    studio.window().get_by_role_and_label(egui::accesskit::Role::ComboBox, list).click();
    studio.window().run();
    studio.click(entry);
}

#[test]
fn a_vae_chosen_beside_the_model_loads_it_again_and_is_remembered() {
    let mut studio = drawing_with_foxes();
    open_parts(&mut studio);
    choose(&mut studio, "VAE", "ft-mse");
    assert_eq!(loads(&studio), [with_vae(VAE)]);
    let stored = read_stored(&studio.window().state().stored());
    assert_eq!(stored.settings.companions_of(&ModelSource::OnDisk(MODEL.into())), with_vae(VAE));
    assert_eq!(stored.settings.companions_of(&ModelSource::OnDisk("/other".into())), Companions::default());
    // Its own, whatever lies beside it.
    choose(&mut studio, "VAE", "The model's own");
    assert_eq!(loads(&studio), [with_vae(MODEL)]);
}

#[test]
fn text_encoders_are_added_and_taken_off_and_the_prediction_is_chosen() {
    let mut studio = drawing_with_foxes();
    open_parts(&mut studio);
    choose(&mut studio, "Text encoders", "clip_l");
    let clip = || Companions { text_encoders: vec![CLIP.into()], ..Companions::default() };
    assert_eq!(loads(&studio), [clip()]);
    studio.click("v");
    assert_eq!(loads(&studio), [Companions { prediction: Some(PredictionOverride::V), ..clip() }]);
    studio.click("Take clip_l.safetensors off");
    studio.window().get_all_by_label("Automatic").last().unwrap().click();
    studio.window().run();
    let all = loads(&studio);
    assert_eq!(all.last(), Some(&Companions::default()), "{all:?}");
    assert!(read_stored(&studio.window().state().stored()).settings.companions.is_empty());
}

#[test]
fn a_file_of_the_dialog_becomes_the_models_vae() {
    let mut studio = drawing_with_foxes();
    open_parts(&mut studio);
    choose(&mut studio, "VAE", "Choose file…");
    let question = Question::Vae(MODEL.into());
    assert!(matches!(&studio.desktop.take_all()[..], [Errand::Ask(asked)] if *asked == question));
    studio.desktop.say(Report::Chosen(question, "/elsewhere/other.pt".into()));
    studio.window().run();
    assert_eq!(loads(&studio), [with_vae("/elsewhere/other.pt")]);
}

#[test]
fn news_of_a_load_with_other_parts_is_ignored() {
    let mut studio = drawing_with_foxes();
    open_parts(&mut studio);
    choose(&mut studio, "VAE", "ft-mse");
    studio.press(Key::Escape);
    // The load that was still under way without the VAE.
    foxes_ready(&mut studio, &Companions::default(), None);
    studio.assert_sees("Loading…");
    foxes_ready(&mut studio, &with_vae(VAE), Some(RecordedVae { name: "ft-mse.safetensors".into(), hash: None }));
    studio.assert_sees_not("Loading…");
}

/// Shows a picture that was made with this VAE.
fn show_made_with(studio: &mut Studio, vae: RecordedVae) {
    let mut picture = opened("/p.png");
    let recipe = picture.recipe.as_mut().unwrap();
    (recipe.model, recipe.vae) = (Some("foxes".into()), Some(vae));
    show(studio, picture);
}

/// Opens a picture and takes its settings over.
fn show(studio: &mut Studio, picture: gallery::OpenedPicture) {
    studio.window().get_by_label("Open a picture…").click();
    studio.window().run();
    studio.desktop.say(Report::Chosen(Question::Picture, "/p.png".into()));
    studio.window().run();
    studio.gallery_says(gallery::Event::Opened(Box::new(picture)));
    studio.click("Use these settings");
}

#[test]
fn a_recipes_vae_is_found_by_its_hash_under_another_name() {
    let mut studio = drawing_with_foxes();
    show_made_with(&mut studio, RecordedVae { name: "old-name.pt".into(), hash: Some("cdcdcdcdcd".into()) });
    assert_eq!(loads(&studio), [with_vae(VAE)]);
    studio.assert_sees("Settings taken over");
}

#[test]
fn a_picture_of_ours_brings_its_prediction_and_text_encoders_back() {
    let mut studio = drawing_with_foxes();
    let mut picture = opened("/p.png");
    let recipe = picture.recipe.as_mut().unwrap();
    (recipe.model, recipe.tool) = (Some("foxes".into()), Some("Calotype".into()));
    (recipe.prediction, recipe.text_encoders) = (Some(PredictionOverride::V), vec!["clip_l.safetensors".into()]);
    show(&mut studio, picture);
    let expected = Companions { vae: None, text_encoders: vec![CLIP.into()], prediction: Some(PredictionOverride::V) };
    assert_eq!(loads(&studio), [expected]);
}

#[test]
fn a_recipes_vae_that_is_not_here_is_told() {
    let mut studio = drawing_with_foxes();
    show_made_with(&mut studio, RecordedVae { name: "lost.pt".into(), hash: Some("0123456789".into()) });
    assert_eq!(loads(&studio), []);
    studio.assert_sees("made with the VAE lost.pt, which is not in the library");
}

#[test]
fn the_vae_that_decoded_a_picture_is_in_its_recipe() {
    let mut studio = drawing_with_foxes();
    studio.type_prompt("a fox");
    studio.press_generate();
    let job = studio.one_job();
    let vae = Some(RecordedVae { name: "ft-mse.safetensors".into(), hash: Some("cdcdcdcdcd".into()) });
    let sampling = EngineEvent::Sampling {
        job: job.id,
        steps: 20,
        adapters: Vec::new(),
        embeddings: Vec::new(),
        vae: vae.clone(),
    };
    studio.engine_says(sampling);
    studio.engine_says(EngineEvent::Finished { job: job.id, image: picture(), seconds: 1.0 });
    let saved = studio.gallery.take_all().into_iter().find_map(|command| match command {
        gallery::Command::Save { record, .. } => Some(record),
        _ => None,
    });
    assert_eq!(saved.unwrap().vae, vae);
}
