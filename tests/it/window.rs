//! The window as its user finds it: by what stands on it, with an engine and a gallery that do what the test says.

use std::path::PathBuf;

use calotype::app::{Errand, Report, read_stored};
use calotype::gallery::message::{self as gallery, Entry};
use calotype::inference::message::{self as engine, JobId, ModelOrder, ModelSource};
use calotype::request::{Companions, Seed};
use calotype::state::Persisted;
use egui::Key;
use egui::accesskit::Role;
use egui_kittest::kittest::Queryable as _;

use crate::studio::{Studio, defaults, found, opened, picture, step};

#[test]
fn a_typed_prompt_and_ctrl_enter_send_the_right_request() {
    let mut studio = Studio::open_ready();
    studio.type_into("Negative prompt", "blur");
    studio.type_prompt("a fox");
    studio.press_generate();
    let request = studio.one_job().request;
    assert_eq!((request.prompt.as_str(), request.negative_prompt.as_str()), ("a fox", "blur"));
    assert_eq!(
        (request.size, request.steps, request.guidance),
        (defaults().size, defaults().steps, defaults().guidance)
    );
    let form = &studio.window().state().studio().form;
    assert_eq!(form.prompt, "a fox", "Ctrl+Enter became a line break");
    assert_eq!(form.seed, request.seed.to_string(), "the seed that was used is not shown");
    assert!(u32::try_from(request.seed.0).is_ok());
}

#[test]
fn the_prompt_has_the_focus_when_the_window_opens() {
    let mut studio = Studio::open();
    studio.window().run();
    assert!(studio.window().get_by_role_and_label(Role::MultilineTextInput, "Prompt").is_focused());
    studio.window().event(egui::Event::Text("a cat".into()));
    studio.window().run();
    assert_eq!(studio.window().state().studio().form.prompt, "a cat");
}

#[test]
fn generate_before_the_model_is_known_is_remembered() {
    let mut studio = Studio::open();
    assert!(matches!(
        studio.engine().take_all()[..],
        [engine::Command::Load(ModelOrder { source: ModelSource::BuiltIn, .. })]
    ));
    studio.type_prompt("a cat");
    studio.press_generate();
    assert!(studio.jobs().is_empty());
    studio.type_prompt(" and more");
    studio.engine_says(found());
    let request = studio.one_job().request;
    assert_eq!((request.prompt.as_str(), request.size), ("a cat", defaults().size));
    studio.assert_sees("Loading model Calotype starter");
}

#[test]
fn presses_during_a_job_queue_up_and_stop_twice_empties() {
    let mut studio = Studio::open_ready();
    studio.type_prompt("a cat");
    studio.press_generate();
    studio.press_generate();
    studio.press_generate();
    let job = studio.one_job();
    studio.assert_sees("2 in the queue");
    studio.engine_says(engine::Event::Started { job: job.id });
    studio.press(Key::Escape);
    assert!(job.cancel.is_cancelled());
    studio.assert_sees("Stopping");
    studio.press(Key::Escape);
    studio.assert_sees_not("in the queue");
    studio.engine_says(engine::Event::Cancelled { job: job.id });
    assert!(studio.jobs().is_empty());
    studio.assert_sees("Ready");
    let has_focus = studio.window().get_by_role_and_label(Role::MultilineTextInput, "Prompt").is_focused();
    assert!(has_focus, "Escape took the focus from the prompt");
}

#[test]
fn one_stop_leaves_the_rest_of_the_queue() {
    let mut studio = Studio::open_ready();
    studio.press_generate();
    studio.press_generate();
    let first = studio.one_job();
    studio.click("Stop");
    studio.engine_says(engine::Event::Cancelled { job: first.id });
    assert_ne!(studio.one_job().id, first.id);
}

#[test]
fn a_preview_is_followed_by_the_picture_which_is_saved_and_listed() {
    let mut studio = Studio::open_ready();
    studio.press_generate();
    let job = studio.one_job();
    studio.engine_says(engine::Event::Started { job: job.id });
    studio.engine_says(step(job.id, 3));
    studio.assert_sees("Preview of the picture in progress");
    studio.assert_sees("Step 3 / 20");
    studio.engine_says(engine::Event::Decoding { job: job.id, in_tiles: false });
    studio.assert_sees("Decoding the picture");
    let (id, record) = studio.finish(job.id);
    assert_eq!(record.request, job.request);
    studio.assert_sees("Picture: unsaved picture");
    studio.gallery_says(gallery::Event::Saved { id, entry: Entry { path: "/usual/1.png".into() } });
    studio.assert_sees("Picture: 1.png");
    studio.window().get_by_role_and_label(Role::Button, "1.png");
}

