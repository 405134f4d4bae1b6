//! The window with nothing faked: the built-in model, the gallery on disk.

use calotype::app::{App, Crew, StudioOptions};
use calotype::downloads::{self, Surroundings};
use calotype::gallery;
use calotype::inference;
use calotype::inference::device::DeviceChoice;
use calotype::library::{self, Places};
use calotype::request::Precision;
use calotype::state::Persisted;
use egui::accesskit::Role;
use egui::{Key, Modifiers};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable as _;

/// Frames that a test waits for something, 10 ms each: minutes, which only a hang uses up.
const PATIENCE: usize = 30_000;

fn open(gallery_folder: &std::path::Path) -> Harness<'static, App> {
    let engine = |wake| inference::spawn(DeviceChoice::Cpu, Precision::F32, wake);
    let models_folder = gallery_folder.join("models");
    let places = Places::new(models_folder.clone(), gallery_folder, gallery_folder);
    let gallery_folder = gallery_folder.to_owned();
    let options = StudioOptions { gallery_folder, models_folder, storage_file: None, model: None };
    let listing = move |wake| library::spawn(places.clone(), wake);
    let fetching = |wake| downloads::spawn(Surroundings::of(&|_| None), wake);
    let crew = Crew::new(engine, gallery::spawn, listing, fetching);
    let app = App::new(&egui::Context::default(), options, crew, Persisted::default());
    Harness::builder().with_size([1280.0, 800.0]).with_context_setup(calotype::ui::theme::install).build_ui_state(
        |ui, app: &mut App| {
            app.tick(&ui.ctx().clone());
            app.draw(ui);
        },
        app.unwrap(),
    )
}

#[track_caller]
fn wait_for(window: &mut Harness<'static, App>, what: &str, mut is_there: impl FnMut(&Harness<'static, App>) -> bool) {
    for _ in 0..PATIENCE {
        window.step();
        if is_there(window) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("waited in vain for {what}");
}

fn shows(window: &Harness<'static, App>, text: &str) -> bool {
    window.query_all_by_label_contains(text).next().is_some()
}

#[test]
fn a_prompt_typed_before_the_model_is_loaded_becomes_a_picture_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let gallery = folder.path().join("pictures");
    let mut window = open(&gallery);
    window.step();
    window.get_by_role_and_label(Role::MultilineTextInput, "Prompt").type_text("a glossy fox on a sky blue background");
    window.step();
    window.key_press_modifiers(Modifiers::COMMAND, Key::Enter);
    wait_for(&mut window, "a preview", |window| shows(window, "Step "));
    wait_for(&mut window, "the picture in the gallery", |window| shows(window, "Use these settings"));
    let is_saved = |_: &Harness<'static, App>| {
        std::fs::read_dir(&gallery)
            .is_ok_and(|files| files.flatten().any(|f| !f.file_name().to_string_lossy().starts_with('.')))
    };
    wait_for(&mut window, "the file", is_saved);
    let file = std::fs::read_dir(&gallery).unwrap().next().unwrap().unwrap().path();
    let picture = gallery::open_picture(&file).unwrap();
    assert_eq!(picture.image.dimensions(), (192, 192));
    let record = picture.record.unwrap();
    assert_eq!(record.request.prompt, "a glossy fox on a sky blue background");
    assert_eq!(record.model, "Calotype starter");
    // A fox is orange, the background sky blue.
    let [corner, centre] = [picture.image.get_pixel(3, 3).0, picture.image.get_pixel(96, 120).0];
    assert!(corner[2] > corner[0] + 40, "the background is {corner:?}");
    assert!(centre != corner);
}
