//! The closed lists of a request: samplers, schedules, noise sources, each with its name, its label and what it is.

use serde::{Deserialize, Serialize};

use super::RequestError;

/// Declares a closed list whose every member has a short name (command line, files), a label (window), the field's other
/// names for it, and a sentence.
macro_rules! named_kinds {
    ($(#[$doc:meta])* $kind:ident, $what:literal, {
        $($(#[$variant_doc:meta])* $variant:ident => $name:literal, $label:literal, [$($also:literal),*], $summary:literal;)+
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
        pub enum $kind {
            $($(#[$variant_doc])* #[serde(rename = $name)] $variant,)+
        }

        impl $kind {
            /// Every member, in menu order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name on the command line and in files.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The name in the window and in A1111's infotext.
            #[must_use]
            pub fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }

            /// What it is, in one sentence.
            #[must_use]
            pub fn summary(self) -> &'static str {
                match self { $(Self::$variant => $summary,)+ }
            }

            /// What other programs call it, beside name and label.
            fn other_names(self) -> &'static [&'static str] {
                match self { $(Self::$variant => &[$($also),*],)+ }
            }
        }

        impl std::str::FromStr for $kind {
            type Err = RequestError;

            /// Understands the name, the label and the field's other names, whatever their case and separators.
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let asked = letters(text);
                let is_asked = |kind: &Self| {
                    [kind.name(), kind.label()].iter().chain(kind.other_names()).any(|name| letters(name) == asked)
                };
                Self::ALL.iter().copied().find(is_asked).ok_or_else(|| RequestError::Unknown {
                    what: $what,
                    found: text.to_owned(),
                    known: Self::ALL.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", "),
                })
            }
        }
    };
}

/// What names are compared by: "DPM++ 2M", "dpmpp_2m", "sample_dpmpp_2m" and "k_dpmpp_2m" are one.
fn letters(name: &str) -> String {
    let name = name.trim().to_lowercase().replace('+', "p");
    let name = name.strip_prefix("sample_").unwrap_or(&name);
    let name = name.strip_prefix("k_").unwrap_or(name);
    name.chars().filter(|c| c.is_alphanumeric()).collect()
}

