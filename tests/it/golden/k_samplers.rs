//! The web UIs' schedules, the Brownian tree, and the solvers of k-diffusion beyond those of `samplers`, on the same
//! formula for a network.

use calotype::diffusion::brownian::BrownianTree;
use calotype::diffusion::noise_schedule::NoiseSchedule;
use calotype::diffusion::sampler::{Sampler, SamplerState};
use calotype::diffusion::schedule::Schedule;
use calotype::request::{NoiseSourceKind, SamplerKind, ScheduleKind, Seed};
use candle_core::Device;

use super::samplers::{formula, model_schedule, solver, start, steps};
use super::{Tensors, golden, relative_error, values};

#[test]
fn every_schedule_falls_for_every_sampler_and_count() {
    let schedule = model_schedule("tiny-eps");
    for &kind in ScheduleKind::ALL {
        for &sampler in SamplerKind::ALL {
            for n in [1, 2, 3, 4, 7, 20, 50, 150] {
                if matches!(sampler, SamplerKind::Lcm | SamplerKind::Tcd) && n > 50 {
                    continue; // Such models know 50 levels.
                }
                let plan = schedule.schedule(kind, sampler, steps(n)).unwrap();
                let pairs = plan.levels.windows(2);
                assert!(pairs.clone().all(|pair| pair[0].sigma >= pair[1].sigma), "{} {n}", kind.name());
                assert!(plan.levels.iter().all(|level| (0.0..=999.0).contains(&level.timestep)));
                if !matches!(kind, ScheduleKind::DdimUniform) {
                    assert_eq!(plan.levels.len(), n as usize + 1, "{} {} {n}", kind.name(), sampler.name());
                }
            }
        }
    }
}

#[test]
fn the_brownian_tree_is_torchsdes() {
    let tensors = golden("k_samplers");
    for seed in [7, (1 << 40) + 3, 0] {
        let tree =
            BrownianTree { source: NoiseSourceKind::TorchCpu, seed: Seed(seed), low: 0.0291671, high: 14.614647 };
        let queries: Vec<Vec<f32>> = tensors[&format!("tree.seed{seed}.queries")].to_vec2().unwrap();
        let expected = tensors[&format!("tree.seed{seed}.noise")].flatten_from(1).unwrap().to_vec2::<f32>().unwrap();
        for (query, expected) in queries.iter().zip(&expected) {
            let found = tree.noise(f64::from(query[0]), f64::from(query[1]), expected.len());
            let error = relative_error(&found, expected);
            eprintln!("seed {seed}, {query:?}: relative error {error:.2e}");
            // Measured: at most 2.9e-7.
            assert!(error < 2e-6, "seed {seed}, {query:?}: {error:e}");
        }
    }
}

const K_DIFFUSIONS: [(&str, SamplerKind); 8] = [
    ("lms", SamplerKind::Lms),
    ("dpm2", SamplerKind::Dpm2),
    ("dpm2_a", SamplerKind::Dpm2Ancestral),
    ("dpmpp_2s_a", SamplerKind::DpmPlusPlus2SAncestral),
    ("dpmpp_sde", SamplerKind::DpmPlusPlusSde),
    ("dpmpp_2m_sde", SamplerKind::DpmPlusPlus2MSde),
    ("dpmpp_2m_sde_heun", SamplerKind::DpmPlusPlus2MSdeHeun),
    ("dpmpp_3m_sde", SamplerKind::DpmPlusPlus3MSde),
];

/// A schedule over the reference's own sigmas, from bare noise, timesteps not rounded.
fn plan_over(sigmas: &[f32], schedule: &NoiseSchedule, sampler: SamplerKind) -> Schedule {
    let mut plan = schedule.schedule(ScheduleKind::Exponential, sampler, steps(5)).unwrap();
    plan.levels = sigmas.iter().map(|sigma| plan.level_of(f64::from(*sigma))).collect();
    plan.initial_scale = plan.levels[0].sigma;
    plan
}

fn finish(sampler: &mut Sampler, schedule: &NoiseSchedule) {
    let prediction = schedule.prediction();
    while sampler.advance(&mut |x, level| Ok(formula(x, level, prediction))).unwrap().is_some() {}
}

