//! What the inference thread's news changes.

use std::sync::Arc;

use image::RgbImage;

use super::action::Effect;
use super::canvas::ShownPicture;
use super::model::ModelStatus;
use super::recipe::recipe_of;
use super::{Failure, Studio};
use crate::gallery::message::Command;
use crate::gallery::record::PictureRecord;
use crate::inference::message::{Event, JobId, ModelFacts, ModelSource};

impl Studio {
    /// Takes in an event of the inference thread.
    pub fn on_engine(&mut self, event: Event, now_secs: f64) -> Vec<Effect> {
        match event {
            Event::ModelFound(facts) => return self.model_found(facts),
            Event::ModelLoading { fraction: now } => {
                if let ModelStatus::Loading { fraction, .. } = &mut self.model {
                    *fraction = now;
                }
            }
            Event::ModelReady { facts, colours, .. } => {
                let mut effects = Vec::new();
                if self.model.facts().is_none() {
                    effects = self.model_found(facts.clone());
                }
                if facts.source == *self.model.source() {
                    self.model = ModelStatus::Ready { facts, colours };
                }
                return effects;
            }
            Event::ModelFailed { source, error } => self.model_failed(source, error),
            Event::Started { job } => {
                if let Some(running) = self.queue.running_mut(job) {
                    running.start(now_secs);
                    self.failure = None;
                }
            }
            Event::Step { job, step, steps, preview } => {
                if let Some(running) = self.queue.running_mut(job) {
                    running.step(step, steps, now_secs);
                    self.canvas.develop(job, preview);
                }
            }
            Event::Decoding { job } => {
                if let Some(running) = self.queue.running_mut(job) {
                    running.phase = super::job::Phase::Decoding;
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

    fn model_found(&mut self, facts: Box<ModelFacts>) -> Vec<Effect> {
        if facts.source != *self.model.source() {
            return Vec::new();
        }
        self.settings.remember_model(&facts.source);
        let defaults = facts.defaults;
        self.form.follow(&defaults);
        self.model = ModelStatus::Loading { facts, fraction: 0.0 };
        self.refresh();
        for (mut form, seed) in std::mem::take(&mut self.remembered) {
            form.follow(&defaults);
            match form.plan(seed) {
                Ok(pictures) => pictures.into_iter().for_each(|picture| self.queue.push(picture)),
                Err(errors) => {
                    let message = errors.into_iter().map(|error| error.message).collect::<Vec<_>>().join("\n");
                    self.failure = Some(Failure { message });
                }
            }
        }
        self.hand_over()
    }

    fn model_failed(&mut self, source: ModelSource, error: String) {
        if source == *self.model.source() {
            self.remembered.clear();
            self.model = ModelStatus::Failed { source, error };
        }
    }

    fn finished(&mut self, job: JobId, image: Arc<RgbImage>) -> Vec<Effect> {
        let Some(running) = self.queue.finish(job) else { return Vec::new() };
        let record = PictureRecord::new(self.model.name(), running.request);
        let id = self.canvas.keep_unsaved(Arc::clone(&image), Some(record.clone()));
        self.canvas.finish(job);
        if self.canvas.is_following() {
            self.gallery.selected = None;
            self.canvas.show(ShownPicture {
                image: Arc::clone(&image),
                recipe: Some(recipe_of(&record)),
                record: Some(record.clone()),
                infotext: None,
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