named_kinds! {
    /// The solvers of the denoising.
    SamplerKind, "sampler", {
        /// Denoising diffusion implicit models, eta 0 unless told (Song et al. 2020, arXiv:2010.02502).
        Ddim => "ddim", "DDIM", [], "the first fast one; no noise of its own unless eta asks for it";
        /// DDIM with the noise of the unguided prediction (Chung et al. 2024, arXiv:2406.08070), as A1111 has it: its
        /// guidance is divided by 12.5.
        DdimCfgPp => "ddim-cfg-pp", "DDIM CFG++", ["ddim_cfgpp"], "DDIM that stays on the model's manifold at any guidance";
        /// Denoising diffusion probabilistic models with the posterior variance (Ho et al. 2020, arXiv:2006.11239).
        Ddpm => "ddpm", "DDPM", [], "as models are trained; fresh noise at every step, wants many";
        /// Euler's method on the probability-flow equation (Karras et al. 2022, arXiv:2206.00364, algorithm 2 without churn).
        Euler => "euler", "Euler", [], "first order, one call a step";
        /// Euler's method with the noise of the unguided prediction (Chung et al. 2024, arXiv:2406.08070), as ComfyUI has it.
        EulerCfgPp => "euler-cfg-pp", "Euler CFG++", ["euler_cfgpp"],
            "stays on the model's manifold; wants a guidance of about 1 to 2";
        /// Euler's method with ancestral noise.
        EulerAncestral => "euler-a", "Euler a", ["euler_ancestral"], "Euler with fresh noise at every step";
        /// Heun's second-order method (Karras et al. 2022, algorithm 2 without churn).
        Heun => "heun", "Heun", [], "second order, two calls a step";
        /// Heun's method with a third slope where there is room for it (ComfyUI's `heunpp2`).
        HeunPp2 => "heunpp2", "Heun++ 2", ["heun++", "heunpp"], "up to three slopes a step, weighted by sigma";
        /// Heun's method that climbs back to sigma 2 and comes down again (Xu et al. 2023, arXiv:2306.14878), as A1111 has it.
        Restart => "restart", "Restart", [], "Heun with a second descent from half way, two calls a step";
        /// Linear multistep, the Adams-Bashforth method of order four on uneven levels (Crowson's k-diffusion).
        Lms => "lms", "LMS", [], "fourth order from the slopes of four steps, one call a step";
        /// DPM-Solver-2 in the variance-exploding form (Lu et al. 2022, arXiv:2206.00927; Karras et al. 2022).
        Dpm2 => "dpm2", "DPM2", ["dpm_2", "kdpm2"], "second order through the middle, two calls a step";
        /// DPM-Solver-2 with ancestral noise.
        Dpm2Ancestral => "dpm2-a", "DPM2 a", ["dpm_2_ancestral", "dpm2 ancestral", "dpm_2_a", "kdpm2_ancestral"],
            "DPM2 with fresh noise at every step";
        /// DPM-Solver-fast: steps of third order, then of second and first (Lu et al. 2022, arXiv:2206.00927, section 3.4).
        DpmFast => "dpm-fast", "DPM fast", [], "as many calls as steps, three to a leap";
        /// DPM-Solver-23 with a step size of its own (Lu et al. 2022, arXiv:2206.00927, appendix C).
        DpmAdaptive => "dpm-adaptive", "DPM adaptive", ["dpm_ad"], "takes as many steps as it needs, whatever is asked";
        /// DPM-Solver++ (2S), single step, with ancestral noise (Lu et al. 2022, arXiv:2211.01095).
        DpmPlusPlus2SAncestral => "dpmpp-2s-a", "DPM++ 2S a", ["dpmpp_2s_ancestral", "dpm++ 2s ancestral"],
            "second order with fresh noise, two calls a step";
        /// DPM-Solver++ (2M), multistep (Lu et al. 2022, arXiv:2211.01095).
        #[default]
        DpmPlusPlus2M => "dpmpp-2m", "DPM++ 2M", [], "second order from two steps, one call a step";
        /// DPM-Solver++ as a stochastic equation, two stages a step (Lu et al. 2022, arXiv:2211.01095).
        DpmPlusPlusSde => "dpmpp-sde", "DPM++ SDE", [], "stochastic, two calls a step; its noise is a Brownian path";
        /// SDE-DPM-Solver++ (2M), midpoint form (Lu et al. 2022, arXiv:2211.01095).
        DpmPlusPlus2MSde => "dpmpp-2m-sde", "DPM++ 2M SDE", [], "DPM++ 2M along a Brownian path, one call a step";
        /// SDE-DPM-Solver++ (2M), Heun form (Crowson's k-diffusion).
        DpmPlusPlus2MSdeHeun => "dpmpp-2m-sde-heun", "DPM++ 2M SDE Heun", [], "the same with Heun's correction";
        /// SDE-DPM-Solver++ with the predictions of three steps (Crowson's k-diffusion).
        DpmPlusPlus3MSde => "dpmpp-3m-sde", "DPM++ 3M SDE", [], "third order from three steps along a Brownian path";
        /// UniPC with B(h) = h (Zhao et al. 2023, arXiv:2302.04867), what the web UIs call UniPC.
        UniPc => "unipc", "UniPC", ["uni_pc", "unipc-bh1"], "second order, corrected by the next step's call";
        /// UniPC with B(h) = exp(h) - 1, diffusers' default.
        UniPcBh2 => "unipc-bh2", "UniPC BH2", ["uni_pc_bh2"], "the same in its other form, which diffusers takes";
        /// DEIS of second order in the logarithm of sigma (Zhang & Chen 2022, arXiv:2204.13902).
        Deis => "deis", "DEIS", ["deis_multistep"], "second order from two steps, exact in the logarithm of the noise";
        /// Pseudo linear multistep (Liu et al. 2022, arXiv:2202.09778), without the Runge-Kutta start.
        Pndm => "pndm", "PLMS", ["plms", "pndm_plms"], "fourth order on even timesteps, one call a step and one more; wants 50";
        /// Improved pseudo numerical methods (Zhang & Chen 2022, arXiv:2204.13902, section 4), order four, as ComfyUI has it.
        Ipndm => "ipndm", "IPNDM", [], "fourth order as if steps were even, one call a step; wants many";
        /// Latent consistency models (Luo et al. 2023, arXiv:2310.04378).
        Lcm => "lcm", "LCM", [], "for models distilled to few steps; guidance near 1";
        /// Trajectory consistency distillation, eta 0.3 (Zheng et al. 2024, arXiv:2402.19159).
        Tcd => "tcd", "TCD", [], "likewise, for models distilled that way";
    }
}