#[test]
fn a_stopped_job_leaves_its_last_preview_with_a_note() {
    let mut studio = Studio::open_ready();
    studio.press_generate();
    let job = studio.one_job().id;
    studio.engine_says(engine::Event::Started { job });
    studio.engine_says(step(job, 3));
    studio.press(Key::Escape);
    studio.engine_says(engine::Event::Cancelled { job });
    studio.assert_sees("This is the last preview");
    studio.assert_sees("Stopped");
}

#[test]
fn a_failure_is_shown_and_the_next_job_works() {
    let mut studio = Studio::open_ready();
    studio.press_generate();
    let job = studio.one_job().id;
    studio.engine_says(engine::Event::Failed { job, error: "not a number in the latents at step 4".into() });
    studio.assert_sees("not a number in the latents");
    studio.click("Copy");
    studio.press_generate();
    studio.assert_sees_not("not a number in the latents");
    let job = studio.one_job().id;
    studio.finish(job);
    studio.assert_sees("Picture: unsaved picture");
}

#[test]
fn a_save_that_fails_keeps_the_picture_with_save_as() {
    let mut studio = Studio::open_ready();
    studio.press_generate();
    let job = studio.one_job().id;
    let (id, _) = studio.finish(job);
    studio.gallery_says(gallery::Event::SaveFailed { id, error: "the disk is full".into() });
    studio.assert_sees("the disk is full");
    studio.assert_sees("Picture: unsaved picture");
    studio.click("Try again");
    assert!(matches!(studio.gallery().take_all()[..], [gallery::Command::Save { .. }]));
    studio.gallery_says(gallery::Event::SaveFailed { id, error: "the disk is still full".into() });
    studio.window().get_all_by_role_and_label(Role::Button, "Save as…").next().unwrap().click();
    studio.window().run();
    let Some(Errand::Ask(question)) = studio.desktop.take() else { panic!("no dialog was opened") };
    studio.desktop.say(Report::Chosen(question, "/other/mine".into()));
    studio.window().run();
    let commands = studio.gallery().take_all();
    let [gallery::Command::SaveAs { id, path, .. }] = &commands[..] else { panic!("{commands:?}") };
    assert_eq!(path, &PathBuf::from("/other/mine.png"));
    studio.gallery_says(gallery::Event::Saved { id: *id, entry: Entry { path: path.clone() } });
    studio.assert_sees_not("the disk is still full");
}

#[test]
fn form_and_settings_are_restored() {
    let mut studio = Studio::open_ready();
    studio.type_prompt("a heron");
    studio.click("Settings");
    studio.click("Light");
    let stored = studio.window().state().stored();
    drop(studio);
    let mut studio = Studio::open_with(read_stored(&stored), [900.0, 600.0]);
    studio.ready();
    let state = studio.window().state().studio();
    assert_eq!(state.form.prompt, "a heron");
    assert_eq!(state.settings.theme, calotype::state::settings::ThemeChoice::Light);
}

#[test]
fn a_damaged_store_is_a_first_day() {
    for text in ["", "{", "[]", "{\"form\":3,\"settings\":{\"ui_scale\":\"big\"}}", "{\"form\":{\"count\":0}}"] {
        let persisted = read_stored(text);
        assert_eq!(persisted.form.count, 1);
        assert!((persisted.settings.ui_scale - 1.0).abs() < f32::EPSILON);
    }
}

