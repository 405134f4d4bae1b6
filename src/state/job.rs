//! The job at work: its phase, its speed and the time that is left, in words.

use crate::inference::message::JobId;
use crate::request::{Companions, GenerationRequest, Precision, RecordedAdapter, RecordedEmbedding, RecordedVae};

/// How many step durations the speed looks back on.
const REMEMBERED_STEPS: usize = 9;

/// What the job is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// In the engine's inbox.
    Waiting,
    /// At work, before the first step is done.
    Preparing,
    /// This many steps of those are done.
    Stepping {
        /// Done.
        step: u32,
        /// All.
        steps: u32,
    },
    /// Latents become pixels.
    Decoding,
}

/// The job that the engine has.
#[derive(Debug, Clone)]
pub struct RunningJob {
    /// Its name.
    pub id: JobId,
    /// What it makes.
    pub request: GenerationRequest,
    /// The name of the model that makes it; another may be chosen meanwhile.
    pub model: String,
    /// The short hash of its file, where the library knows it.
    pub model_hash: Option<String>,
    /// What the model takes from other files.
    pub companions: Companions,
    /// What the model's weights are kept in.
    pub precision: Precision,
    /// The card that computes it; none for the processor.
    pub card: Option<String>,
    /// What of LoRAs acts on it, once the engine has said so.
    pub adapters: Vec<RecordedAdapter>,
    /// The same of embeddings.
    pub embeddings: Vec<RecordedEmbedding>,
    /// The VAE that decodes it, where that is not the model's own.
    pub vae: Option<RecordedVae>,
    /// What it is doing.
    pub phase: Phase,
    /// True once Stop was pressed for it.
    pub is_stopping: bool,
    last_step: Option<(u32, f64)>,
    step_seconds: Vec<f64>,
}

impl RunningJob {
    /// A job that was just handed over.
    #[must_use]
    pub fn new(id: JobId, request: GenerationRequest, model: String) -> Self {
        Self {
            id,
            request,
            model,
            model_hash: None,
            companions: Companions::default(),
            precision: Precision::default(),
            card: None,
            adapters: Vec::new(),
            embeddings: Vec::new(),
            vae: None,
            phase: Phase::Waiting,
            is_stopping: false,
            last_step: None,
            step_seconds: Vec::new(),
        }
    }

    /// The engine took it up at this time.
    pub fn start(&mut self, now_secs: f64) {
        self.phase = Phase::Preparing;
        self.last_step = Some((0, now_secs));
    }

    /// A step is done; those before it may never have been reported.
    pub fn step(&mut self, step: u32, steps: u32, now_secs: f64) {
        self.phase = Phase::Stepping { step, steps };
        if let Some((last, then_secs)) = self.last_step
            && step > last
        {
            // The first span holds the prompt's encoding too, but is better than nothing for the second.
            if self.step_seconds.len() == REMEMBERED_STEPS || last == 1 {
                self.step_seconds.remove(0);
            }
            self.step_seconds.push((now_secs - then_secs).max(0.0) / f64::from(step - last));
        }
        self.last_step = Some((step, now_secs));
    }

    /// Its latents are decoded, as the recipe will say.
    pub fn decode(&mut self, in_tiles: bool) {
        self.phase = Phase::Decoding;
        self.request.accelerations.decoding_in_tiles = in_tiles;
    }

    /// Seconds a step, the median of the last few: one slow step does not shake it.
    #[must_use]
    pub fn seconds_per_step(&self) -> Option<f64> {
        let mut sorted = self.step_seconds.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().filter(|seconds| *seconds > 0.0)
    }

    /// Share of the work that is done, 0 to 1.
    #[must_use]
    pub fn fraction(&self) -> f32 {
        match self.phase {
            Phase::Waiting | Phase::Preparing => 0.0,
            Phase::Stepping { step, steps } => step as f32 / steps.max(1) as f32,
            Phase::Decoding => 1.0,
        }
    }

    /// What it is doing, in words.
    #[must_use]
    pub fn words(&self) -> String {
        if self.is_stopping {
            return "Stopping…".to_owned();
        }
        match self.phase {
            Phase::Waiting => "Waiting for the engine…".to_owned(),
            Phase::Preparing => "Reading the prompt…".to_owned(),
            Phase::Stepping { step, steps } => format!("Step {step} / {steps}"),
            Phase::Decoding => "Decoding the picture…".to_owned(),
        }
    }

    /// Speed and time left, in words; none while they are unknown.
    #[must_use]
    pub fn pace(&self) -> Option<(String, String)> {
        let Phase::Stepping { step, steps } = self.phase else { return None };
        let seconds = self.seconds_per_step()?;
        let speed =
            if seconds < 1.0 { format!("{:.1} steps/s", 1.0 / seconds) } else { format!("{seconds:.1} s/step") };
        Some((speed, time_left(seconds * f64::from(steps.saturating_sub(step)))))
    }
}

/// "about 14 s left", "about 3 min left".
fn time_left(seconds: f64) -> String {
    if seconds < 1.0 {
        "less than 1 s left".to_owned()
    } else if seconds < 100.0 {
        format!("about {seconds:.0} s left")
    } else if seconds < 100.0 * 60.0 {
        format!("about {:.0} min left", seconds / 60.0)
    } else {
        format!("about {:.1} h left", seconds / 3600.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Seed;
    use crate::state::form::Form;

    fn job() -> RunningJob {
        let planned =
            Form::default().plan(Seed(1), &crate::prompt::wildcards::WildcardFiles::default()).unwrap().remove(0);
        let mut job = RunningJob::new(JobId(1), planned.request, "a model".into());
        job.start(10.0);
        job
    }

    #[test]
    fn one_slow_step_does_not_shake_the_speed() {
        let mut job = job();
        let mut now = 15.0;
        for step in 1..=10 {
            now += if step == 6 { 30.0 } else { 0.5 };
            job.step(step, 20, now);
        }
        assert!((job.seconds_per_step().unwrap() - 0.5).abs() < 1e-9);
        assert_eq!(job.pace().unwrap(), ("2.0 steps/s".to_owned(), "about 5 s left".to_owned()));
    }

    #[test]
    fn steps_that_were_never_reported_count() {
        let mut job = job();
        job.step(4, 20, 18.0);
        assert!((job.seconds_per_step().unwrap() - 2.0).abs() < 1e-9);
        assert_eq!(job.words(), "Step 4 / 20");
    }

    #[test]
    fn a_clock_that_stands_still_gives_no_speed() {
        let mut job = job();
        job.step(1, 20, 10.0);
        assert_eq!(job.pace(), None);
    }

    #[test]
    fn long_times_are_told_in_minutes_and_hours() {
        assert_eq!(time_left(0.2), "less than 1 s left");
        assert_eq!(time_left(600.0), "about 10 min left");
        assert_eq!(time_left(36_000.0), "about 10.0 h left");
    }
}
