//! Pictures that wait for their turn, and the one that the engine has: handed over one at a time.

use std::collections::VecDeque;

use crate::inference::message::JobId;
use crate::state::form::PlannedPicture;
use crate::state::job::RunningJob;

/// A picture that waits; its request was fixed when Generate was pressed.
#[derive(Debug, Clone)]
pub struct WaitingJob {
    /// Its name.
    pub id: JobId,
    /// What it makes.
    pub picture: PlannedPicture,
}

/// What Stop did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// There was nothing to stop.
    Nothing,
    /// The running job is to be cancelled.
    Running(JobId),
    /// The waiting ones are gone; this one is to be cancelled if it still runs.
    Emptied(Option<JobId>),
}

/// The jobs of the window.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: VecDeque<WaitingJob>,
    running: Option<RunningJob>,
    /// True after a Stop, until a job is finished or asked for: the next Stop empties the queue.
    was_stopped: bool,
    last_id: u64,
}

impl Queue {
    /// Adds a picture at the end.
    pub fn push(&mut self, picture: PlannedPicture) {
        self.last_id += 1;
        self.was_stopped = false;
        self.waiting.push_back(WaitingJob { id: JobId(self.last_id), picture });
    }

    /// How many wait, the running one not counted.
    #[must_use]
    pub fn waiting_count(&self) -> usize {
        self.waiting.len()
    }

    /// The one that the engine has.
    #[must_use]
    pub fn running(&self) -> Option<&RunningJob> {
        self.running.as_ref()
    }

    /// True when there is nothing to stop.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.running.is_none() && self.waiting.is_empty()
    }

    /// True when the next Stop empties the queue.
    #[must_use]
    pub fn empties_on_stop(&self) -> bool {
        !self.waiting.is_empty() && (self.was_stopped || self.running.as_ref().is_none_or(|job| job.is_stopping))
    }

    /// The running job, when the event is about it; events of other jobs are to be ignored.
    pub fn running_mut(&mut self, id: JobId) -> Option<&mut RunningJob> {
        self.running.as_mut().filter(|job| job.id == id)
    }

    /// Takes the next one for the engine, when it has none; the model at hand will make it.
    pub fn hand_over(&mut self, model: &str, model_hash: Option<String>) -> Option<WaitingJob> {
        if self.running.is_some() {
            return None;
        }
        let next = self.waiting.pop_front()?;
        let mut job = RunningJob::new(next.id, next.picture.request.clone(), model.to_owned());
        job.model_hash = model_hash;
        self.running = Some(job);
        Some(next)
    }

    /// Ends the running job as cancelled or failed, when it has this name.
    pub fn end(&mut self, id: JobId) -> Option<RunningJob> {
        self.running.take_if(|job| job.id == id)
    }

    /// Ends the running job as finished, when it has this name.
    pub fn finish(&mut self, id: JobId) -> Option<RunningJob> {
        let finished = self.end(id);
        if finished.is_some() {
            self.was_stopped = false;
        }
        finished
    }

    /// Ends whatever runs, for an engine that is gone.
    pub fn lose_running(&mut self) -> Option<RunningJob> {
        self.running.take()
    }

    /// Marks the running job as one that is to end, and says which that is.
    pub fn stop_running(&mut self) -> Option<JobId> {
        self.running.as_mut().map(|job| {
            job.is_stopping = true;
            job.id
        })
    }

    /// The first press cancels the running job, the second also empties the queue.
    pub fn stop(&mut self) -> Stopped {
        let running = self.running.as_mut().map(|job| (job.id, std::mem::replace(&mut job.is_stopping, true)));
        match running {
            Some((id, false)) if !self.was_stopped => {
                self.was_stopped = true;
                Stopped::Running(id)
            }
            None if self.waiting.is_empty() => Stopped::Nothing,
            other => {
                self.waiting.clear();
                Stopped::Emptied(other.map(|(id, _)| id))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Seed;
    use crate::state::form::Form;

    fn queue(count: u32) -> Queue {
        let mut queue = Queue::default();
        let form = Form { count, ..Form::default() };
        form.plan(Seed(1), &crate::prompt::wildcards::WildcardFiles::default())
            .unwrap()
            .into_iter()
            .for_each(|picture| queue.push(picture));
        queue
    }

    #[test]
    fn jobs_are_handed_over_one_at_a_time() {
        let mut queue = queue(2);
        let first = queue.hand_over("a model", None).unwrap().id;
        assert!(queue.hand_over("a model", None).is_none());
        assert!(queue.finish(JobId(99)).is_none());
        assert!(queue.finish(first).is_some());
        assert_ne!(queue.hand_over("a model", None).unwrap().id, first);
    }

    #[test]
    fn stop_cancels_and_a_second_press_empties_the_queue() {
        let mut queue = queue(3);
        let first = queue.hand_over("a model", None).unwrap().id;
        assert_eq!(queue.stop(), Stopped::Running(first));
        assert!(queue.empties_on_stop());
        assert_eq!(queue.stop(), Stopped::Emptied(Some(first)));
        assert_eq!(queue.waiting_count(), 0);
    }

    #[test]
    fn a_second_press_empties_the_queue_even_when_the_next_job_has_begun() {
        let mut queue = queue(3);
        let first = queue.hand_over("a model", None).unwrap().id;
        queue.stop();
        queue.end(first);
        let second = queue.hand_over("a model", None).unwrap().id;
        assert_eq!(queue.stop(), Stopped::Emptied(Some(second)));
    }

    #[test]
    fn a_finished_picture_makes_stop_a_first_press_again() {
        let mut queue = queue(3);
        let first = queue.hand_over("a model", None).unwrap().id;
        queue.stop();
        queue.finish(first);
        let second = queue.hand_over("a model", None).unwrap().id;
        assert_eq!(queue.stop(), Stopped::Running(second));
    }

    #[test]
    fn stop_without_jobs_does_nothing() {
        assert_eq!(Queue::default().stop(), Stopped::Nothing);
    }
}
