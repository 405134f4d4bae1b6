//! The names that other programs have for samplers and schedules, in ours.
//!
//! The names here are those of the command line. A name that this build does not have is not understood; one that it
//! learns is understood from then on.

use crate::request::{SamplerKind, ScheduleKind};

/// Samplers: every other program's spelling without its marks, `++` as `pp`, and ours.
const SAMPLERS: &[(&[&str], &str)] = &[
    (&["ddim"], "ddim"),
    (&["ddpm"], "ddpm"),
    (&["euler"], "euler"),
    (&["eulera", "eulerancestral"], "euler-a"),
    (&["heun"], "heun"),
    (&["heunpp2"], "heunpp2"),
    (&["lms"], "lms"),
    (&["dpm2", "kdpm2"], "dpm2"),
    (&["dpm2a", "dpm2ancestral", "kdpm2a"], "dpm2-a"),
    (&["dpmpp2m"], "dpmpp-2m"),
    (&["dpmpp2sa", "dpmpp2sancestral"], "dpmpp-2s-a"),
    (&["dpmppsde", "dpmppsdegpu"], "dpmpp-sde"),
    (&["dpmpp2msde", "dpmpp2msdegpu"], "dpmpp-2m-sde"),
    (&["dpmpp2msdeheun", "dpmpp2msdeheungpu"], "dpmpp-2m-sde-heun"),
    (&["dpmpp3msde", "dpmpp3msdegpu"], "dpmpp-3m-sde"),
    (&["dpmfast"], "dpm-fast"),
    (&["dpmadaptive"], "dpm-adaptive"),
    (&["restart"], "restart"),
    (&["unipc", "unipcbh1"], "unipc"),
    (&["unipcbh2"], "unipc-bh2"),
    (&["plms", "pndm"], "pndm"),
    (&["lcm"], "lcm"),
    (&["tcd"], "tcd"),
    (&["deis"], "deis"),
    (&["ipndm"], "ipndm"),
    (&["eulercfgpp"], "euler-cfg-pp"),
    (&["ddimcfgpp"], "ddim-cfg-pp"),
];

/// Schedules, likewise. A1111's "Uniform", stable-diffusion.cpp's "discrete" and ComfyUI's "normal" are k-diffusion's even
/// timesteps.
const SCHEDULES: &[(&[&str], &[&str])] = &[
    (&["karras"], &["karras"]),
    (&["exponential"], &["exponential"]),
    (&["polyexponential"], &["polyexponential"]),
    (&["sgmuniform"], &["sgm-uniform"]),
    (&["simple"], &["simple"]),
    (&["normal", "uniform", "discrete"], &["normal"]),
    (&["native", "model"], &["model"]),
    (&["ddimuniform", "ddim"], &["ddim-uniform"]),
    (&["beta"], &["beta"]),
    (&["kloptimal"], &["kl-optimal"]),
    (&["alignyoursteps", "ays"], &["align-your-steps"]),
    (&["alignyourstepsxl"], &["align-your-steps-xl"]),
    (&["linearquadratic"], &["linear-quadratic"]),
];

/// Words at the end of a sampler's name that are a schedule, the longest first.
const ENDINGS: &[(&str, &str)] = &[
    ("polyexponential", "polyexponential"),
    ("exponential", "exponential"),
    ("sgmuniform", "sgmuniform"),
    ("kloptimal", "kloptimal"),
    ("discrete", "discrete"),
    ("karras", "karras"),
    ("simple", "simple"),
    ("ays", "ays"),
];

/// The sampler that a name means, and the schedule that is part of the name: A1111's "DPM++ 2M Karras", k-diffusion's
/// `sample_dpmpp_2m`, InvokeAI's `dpmpp_2m_k` and `k_euler_a`, stable-diffusion.cpp's `euler_a karras`.
#[must_use]
pub fn sampler(name: &str) -> Option<(SamplerKind, Option<ScheduleKind>)> {
    let name = name.trim().to_lowercase();
    let name = name.strip_prefix("sample_").unwrap_or(&name);
    let name = name.strip_prefix("k_").unwrap_or(name);
    if let Some(name) = name.strip_suffix("_k") {
        return Some((bare_sampler(&letters(name))?, schedule("karras", None)));
    }
    let letters = letters(name);
    if let Some(sampler) = bare_sampler(&letters) {
        return Some((sampler, None));
    }
    let (name, ending) =
        ENDINGS.iter().find_map(|(ending, schedule)| Some((letters.strip_suffix(ending)?, schedule)))?;
    // A sampler whose schedule is not known here is not the sampler that was meant.
    Some((bare_sampler(name)?, Some(schedule(ending, None)?)))
}

/// The schedule that a name means. A1111's "Automatic" is each sampler's own choice.
#[must_use]
pub fn schedule(name: &str, sampler: Option<SamplerKind>) -> Option<ScheduleKind> {
    let letters = letters(name);
    if letters == "automatic" {
        return Some(ScheduleKind::Automatic.resolved_for(sampler?));
    }
    let (_, ours) = SCHEDULES.iter().find(|(names, _)| names.contains(&letters.as_str()))?;
    ours.iter().find_map(|name| name.parse().ok())
}

fn bare_sampler(letters: &str) -> Option<SamplerKind> {
    let (_, ours) = SAMPLERS.iter().find(|(names, _)| names.contains(&letters))?;
    ours.parse().ok()
}

fn letters(name: &str) -> String {
    name.to_lowercase().replace("++", "pp").chars().filter(|c| c.is_alphanumeric()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_sampler_is_known() {
        for name in ["Euler a", "euler_a", "k_euler_a", "euler_ancestral", "k_euler_ancestral", "Euler A"] {
            assert_eq!(sampler(name), Some((SamplerKind::EulerAncestral, None)), "{name}");
        }
        for name in ["DPM++ 2M", "dpmpp_2m", "sample_dpmpp_2m", "dpm++2m", "k_dpmpp_2m"] {
            assert_eq!(sampler(name), Some((SamplerKind::DpmPlusPlus2M, None)), "{name}");
        }
    }

    #[test]
    fn a_schedule_in_the_name_is_taken_out() {
        let karras = Some((SamplerKind::DpmPlusPlus2M, Some(ScheduleKind::Karras)));
        for name in ["DPM++ 2M Karras", "dpmpp_2m_k", "dpm++2m karras", "dpmpp_2m_karras"] {
            assert_eq!(sampler(name), karras, "{name}");
        }
        assert_eq!(sampler("euler discrete"), Some((SamplerKind::Euler, Some(ScheduleKind::Normal))));
        assert_eq!(sampler("Euler A Trailing"), None);
    }

    #[test]
    fn automatic_is_the_samplers_choice() {
        assert_eq!(schedule("Automatic", Some(SamplerKind::DpmPlusPlus2M)), Some(ScheduleKind::Karras));
        assert_eq!(schedule("Automatic", Some(SamplerKind::Euler)), Some(ScheduleKind::Normal));
        assert_eq!(schedule("Automatic", None), None);
    }
}