#[test]
fn a_gallery_picture_opens_with_its_recipe_which_can_be_used() {
    let mut studio = Studio::open_ready();
    let entries = vec![Entry { path: "/usual/2.png".into() }, Entry { path: "/usual/1.png".into() }];
    studio.gallery_says(gallery::Event::Listed { folder: "/usual".into(), entries });
    let wanted = studio.gallery().take_all();
    assert!(matches!(wanted[..], [gallery::Command::Thumbnail(_), gallery::Command::Thumbnail(_)]), "{wanted:?}");
    studio.click("1.png");
    assert!(matches!(&studio.gallery().take_all()[..], [gallery::Command::Open(path)] if path.ends_with("1.png")));
    studio.gallery_says(gallery::Event::Opened(Box::new(opened("/usual/1.png"))));
    studio.assert_sees("a quiet lake");
    studio.click("Use these settings");
    let form = studio.window().state().studio().form.clone();
    assert_eq!((form.prompt.as_str(), form.steps.value, form.seed.as_str()), ("a quiet lake", 31, "77"));
    assert!(form.is_seed_locked);
    studio.click("Use as start image");
    studio.assert_sees("Remove the start image");
    studio.press_generate();
    let job = studio.one_job();
    assert!(job.start_image.is_some() && job.request.image_to_image.is_some());
    assert_eq!(job.request.seed, Seed(77));
}

#[test]
fn what_a_recipe_says_and_the_form_cannot_take_over_is_told_until_the_next_press() {
    let mut studio = Studio::open_ready();
    let entries = vec![Entry { path: "/usual/1.png".into() }];
    studio.gallery_says(gallery::Event::Listed { folder: "/usual".into(), entries });
    studio.click("1.png");
    let mut picture = opened("/usual/1.png");
    let recipe = picture.recipe.as_mut().unwrap();
    recipe.tool = Some("Calotype".into());
    recipe.model = Some("dreams".into());
    recipe.card = Some("NVIDIA H200".into());
    recipe.not_understood = vec!["Hires upscale: 2".into(), "LoRA: ink (0.8)".into()];
    studio.gallery_says(gallery::Event::Opened(Box::new(picture)));
    studio.click("Use these settings");
    let told = "Settings taken over, but: it was made with the model dreams, and Calotype starter is loaded; it \
                was computed on NVIDIA H200, and this window computes on a processor: details may differ; not understood: \
                Hires upscale, LoRA";
    studio.assert_sees(told);
    studio.press_generate();
    studio.assert_sees_not(told);
}

#[test]
fn deleting_asks_first() {
    let mut studio = Studio::open_ready();
    let entries = vec![Entry { path: "/usual/1.png".into() }];
    studio.gallery_says(gallery::Event::Listed { folder: "/usual".into(), entries });
    studio.click("1.png");
    studio.gallery_says(gallery::Event::Opened(Box::new(opened("/usual/1.png"))));
    studio.gallery().take_all();
    studio.click("Delete");
    assert!(studio.gallery().take_all().is_empty());
    studio.click("Move to trash");
    assert!(matches!(&studio.gallery().take_all()[..], [gallery::Command::Delete(_)]));
    studio.gallery_says(gallery::Event::Deleted { path: "/usual/1.png".into() });
    studio.assert_sees("1.png is in the trash");
    assert!(studio.window().state().studio().gallery.entries.is_empty());
}

#[test]
fn an_invalid_size_is_refused_in_place() {
    let mut studio = Studio::open_ready();
    studio.window().get_by_role_and_label(Role::SpinButton, "Width").set_value_accesskit(100.0);
    studio.window().run();
    studio.assert_sees("The width must be a multiple of 8");
    studio.press_generate();
    assert!(studio.jobs().is_empty());
    assert_eq!(studio.window().state().studio().form.size.value.width, 100, "what was typed is lost");
}

#[test]
fn events_of_unknown_jobs_are_ignored() {
    let mut studio = Studio::open_ready();
    studio.press_generate();
    let job = studio.one_job().id;
    let stranger = JobId(999);
    studio.engine_says(engine::Event::Started { job: stranger });
    studio.engine_says(step(stranger, 5));
    studio.engine_says(engine::Event::Finished { job: stranger, image: picture(), seconds: 1.0 });
    studio.engine_says(engine::Event::Failed { job: stranger, error: "not yours".into() });
    studio.assert_sees_not("not yours");
    studio.assert_sees_not("Preview of the picture");
    assert_eq!(studio.window().state().studio().queue.running().map(|running| running.id), Some(job));
}

#[test]
fn a_file_that_is_no_picture_is_an_error_and_nothing_is_lost() {
    let mut studio = Studio::open_ready();
    studio.type_prompt("kept");
    studio.click("Open a picture…");
    let desktop = &studio.desktop;
    let Some(Errand::Ask(question)) = desktop.take() else { panic!("no dialog") };
    desktop.say(Report::Chosen(question, "/tmp/notes.txt".into()));
    studio.window().run();
    let error = "notes.txt is no picture".to_owned();
    studio.gallery_says(gallery::Event::OpenFailed { path: "/tmp/notes.txt".into(), error });
    studio.assert_sees("notes.txt is no picture");
    assert_eq!(studio.window().state().studio().form.prompt, "kept");
}