impl SamplerKind {
    /// True for those that bring their own grid of timesteps: A1111 gives them no schedule to choose from.
    #[must_use]
    pub fn has_own_grid(self) -> bool {
        matches!(self, Self::Ddim | Self::DdimCfgPp | Self::Ddpm | Self::Pndm | Self::Lcm | Self::Tcd)
    }

    /// The share of fresh noise in its steps unless [`super::SamplerOptions::eta`] says another; none for those that do
    /// not look at it. DPM fast and adaptive are A1111's, whose eta is 1; k-diffusion's own default is 0.
    #[must_use]
    pub fn usual_eta(self) -> Option<f64> {
        match self {
            Self::Ddim => Some(0.0),
            Self::Tcd => Some(0.3),
            Self::Ddpm
            | Self::EulerAncestral
            | Self::Dpm2Ancestral
            | Self::DpmFast
            | Self::DpmAdaptive
            | Self::DpmPlusPlus2SAncestral
            | Self::DpmPlusPlusSde
            | Self::DpmPlusPlus2MSde
            | Self::DpmPlusPlus2MSdeHeun
            | Self::DpmPlusPlus3MSde => Some(1.0),
            _ => None,
        }
    }

    /// True for those that look at [`super::SamplerOptions::churn`].
    #[must_use]
    pub fn takes_churn(self) -> bool {
        matches!(self, Self::Euler | Self::Heun | Self::HeunPp2 | Self::Dpm2)
    }

    /// True for those that may add noise of their own, and so look at [`super::SamplerOptions::noise_factor`].
    #[must_use]
    pub fn may_add_noise(self) -> bool {
        self.usual_eta().is_some() || self.takes_churn() || matches!(self, Self::Restart | Self::Lcm)
    }
}

named_kinds! {
    /// The noise levels that a solver visits.
    ScheduleKind, "schedule", {
        /// What the model folder's `scheduler_config` says.
        #[default]
        Model => "model", "Model", [], "the levels that the model's own settings ask for";
        /// What A1111 takes for the sampler: see [`ScheduleKind::resolved_for`].
        Automatic => "automatic", "Automatic", [], "what suits the sampler: Karras, exponential or even timesteps";
        /// Karras et al. 2022, equation 5, rho 7.
        Karras => "karras", "Karras", [], "many steps at low noise";
        /// Even steps in the logarithm of sigma (Crowson's k-diffusion).
        Exponential => "exponential", "Exponential", [], "even steps in the logarithm of the noise";
        /// A polynomial in the logarithm of sigma, with A1111's rho of 1 the same as exponential.
        Polyexponential => "polyexponential", "Polyexponential", [], "exponential with an exponent, which is 1";
        /// Even timesteps that leave out the lowest (Stability AI's generative-models).
        SgmUniform => "sgm-uniform", "SGM Uniform", [], "even timesteps without the lowest";
        /// Even steps of the arctangent of sigma (Sabour et al. 2024, arXiv:2404.14507, theorem 3.1); ends at the lowest
        /// trained level.
        KlOptimal => "kl-optimal", "KL Optimal", [], "even steps of the arctangent of the noise";
        /// The published table for Stable Diffusion 1.5 (Sabour et al. 2024, arXiv:2404.14507).
        AlignYourSteps => "align-your-steps", "Align Your Steps", ["ays", "ays sd1"], "a table made for few steps";
        /// The published table for Stable Diffusion XL (Sabour et al. 2024, arXiv:2404.14507).
        AlignYourStepsXl => "align-your-steps-xl", "Align Your Steps XL", ["ays xl", "ays sdxl"], "the same, made for SDXL";
        /// Trained levels at an even stride from the top (ComfyUI).
        Simple => "simple", "Simple", [], "trained levels at an even stride from the top";
        /// Even timesteps from the highest to the lowest (ComfyUI).
        Normal => "normal", "Normal", ["uniform", "discrete"], "even timesteps from the highest to the lowest";
        /// Trained levels at an even stride from the bottom (ComfyUI); may take a step more than asked.
        DdimUniform => "ddim-uniform", "DDIM", [], "trained levels at an even stride from the bottom";
        /// Quantiles of the beta distribution (Lee et al. 2024, arXiv:2407.12173), over sigma as A1111 reads it.
        Beta => "beta", "Beta", [], "more steps at both ends";
        /// A line, then a parabola (Genmo's Mochi 1).
        LinearQuadratic => "linear-quadratic", "Linear Quadratic", [], "half of the steps near full noise";
    }
}