#[test]
fn karras_runs_of_the_other_samplers_are_those_of_k_diffusion() {
    let tensors: Tensors = golden("k_samplers");
    for (key, sampler) in K_DIFFUSIONS {
        for (output, model) in [("eps", "tiny-eps"), ("v", "tiny-v")] {
            for n in [5, 12] {
                let schedule = model_schedule(model);
                let plan = plan_over(&values(&tensors[&format!("n{n}.sigmas")]), &schedule, sampler);
                let mut sampler = start(sampler, plan);
                finish(&mut sampler, &schedule);
                let expected = values(&tensors[&format!("{key}.{output}.n{n}")]);
                let error = relative_error(&sampler.state().unwrap().latents, &expected);
                eprintln!("{key}.{output}.n{n}: relative error {error:.2e}");
                // Measured: 1.5e-7 to 1.1e-6.
                assert!(error < 1e-5, "{key}.{output}.n{n}: {error:e}");
            }
        }
    }
}

/// k-diffusion computes its levels in f32, ours are f64: near the top they differ in the last bit of an f32, which is the
/// 1e-6 that the Brownian path is resolved to, and a path moves by the root of that.
#[test]
fn our_own_levels_lead_to_the_same_picture_but_for_the_paths_resolution() {
    let tensors = golden("k_samplers");
    for (key, kind) in [
        ("dpmpp_sde", SamplerKind::DpmPlusPlusSde),
        ("dpmpp_2m_sde", SamplerKind::DpmPlusPlus2MSde),
        ("dpmpp_2m_sde_heun", SamplerKind::DpmPlusPlus2MSdeHeun),
    ] {
        for n in [5, 12] {
            let schedule = model_schedule("tiny-eps");
            let mut sampler = start(kind, schedule.schedule(ScheduleKind::Karras, kind, steps(n)).unwrap());
            finish(&mut sampler, &schedule);
            let expected = values(&tensors[&format!("{key}.eps.n{n}")]);
            let error = relative_error(&sampler.state().unwrap().latents, &expected);
            eprintln!("{key}.n{n} on our own levels: relative error {error:.2e}");
            // Measured: 7e-4 to 3.7e-3.
            assert!(error < 1e-2, "{key}.n{n}: {error:e}");
        }
    }
}

#[test]
fn runs_of_the_other_samplers_are_those_of_diffusers() {
    let tensors = golden("k_samplers");
    for (key, kind, levels) in [
        ("unipc", SamplerKind::UniPcBh2, ScheduleKind::Model),
        ("unipc_bh1", SamplerKind::UniPc, ScheduleKind::Model),
        ("unipc_karras", SamplerKind::UniPcBh2, ScheduleKind::Karras),
        ("deis", SamplerKind::Deis, ScheduleKind::Model),
        ("deis_karras", SamplerKind::Deis, ScheduleKind::Karras),
        ("lcm", SamplerKind::Lcm, ScheduleKind::Model),
        ("tcd", SamplerKind::Tcd, ScheduleKind::Model),
    ] {
        for model in ["tiny-eps", "tiny-v"] {
            for n in [5, 12, 20] {
                let schedule = model_schedule(model);
                let mut plan = schedule.schedule(levels, kind, steps(n)).unwrap();
                if kind == SamplerKind::UniPc {
                    // Its reference ends at the lowest trained level, in latents of unit variance.
                    let end = schedule.level_at(0.0);
                    *plan.levels.last_mut().unwrap() = end;
                    plan.final_scale = 1.0 / (1.0 + end.sigma * end.sigma).sqrt();
                }
                let mut sampler = start(kind, plan);
                finish(&mut sampler, &schedule);
                let state = sampler.state().unwrap();
                let key = format!("diffusers.{key}.{model}.n{n}");
                let error = relative_error(&values(&sampler.latents().unwrap()), &values(&tensors[&key]));
                eprintln!("{key}: relative error {error:.2e}");
                // Measured: 1.6e-7 to 4.5e-6.
                assert!(error < 1e-5, "{key}: {error:e}");
                let mut noise = state.noise;
                let next = noise.normals(16);
                assert!(relative_error(&next, &values(&tensors[&format!("{key}.next_draw")])) < 1e-6, "{key}: draws");
            }
        }
    }
}

