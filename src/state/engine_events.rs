//! What the inference thread's news changes.

use std::sync::Arc;

use image::RgbImage;

use super::action::Effect;
use super::canvas::ShownPicture;
use super::job::RunningJob;
use super::model::ModelStatus;
use super::{Failure, RememberedPress, Studio};
use crate::gallery::message::{Caption, Command};
use crate::gallery::record::PictureRecord;
use crate::gallery::record::ReadRecipe;
use crate::inference::message::{Event, JobId, ModelFacts, ModelSource};
use crate::latent_image::LatentColours;
use crate::request::Companions;

impl Studio {
    /// Takes in an event of the inference thread.
    pub fn on_engine(&mut self, event: Event, now_secs: f64) -> Vec<Effect> {
        match event {
            Event::ModelFound(facts) => return self.model_found(facts, now_secs),
            Event::ModelLoading { fraction: now } => {
                if let ModelStatus::Loading { fraction, .. } = &mut self.model {
                    *fraction = now;
                }
            }
            Event::ModelReady { facts, colours, .. } => {
                return self.model_ready(facts, colours, now_secs);
            }
            Event::MemoryChanged { computes_on } => {
                if let ModelStatus::Ready { facts } = &mut self.model {
                    facts.computes_on = computes_on;
                }
            }
            Event::ModelFailed { source, companions, error } => self.model_failed(source, &companions, error),
            // With another one asked for already, its news will follow.
            Event::ModelStopped { source, companions } => {
                if matches!(self.model, ModelStatus::Loading { .. }) && self.is_wanted(&source, &companions) {
                    self.model = ModelStatus::Stopped(source);
                }
            }
            Event::Warned { text, .. } => self.notices.complain(text, now_secs),
            Event::Started { job } => {
                if let Some(running) = self.queue.running_mut(job) {
                    running.start(now_secs);
                }
            }
            Event::Sampling { job, steps, adapters, embeddings, vae } => {
                if let Some(running) = self.queue.running_mut(job) {
                    (running.adapters, running.embeddings, running.vae) = (adapters, embeddings, vae);
                    running.phase = super::job::Phase::Stepping { step: 0, steps };
                }
            }
            Event::Step { job, step, steps, preview, picture } => {
                if let Some(running) = self.queue.running_mut(job) {
                    running.step(step, steps, now_secs);
                    self.canvas.develop(job, preview, picture);
                }
            }
            Event::Decoding { job, in_tiles } => {
                if let Some(running) = self.queue.running_mut(job) {
                    running.decode(in_tiles);
                }
            }
            Event::Finished { job, image, .. } => return self.finished(job, image),
            Event::Cancelled { job } => {
                if self.queue.end(job).is_some() {
                    self.canvas.end(job, "Stopped");
                    return self.hand_over();
                }
            }
            Event::Failed { job, error } => {
                if self.queue.end(job).is_some() {
                    self.canvas.end(job, "Failed");
                    self.failure = Some(Failure { message: error });
                    return self.hand_over();
                }
            }
        }
        Vec::new()
    }

