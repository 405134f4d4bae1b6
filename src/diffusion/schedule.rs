//! The noise levels that one picture visits, and what a solver makes of them beforehand.

use super::noise_schedule::NoiseSchedule;
use super::sigmas::karras;
use crate::request::SamplerKind;

/// A point of the noise schedule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NoiseLevel {
    /// Standard deviation of the noise relative to the clean latents.
    pub sigma: f64,
    /// The timestep that the U-Net is told, 0 to the number of trained ones; may lie between two.
    pub timestep: f64,
}

/// What a sampler visits, noisiest first; the last level is where it ends and the model is not asked there.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// One more than there are steps. Falling, but for restarts.
    pub levels: Vec<NoiseLevel>,
    /// What the solver has planned beyond the levels.
    pub plan: Plan,
    /// Unit noise times this are the latents of the first level.
    pub initial_scale: f64,
    /// The latents of the last level times this are those of the U-Net's scale.
    pub final_scale: f64,
    /// What the model was trained on.
    pub(super) trained: NoiseSchedule,
}

/// How the levels are taken.
#[derive(Debug, Clone, PartialEq)]
pub enum Plan {
    /// One after the other.
    Plain,
    /// A step before one that starts higher ends here, and noise leads up again.
    Restart {
        /// Where every descent but the last ends.
        low: NoiseLevel,
    },
    /// One leap from level to level, each of its own order, 1 to 3.
    Leaps {
        /// The order of each.
        orders: Vec<u8>,
    },
    /// From the first level to the last in steps of a size that is found on the way.
    Adaptive,
}

impl Schedule {
    /// The level of any sigma, for solvers that look between the steps.
    #[must_use]
    pub fn level_of(&self, sigma: f64) -> NoiseLevel {
        NoiseLevel { sigma, timestep: self.trained.timestep_of(sigma) }
    }

    /// The level of any timestep.
    #[must_use]
    pub fn level_at(&self, timestep: f64) -> NoiseLevel {
        self.trained.level_at(timestep)
    }

    /// Where the step from `index` ends.
    #[must_use]
    pub fn end_of(&self, index: usize) -> NoiseLevel {
        let next = self.levels[index + 1];
        match &self.plan {
            Plan::Restart { low } if next.sigma > self.levels[index].sigma => *low,
            _ => next,
        }
    }

    /// Where the step before `index` ended, if it ended below where this one starts.
    #[must_use]
    pub fn risen_from(&self, index: usize) -> Option<NoiseLevel> {
        let ended = index.checked_sub(1).map(|before| self.end_of(before))?;
        (ended.sigma < self.levels[index].sigma).then_some(ended)
    }

    /// What a solver makes of the levels when it starts at `first_step`, and the step at which it then starts: some plan
    /// their own way between the ends.
    #[must_use]
    pub fn planned_for(self, sampler: SamplerKind, first_step: usize) -> (Self, usize) {
        match sampler {
            SamplerKind::Restart => (self.with_restarts(first_step), 0),
            SamplerKind::DpmFast => (self.in_leaps(first_step), 0),
            SamplerKind::DpmAdaptive => {
                let (high, low) = self.ends(first_step);
                (Self { levels: vec![self.levels[first_step], low], plan: Plan::Adaptive, ..self }.starting_at(high), 0)
            }
            _ => (self, first_step),
        }
    }

    /// A1111's choice of restarts: none under 20 steps, one of 10 levels under 36, then two of a quarter of the steps, each
    /// from sigma 2 down to 0.1, the rest of the steps on Karras' levels between the same ends.
    fn with_restarts(self, first_step: usize) -> Self {
        const LOW: f64 = 0.1;
        const HIGH: f64 = 2.0;
        let given = &self.levels[first_step..];
        let steps = given.len() - 1;
        let (length, times) = match steps {
            0..20 => return Self { levels: given.to_vec(), ..self },
            20..36 => (9, 1),
            _ => (steps / 4, 2),
        };
        let mut base = karras(given[steps - 1].sigma, given[0].sigma, steps - length * times);
        base.push(0.0);
        let nearest = |to: f64| {
            let distance = |i: &usize| (base[*i] - to).abs();
            (0..base.len()).min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap_or(0)
        };
        let (bottom, top) = (nearest(LOW), nearest(HIGH));
        let mut sigmas = base[..bottom].to_vec();
        if top < bottom {
            let again = karras(base[bottom], base[top], length + 1);
            (0..times).for_each(|_| sigmas.extend(&again[..length]));
        }
        sigmas.extend(&base[bottom..]);
        let plan = Plan::Restart { low: self.level_of(base[bottom]) };
        Self { levels: sigmas.into_iter().map(|sigma| self.level_of(sigma)).collect(), plan, ..self }
    }

    /// DPM-Solver-fast's plan for as many calls as there are steps (Lu et al. 2022, arXiv:2206.00927, section 3.4).
    fn in_leaps(self, first_step: usize) -> Self {
        let calls = self.levels.len() - 1 - first_step;
        let count = calls / 3 + 1;
        let mut orders = vec![3; count];
        match calls % 3 {
            0 => orders.splice(count - 2.., [2, 1]).for_each(drop),
            rest => orders[count - 1] = rest as u8,
        }
        let (high, low) = self.ends(first_step);
        let ratio = low.sigma / high.sigma;
        let level = |i: usize| self.level_of(high.sigma * ratio.powf(i as f64 / count as f64));
        let levels = (0..=count).map(|i| if i == count { low } else { level(i) }).collect();
        Self { levels, plan: Plan::Leaps { orders }, ..self }.starting_at(high)
    }

    /// From the level of `first_step` to the lowest above zero; where none is left, the lowest that was trained.
    fn ends(&self, first_step: usize) -> (NoiseLevel, NoiseLevel) {
        let last = self.levels.len() - 1;
        let low = if self.levels[last].sigma > 0.0 {
            self.levels[last]
        } else if last > first_step + 1 {
            self.levels[last - 1]
        } else {
            self.level_at(0.0)
        };
        (self.levels[first_step], low)
    }

    /// For the solvers that end above zero: the web UIs decode what there is.
    fn starting_at(self, high: NoiseLevel) -> Self {
        Self { initial_scale: high.sigma, final_scale: 1.0, ..self }
    }
}