/// Gaussian data of deviation 1/2, whose clean latents and whose path are known: `x` shrinks with the deviation of data and
/// noise together.
fn error_after(kind: SamplerKind, n: usize) -> f64 {
    const DATA: f64 = 0.25;
    let (high, low) = (10.0_f64, 0.1_f64);
    let schedule = model_schedule("tiny-eps");
    let mut plan = schedule.schedule(ScheduleKind::Exponential, SamplerKind::Euler, steps(5)).unwrap();
    plan.levels = (0..=n).map(|i| plan.level_of(high * (low / high).powf(i as f64 / n as f64))).collect();
    plan.initial_scale = high;
    let mut sampler = start(kind, plan);
    let first = sampler.state().unwrap().latents;
    while sampler
        .advance(&mut |x, level| Ok((x * (DATA / (DATA + level.sigma * level.sigma)))?.into()))
        .unwrap()
        .is_some()
    {}
    let shrunk = ((DATA + low * low) / (DATA + high * high)).sqrt();
    let expected: Vec<f32> = first.iter().map(|x| (f64::from(*x) * shrunk) as f32).collect();
    relative_error(&sampler.state().unwrap().latents, &expected)
}

#[test]
fn solvers_have_the_order_that_they_claim() {
    for (kind, least, most) in [
        (SamplerKind::Ddim, 0.9, 1.1),
        (SamplerKind::Euler, 0.9, 1.1),
        (SamplerKind::Heun, 1.8, 2.4),
        (SamplerKind::Restart, 1.8, 2.4),
        (SamplerKind::Pndm, 0.9, 4.4),
        (SamplerKind::Ipndm, 0.9, 4.4),
        (SamplerKind::HeunPp2, 0.9, 2.4),
        (SamplerKind::EulerCfgPp, 0.9, 1.1),
        (SamplerKind::Dpm2, 1.8, 2.4),
        (SamplerKind::DpmPlusPlus2M, 1.7, 2.4),
        (SamplerKind::Deis, 1.8, 2.4),
        (SamplerKind::UniPcBh2, 1.8, 2.6),
        (SamplerKind::UniPc, 1.8, 2.6),
        (SamplerKind::Lms, 2.8, 4.4),
    ] {
        // Four times twice the steps.
        let (coarse, fine) = (error_after(kind, 12), error_after(kind, 192));
        let order = (coarse / fine).log2() / 4.0;
        eprintln!("{}: order {order:.2} (errors {coarse:.1e}, {fine:.1e})", kind.name());
        assert!(order > least && order < most, "{}: order {order:.2}, {coarse:e} {fine:e}", kind.name());
    }
}

#[test]
fn every_sampler_restored_from_any_step_ends_in_the_same_bytes() {
    let schedule = model_schedule("tiny-eps");
    let prediction = schedule.prediction();
    for &kind in SamplerKind::ALL {
        // As many as restarts need.
        let count = if kind == SamplerKind::Restart { 20 } else { 6 };
        let plan = schedule.schedule(ScheduleKind::Automatic, kind, steps(count)).unwrap();
        let (plan, _) = plan.planned_for(kind, 0);
        let mut whole = start(kind, plan.clone());
        let mut states: Vec<SamplerState> = vec![whole.state().unwrap()];
        while whole.advance(&mut |x, level| Ok(formula(x, level, prediction))).unwrap().is_some() {
            states.push(whole.state().unwrap());
        }
        let last = states[states.len() - 1].clone();
        for state in states {
            let stored = serde_json::to_string(&state).unwrap();
            let state: SamplerState = serde_json::from_str(&stored).unwrap();
            let mut restored = Sampler::restore(solver(kind), plan.clone(), &state, &Device::Cpu).unwrap();
            finish(&mut restored, &schedule);
            assert_eq!(restored.state().unwrap(), last, "{} from step {}", kind.name(), state.step);
        }
    }
}