    fn model_ready(&mut self, facts: Box<ModelFacts>, colours: LatentColours, now_secs: f64) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.model.facts().is_none() {
            effects = self.model_found(facts.clone(), now_secs);
        }
        if self.is_wanted(&facts.source, &facts.companions) {
            self.model = ModelStatus::Ready { facts };
            self.colours = Some(colours);
        }
        effects
    }

    fn model_found(&mut self, facts: Box<ModelFacts>, now_secs: f64) -> Vec<Effect> {
        if !self.is_wanted(&facts.source, &facts.companions) {
            return Vec::new();
        }
        self.settings.remember_model(&facts.source);
        if facts.device_notice != self.told_device_notice {
            self.told_device_notice.clone_from(&facts.device_notice);
            if let Some(notice) = &facts.device_notice {
                self.notices.complain(notice.clone(), now_secs);
            }
        }
        let defaults = facts.defaults;
        self.form.follow(&defaults);
        self.model = ModelStatus::Loading { facts, fraction: 0.0 };
        self.refresh();
        for RememberedPress { mut form, seed, wildcards } in std::mem::take(&mut self.remembered) {
            form.follow(&defaults);
            match form.plan(seed, &wildcards) {
                Ok(pictures) => self.line_up(pictures, now_secs),
                Err(errors) => {
                    let message = errors.into_iter().map(|error| error.message).collect::<Vec<_>>().join("\n");
                    self.failure = Some(Failure { message });
                }
            }
        }
        self.hand_over()
    }

    /// True for the model that was asked for last, with what it was to take from elsewhere.
    fn is_wanted(&self, source: &ModelSource, companions: &Companions) -> bool {
        source == self.model.source() && *companions == self.settings.companions_of(source)
    }

    fn model_failed(&mut self, source: ModelSource, companions: &Companions, error: String) {
        if self.is_wanted(&source, companions) {
            self.remembered.clear();
            self.model = ModelStatus::Failed { source, error };
        }
    }

    fn finished(&mut self, job: JobId, image: Arc<RgbImage>) -> Vec<Effect> {
        let Some(running) = self.queue.finish(job) else { return Vec::new() };
        let RunningJob { model, model_hash, companions, precision, card, request, adapters, embeddings, vae, .. } =
            running;
        let record = PictureRecord {
            model_hash,
            vae,
            text_encoders: companions.text_encoder_names(),
            prediction: companions.prediction,
            precision: precision.recorded(),
            card,
            adapters,
            embeddings,
            ..PictureRecord::new(model, request)
        };
        let id = self.canvas.keep_unsaved(Arc::clone(&image), Caption::Ours(Box::new(record.clone())));
        self.canvas.finish(job);
        if self.canvas.is_following() {
            self.gallery.selected = None;
            self.canvas.show(ShownPicture {
                image: Arc::clone(&image),
                recipe: Some(ReadRecipe::from(&record)),
                record: Some(record.clone()),
                infotext: None,
                unread: None,
                warning: None,
                save: Some(id),
                path: None,
            });
        }
        let mut effects = vec![Effect::Gallery(Command::Save { id, image, record: Box::new(record) })];
        effects.extend(self.hand_over());
        effects
    }

    /// The engine's thread is gone, whatever it was doing.
    pub fn on_engine_ended(&mut self) {
        if !self.is_engine_alive {
            return;
        }
        self.is_engine_alive = false;
        if let Some(lost) = self.queue.lose_running() {
            self.canvas.end(lost.id, "Failed");
        }
        self.model = ModelStatus::Asked(self.settings.model.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gallery::message::{Event as GalleryEvent, OpenedPicture};
    use crate::inference::message::ModelDefaults;
    use crate::latent_image::LatentImage;
    use crate::prompt::wildcards::WildcardFiles;
    use crate::request::{GuidanceScale, ImageSize, Precision, SamplerKind, ScheduleKind, Seed, Steps};
    use crate::state::action::Action;
    use crate::state::gallery::Purpose;
    use crate::state::{Moment, Persisted};

    const NOW: Moment = Moment { now_secs: 1.0, random_seed: Seed(5) };

    fn facts(source: ModelSource, side: u32, name: &str) -> ModelFacts {
        let defaults = ModelDefaults {
            size: ImageSize::new(side, side).unwrap(),
            steps: Steps::new(20).unwrap(),
            guidance: GuidanceScale::new(4.0).unwrap(),
            sampler: SamplerKind::Euler,
            schedule: ScheduleKind::Karras,
        };
        ModelFacts {
            has_xl_latents: false,
            name: name.into(),
            source,
            companions: Companions::default(),
            vae: None,
            precision: Precision::F32,
            card: None,
            computes_on: "CPU".into(),
            kernels: "portable",
            device_notice: None,
            defaults,
            example_prompts: Vec::new(),
            random_prompt: Some("a {red|blue} {fox|lemon}".into()),
            tokenizer: None,
        }
    }

    fn ready(studio: &mut Studio, source: ModelSource, side: u32, name: &str) -> Vec<Effect> {
        let colours = LatentColours { weights: vec![[0.0; 3]], bias: [0.0; 3] };
        studio.on_engine(Event::ModelReady { facts: Box::new(facts(source, side, name)), colours, seconds: 0.1 }, 0.0)
    }

    fn studio() -> Studio {
        let mut studio = Studio::new(Persisted::default());
        ready(&mut studio, ModelSource::BuiltIn, 128, "starter");
        studio
    }

    fn generated(effects: &[Effect]) -> JobId {
        let mut jobs = effects.iter().filter_map(|effect| match effect {
            Effect::Generate { job, .. } => Some(*job),
            _ => None,
        });
        jobs.next().unwrap()
    }

    fn pixels() -> Arc<RgbImage> {
        Arc::new(RgbImage::new(8, 8))
    }

    #[test]
    fn another_model_brings_its_own_defaults() {
        let mut studio = studio();
        studio.form.steps.choose(7);
        let folder = ModelSource::OnDisk("/m".into());
        studio.apply(Action::LoadModel(folder.clone()), NOW);
        ready(&mut studio, folder.clone(), 512, "big");
        assert_eq!((studio.form.size.value.width, studio.form.steps.value), (512, 20));
        assert_eq!(studio.settings.recent_models.len(), 1);
        assert_eq!(studio.settings.model, folder);
    }

    #[test]
    fn news_of_a_model_that_is_no_longer_wanted_is_ignored() {
        let mut studio = studio();
        studio.apply(Action::LoadModel(ModelSource::OnDisk("/m".into())), NOW);
        studio.on_engine(Event::ModelFound(Box::new(facts(ModelSource::BuiltIn, 128, "starter"))), 0.0);
        studio.on_engine(
            Event::ModelFailed {
                source: ModelSource::BuiltIn,
                companions: Companions::default(),
                error: "late".into(),
            },
            0.0,
        );
        assert!(matches!(studio.model, ModelStatus::Asked(ModelSource::OnDisk(_))));
    }

    #[test]
    fn a_picture_is_recorded_with_the_model_that_made_it() {
        let mut studio = studio();
        let job = generated(&studio.apply(Action::Generate, NOW));
        studio.apply(Action::LoadModel(ModelSource::OnDisk("/m".into())), NOW);
        let effects = studio.on_engine(Event::Finished { job, image: pixels(), seconds: 1.0 }, 2.0);
        assert!(matches!(&effects[0], Effect::Gallery(Command::Save { record, .. }) if record.model == "starter"));
    }

    #[test]
    fn jobs_asked_for_while_a_model_loads_wait_for_it() {
        let mut studio = studio();
        let folder = ModelSource::OnDisk("/m".into());
        studio.apply(Action::LoadModel(folder.clone()), NOW);
        studio.form.count = 2;
        assert!(studio.apply(Action::Generate, NOW).is_empty());
        assert_eq!(studio.waiting_count(), 2);
        let effects = ready(&mut studio, folder, 512, "big");
        assert!(matches!(&effects[..], [Effect::Generate { request, .. }] if request.size.width() == 512));
    }

    #[test]
    fn a_press_before_the_model_is_known_keeps_its_own_wildcards() {
        let mut studio = Studio::new(Persisted::default());
        for line in ["red", "blue"] {
            studio.form.prompt = format!("__{line}s__");
            let read = |_: &str| Some(vec![line.to_owned()]);
            studio.wildcards = WildcardFiles::gather("/w".into(), &[&studio.form.prompt], read);
            studio.apply(Action::Generate, NOW);
        }
        let effects = ready(&mut studio, ModelSource::BuiltIn, 128, "starter");
        let first = generated(&effects);
        let next = studio.on_engine(Event::Finished { job: first, image: pixels(), seconds: 1.0 }, 2.0);
        let prompts: Vec<_> = effects
            .iter()
            .chain(&next)
            .filter_map(|effect| match effect {
                Effect::Generate { request, .. } => Some(request.prompt.as_str()),
                _ => None,
            })
            .collect();
        assert_eq!(prompts, ["red", "blue"]);
    }

    #[test]
    fn a_gallery_picture_is_not_pushed_off_the_canvas_by_a_job() {
        let mut studio = studio();
        let job = generated(&studio.apply(Action::Generate, NOW));
        studio.apply(Action::Open("/x.png".into(), Purpose::View), NOW);
        let opened = OpenedPicture {
            path: "/x.png".into(),
            image: pixels(),
            is_lossy: false,
            record: None,
            infotext: None,
            recipe: None,
            unread: None,
            warning: None,
        };
        studio.on_gallery(GalleryEvent::Opened(Box::new(opened)), 1.0);
        let preview = LatentImage { channels: 1, height: 1, width: 1, values: vec![0.0] };
        studio.on_engine(Event::Step { job, step: 1, steps: 2, preview, picture: None }, 1.0);
        assert!(studio.canvas.shown_picture().is_some() && studio.canvas.has_hidden_progress());
        studio.on_engine(Event::Finished { job, image: pixels(), seconds: 1.0 }, 2.0);
        assert_eq!(studio.canvas.shown_picture().unwrap().name(), "x.png");
        studio.apply(Action::Generate, NOW);
        assert!(studio.canvas.is_following());
    }

    #[test]
    fn a_failure_stays_while_the_queue_goes_on() {
        let mut studio = studio();
        studio.form.count = 2;
        let job = generated(&studio.apply(Action::Generate, NOW));
        let next = generated(&studio.on_engine(Event::Failed { job, error: "why".into() }, 1.0));
        studio.on_engine(Event::Started { job: next }, 1.0);
        assert_eq!(studio.failure, Some(Failure { message: "why".into() }));
    }

    #[test]
    fn a_press_with_a_nonsense_form_says_what_is_wrong() {
        let mut studio = studio();
        studio.form.steps.choose(0);
        assert!(studio.apply(Action::Generate, NOW).is_empty());
        assert!(studio.notices.shown()[0].text.contains("Steps must be"));
    }
}
