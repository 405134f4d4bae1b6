//! A model on its way, as the window shows it: stopped, asked for again, in another precision.

use calotype::app::{Errand, Report};
use calotype::inference::message::{Command, Event, ModelFacts, ModelOrder, ModelSource};
use calotype::request::{Companions, DeviceChoice, Precision, PrecisionChoice};
use calotype::state::Persisted;
use calotype::state::model::ModelStatus;
use egui::accesskit::Role;
use egui_kittest::kittest::Queryable as _;

use crate::studio::{Studio, facts, ready_event};

fn loading() -> (Studio, ModelOrder) {
    let mut studio = Studio::open_ready();
    open_menu(&mut studio);
    studio.window().get_by_label("Open a model file…").click();
    studio.window().run();
    let Some(Errand::Ask(question)) = studio.desktop.take() else { panic!("no dialog") };
    studio.desktop.say(Report::Chosen(question, "/models/large.safetensors".into()));
    studio.window().run();
    let order = one_order(&studio);
    studio.engine_says(Event::ModelFound(Box::new(facts(source()))));
    (studio, order)
}

fn open_menu(studio: &mut Studio) {
    studio.window().get_by_role_and_label(Role::ComboBox, "Model").click();
    studio.window().run();
}

fn source() -> ModelSource {
    ModelSource::OnDisk("/models/large.safetensors".into())
}

#[track_caller]
fn one_order(studio: &Studio) -> ModelOrder {
    let mut orders: Vec<_> = studio
        .engine()
        .take_all()
        .into_iter()
        .filter_map(|command| if let Command::Load(order) = command { Some(order) } else { None })
        .collect();
    assert_eq!(orders.len(), 1);
    orders.remove(0)
}

#[test]
fn loading_can_be_cancelled_and_asked_for_again() {
    let (mut studio, ModelOrder { cancel, .. }) = loading();
    assert!(!cancel.is_cancelled());
    studio.click("Cancel");
    assert!(cancel.is_cancelled());
    studio.assert_sees("Not loaded");
    studio.assert_sees("No model is loaded");
    // What was under way when the button was pressed changes nothing in the end.
    studio.engine_says(Event::ModelFound(Box::new(facts(source()))));
    studio.engine_says(Event::ModelStopped { source: source(), companions: Companions::default() });
    studio.assert_sees("Not loaded");
    studio.click("Load");
    let order = one_order(&studio);
    assert_eq!(order.source, source());
    assert!(!order.cancel.is_cancelled());
}

#[test]
fn another_model_ends_the_loading_of_the_first() {
    let (mut studio, ModelOrder { cancel, .. }) = loading();
    open_menu(&mut studio);
    studio.click("Built-in model");
    assert!(cancel.is_cancelled());
    assert!(!one_order(&studio).cancel.is_cancelled());
    studio.engine_says(Event::ModelStopped { source: source(), companions: Companions::default() });
    assert!(matches!(studio.window().state().studio().model, ModelStatus::Asked(ModelSource::BuiltIn)));
    studio.engine_says(ready_event());
    assert!(matches!(studio.window().state().studio().model, ModelStatus::Ready { .. }));
}

#[test]
fn a_picture_that_waits_for_the_model_ends_with_its_loading_and_the_queue_stays() {
    let (mut studio, _) = loading();
    studio.type_prompt("a fox");
    studio.press_generate();
    let job = studio.one_job();
    studio.press_generate();
    studio.click("Cancel");
    assert!(job.cancel.is_cancelled());
    studio.engine_says(Event::ModelStopped { source: source(), companions: Companions::default() });
    studio.engine_says(Event::Cancelled { job: job.id });
    studio.assert_sees("1 in the queue wait for one");
    assert!(studio.jobs().is_empty());
}

#[test]
fn where_there_is_a_card_the_device_is_chosen_and_the_model_loads_again() {
    let mut persisted = Persisted::default();
    persisted.settings.device = DeviceChoice::Cuda(1);
    let mut studio = Studio::open_with(persisted, [1280.0, 900.0]);
    assert_eq!(one_order(&studio).device, DeviceChoice::Cuda(1));
    let error = "cuda:1 cannot be computed on: there is no NVIDIA driver on this machine".to_owned();
    studio.engine_says(Event::ModelFailed { source: ModelSource::BuiltIn, companions: Companions::default(), error });
    studio.assert_sees("no NVIDIA driver");
    studio.click("Settings");
    assert!(studio.sees("Computed on: NVIDIA card 1"));
    studio.click("Computed on: Automatic");
    assert_eq!(one_order(&studio).device, DeviceChoice::Auto);
    let Event::ModelReady { facts, colours, seconds } = ready_event() else { panic!("no model") };
    let device_notice = Some("Pictures are computed on the processor: the NVIDIA driver finds no card".to_owned());
    let facts = Box::new(ModelFacts { device_notice, ..*facts });
    studio.engine_says(Event::ModelReady { facts, colours, seconds });
    studio.assert_sees("the NVIDIA driver finds no card");
    studio.engine_says(Event::MemoryChanged { computes_on: "Card, 1.0 of 8.0 GiB in use, f16".to_owned() });
    studio.click("Close");
    studio.assert_sees("1.0 of 8.0 GiB in use");
}

#[test]
fn without_a_card_no_device_is_to_be_chosen() {
    let mut studio = Studio::open_ready();
    studio.click("Settings");
    assert!(!studio.sees("Computed on"));
    assert!(studio.window().query_by_label("f16").is_none(), "f16 is for cards");
}

#[test]
fn another_precision_loads_the_model_again_and_stands_in_the_recipe_with_the_card() {
    let mut studio = Studio::open_ready();
    studio.click("Settings");
    studio.assert_sees("Automatic means f32");
    studio.click("bf16");
    let order = one_order(&studio);
    assert_eq!(order.precision, PrecisionChoice::Always(Precision::Bf16));
    let Event::ModelReady { facts, colours, seconds } = ready_event() else { panic!("no model") };
    let card = Some("NVIDIA H200".to_owned());
    let facts = Box::new(ModelFacts { precision: Precision::Bf16, card, ..*facts });
    studio.engine_says(Event::ModelReady { facts, colours, seconds });
    studio.click("Close");
    studio.type_prompt("a fox");
    studio.press_generate();
    let job = studio.one_job().id;
    let (_, record) = studio.finish(job);
    assert_eq!(record.precision.as_deref(), Some("bf16"));
    assert_eq!(record.card.as_deref(), Some("NVIDIA H200"));
    studio.click("Settings");
    studio.click("bf16");
    assert!(studio.engine().take_all().is_empty(), "the same again changes nothing");
}