impl ScheduleKind {
    /// Itself, or what A1111 takes for `sampler` when it is to choose (the `scheduler` options of its
    /// `sd_samplers_kdiffusion.py`).
    #[must_use]
    pub fn resolved_for(self, sampler: SamplerKind) -> Self {
        match (self, sampler) {
            (
                Self::Automatic,
                SamplerKind::DpmPlusPlus2M
                | SamplerKind::DpmPlusPlusSde
                | SamplerKind::DpmPlusPlus2SAncestral
                | SamplerKind::Dpm2
                | SamplerKind::Dpm2Ancestral
                | SamplerKind::Restart,
            ) => Self::Karras,
            (
                Self::Automatic,
                SamplerKind::DpmPlusPlus2MSde | SamplerKind::DpmPlusPlus2MSdeHeun | SamplerKind::DpmPlusPlus3MSde,
            ) => Self::Exponential,
            (Self::Automatic, sampler) if sampler.has_own_grid() => Self::Model,
            // k-diffusion's own, which A1111 calls "Uniform".
            (Self::Automatic, _) => Self::Normal,
            (kind, _) => kind,
        }
    }
}

named_kinds! {
    /// The generators that can draw the noise.
    NoiseSourceKind, "noise source", {
        /// torch's CPU generator (mt19937).
        #[default]
        TorchCpu => "torch-cpu", "CPU", [], "torch's generator on the processor, as in ComfyUI and diffusers";
        /// torch's CUDA generator (Philox 4x32-10; Salmon et al. 2011), which A1111 calls "NV" where it imitates it.
        Philox => "philox", "GPU", ["cuda", "nv"], "torch's generator on an NVIDIA card, A1111's default";
        /// The CPU's for the first noise, an NVIDIA card's for the sampler's, the CPU's for Brownian paths.
        ComfyUi => "comfyui", "ComfyUI", [], "the processor's for the first noise, a card's for the sampler's, as in ComfyUI";
    }
}

named_kinds! {
    /// What a U-Net predicts, where its user says it in place of its files.
    PredictionOverride, "prediction", {
        /// The noise (Ho et al. 2020).
        #[default]
        Epsilon => "epsilon", "Epsilon", ["eps"], "the noise: most models";
        /// The velocity between noise and picture (Salimans & Ho 2022).
        V => "v", "v", ["v_prediction", "vpred", "velocity"], "v: Stable Diffusion 2.1 at 768 pixels and what its makers call v-prediction";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_round_trip_and_are_nobody_elses() {
        for &kind in SamplerKind::ALL {
            assert_eq!(kind.name().parse::<SamplerKind>().unwrap(), kind);
            assert_eq!(kind.label().parse::<SamplerKind>().unwrap(), kind);
        }
        for &kind in ScheduleKind::ALL {
            assert_eq!(kind.name().parse::<ScheduleKind>().unwrap(), kind);
            assert_eq!(kind.label().parse::<ScheduleKind>().unwrap(), kind);
        }
        assert!("nonsense".parse::<SamplerKind>().unwrap_err().to_string().contains("euler-a"));
    }

    #[test]
    fn the_names_of_other_programs_are_understood() {
        for (text, kind) in [
            ("k_euler_a", SamplerKind::EulerAncestral),
            ("euler_ancestral", SamplerKind::EulerAncestral),
            ("sample_dpmpp_2m", SamplerKind::DpmPlusPlus2M),
            ("DPM++ 2M SDE Heun", SamplerKind::DpmPlusPlus2MSdeHeun),
            ("dpmpp_2s_ancestral", SamplerKind::DpmPlusPlus2SAncestral),
            ("dpm_2_ancestral", SamplerKind::Dpm2Ancestral),
        ] {
            assert_eq!(text.parse::<SamplerKind>().unwrap(), kind, "{text}");
        }
        assert_eq!("sgm_uniform".parse::<ScheduleKind>().unwrap(), ScheduleKind::SgmUniform);
        // Two things in one name: which schedule was meant would be lost.
        assert!("DPM++ 2M Karras".parse::<SamplerKind>().is_err());
    }
}