#[derive(Debug)]
struct Dropped(PathBuf);

impl egui::DroppedFile for Dropped {
    fn path(&self) -> &std::path::Path {
        &self.0
    }

    fn bytes(&self) -> Result<Vec<u8>, String> {
        Err("the window reads nothing itself".into())
    }
}

#[test]
fn a_dropped_picture_is_opened_and_a_dropped_folder_or_checkpoint_is_a_model() {
    let mut studio = Studio::open_ready();
    let drop_on = |studio: &mut Studio, path: &str| {
        studio.window().input_mut().dropped_files.push(std::sync::Arc::new(Dropped(path.into())));
        studio.window().run();
    };
    drop_on(&mut studio, "/somewhere/a.png");
    assert!(matches!(&studio.gallery.take_all()[..], [gallery::Command::Open(path)] if path.ends_with("a.png")));
    let folder = env!("CARGO_MANIFEST_DIR");
    drop_on(&mut studio, folder);
    let commands = studio.engine.take_all();
    assert!(
        matches!(&commands[..], [engine::Command::Load(ModelOrder { source: ModelSource::OnDisk(path), .. })] if path.ends_with(folder))
    );
    drop_on(&mut studio, "/somewhere/model.safetensors");
    let commands = studio.engine.take_all();
    assert!(
        matches!(&commands[..], [engine::Command::Load(ModelOrder { source: ModelSource::OnDisk(path), .. })] if path.ends_with("model.safetensors"))
    );
}

#[test]
fn a_model_file_is_opened_and_found_again_among_the_last_models() {
    let mut studio = Studio::open_ready();
    studio.window().get_by_role_and_label(Role::ComboBox, "Model").click();
    studio.window().run();
    studio.window().get_by_label("Open a model file…").click();
    studio.window().run();
    let desktop = &studio.desktop;
    let Some(Errand::Ask(question)) = desktop.take() else { panic!("no dialog") };
    desktop.say(Report::Chosen(question, "/models/mine.safetensors".into()));
    studio.window().run();
    let source = ModelSource::OnDisk("/models/mine.safetensors".into());
    assert!(
        matches!(&studio.engine().take_all()[..], [engine::Command::Load(ModelOrder { source: asked, .. })] if *asked == source)
    );
    studio.engine_says(engine::Event::ModelFound(Box::new(crate::studio::facts(source))));
    assert_eq!(studio.window().state().studio().settings.recent_models, [PathBuf::from("/models/mine.safetensors")]);
}

#[test]
fn a_model_that_fails_offers_the_built_in_one() {
    let mut studio = Studio::open_ready();
    studio.window().get_by_role_and_label(Role::ComboBox, "Model").click();
    studio.window().run();
    studio.window().get_by_label("Open model folder…").click();
    studio.window().run();
    let desktop = &studio.desktop;
    let Some(Errand::Ask(question)) = desktop.take() else { panic!("no dialog") };
    desktop.say(Report::Chosen(question, "/models/broken".into()));
    studio.window().run();
    assert!(matches!(
        &studio.engine().take_all()[..],
        [engine::Command::Load(ModelOrder { source: ModelSource::OnDisk(_), .. })]
    ));
    let source = ModelSource::OnDisk("/models/broken".into());
    studio.engine_says(engine::Event::ModelFailed {
        source,
        companions: Companions::default(),
        error: "unet/config.json is missing".into(),
    });
    studio.assert_sees("unet/config.json is missing");
    studio.click("Use the built-in model");
    assert!(matches!(
        &studio.engine().take_all()[..],
        [engine::Command::Load(ModelOrder { source: ModelSource::BuiltIn, .. })]
    ));
}

#[test]
fn an_engine_that_ended_can_be_started_again() {
    let mut studio = Studio::open_ready();
    studio.press_generate();
    studio.jobs();
    studio.engine().end();
    // The thread's end is seen as soon as the operating system tells.
    while studio.window().state().studio().is_engine_alive {
        std::thread::yield_now();
        studio.window().step();
    }
    studio.window().run();
    studio.assert_sees("The engine has ended");
    studio.click("Restart the engine");
    studio.engine = studio.next_engine.take().unwrap();
    studio.ready();
    studio.press_generate();
    studio.one_job();
}

#[test]
fn an_example_prompt_generates_with_one_click() {
    let mut studio = Studio::open_ready();
    studio.click("a flat lemon");
    assert_eq!(studio.one_job().request.prompt, "a flat lemon");
}

#[test]
fn everything_is_reachable_in_the_smallest_window() {
    let mut studio = Studio::open_with(Persisted::default(), [900.0, 600.0]);
    studio.ready();
    for name in ["Generate", "Stop", "Settings", "Draw a new seed", "Lock the seed", "Swap width and height"] {
        let rect = studio.window().get_by_role_and_label(Role::Button, name).rect();
        assert!(rect.max.x <= 900.0 && rect.min.x >= 0.0, "{name} is outside");
    }
}

#[test]
fn a_gallery_thread_that_ended_is_started_again_and_the_picture_is_kept() {
    let mut studio = Studio::open_ready();
    studio.press_generate();
    let job = studio.one_job().id;
    studio.finish(job);
    studio.gallery.end();
    while !studio.sees("The gallery ended while saving") {
        std::thread::yield_now();
        studio.window().step();
    }
    studio.gallery = studio.next_gallery.take().unwrap();
    assert!(matches!(&studio.gallery.take_all()[..], [gallery::Command::SetFolder(_)]));
    studio.click("Try again");
    assert!(matches!(&studio.gallery.take_all()[..], [gallery::Command::Save { .. }]));
}

#[test]
fn more_commands_than_the_inbox_holds_are_all_sent() {
    let mut studio = Studio::open_ready();
    studio.window().get_by_role_and_label(Role::SpinButton, "Count").set_value_accesskit(3.0);
    studio.window().run();
    let entries = (0..400).rev().map(|number| Entry { path: format!("/usual/{number:04}.png").into() }).collect();
    studio.gallery_says(gallery::Event::Listed { folder: "/usual".into(), entries });
    for _ in 0..100 {
        studio.click("Read the folder again");
    }
    let mut commands = studio.gallery.take_all();
    while commands.iter().filter(|command| matches!(command, gallery::Command::List)).count() < 100 {
        studio.window().step();
        commands.extend(studio.gallery.take_all());
    }
    let thumbnails = commands.iter().filter(|command| matches!(command, gallery::Command::Thumbnail(_))).count();
    assert!(thumbnails <= 20, "{thumbnails} thumbnails were asked for at once");
}

#[test]
fn arrows_move_through_the_gallery_when_no_field_has_the_focus() {
    let mut studio = Studio::open_ready();
    let entries = ["3", "2", "1"].map(|name| Entry { path: format!("/usual/{name}.png").into() }).to_vec();
    studio.gallery_says(gallery::Event::Listed { folder: "/usual".into(), entries });
    studio.gallery.take_all();
    studio.press(Key::ArrowRight);
    assert!(studio.gallery.take_all().is_empty(), "the prompt's own arrow key moved the gallery");
    studio.press(Key::Escape);
    studio.press(Key::ArrowRight);
    assert!(matches!(&studio.gallery.take_all()[..], [gallery::Command::Open(path)] if path.ends_with("3.png")));
    studio.press(Key::ArrowRight);
    assert!(studio.gallery.take_all().is_empty(), "two pictures are read at once");
    studio.gallery_says(gallery::Event::Opened(Box::new(opened("/usual/3.png"))));
    assert!(matches!(&studio.gallery.take_all()[..], [gallery::Command::Open(path)] if path.ends_with("2.png")));
}

#[test]
fn ctrl_up_and_down_change_the_weight_of_the_word_at_the_cursor() {
    let mut studio = Studio::open_ready();
    studio.type_prompt("a fox");
    let mut press = |key| {
        studio.window().key_press_modifiers(egui::Modifiers::COMMAND, key);
        studio.window().run();
        studio.window().state().studio().form.prompt.clone()
    };
    assert_eq!(press(Key::ArrowUp), "a (fox:1.1)");
    assert_eq!(press(Key::ArrowUp), "a (fox:1.2)");
    assert_eq!(press(Key::ArrowDown), "a (fox:1.1)");
    assert_eq!(press(Key::ArrowDown), "a fox");
}
