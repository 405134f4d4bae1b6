//! The closed lists of a request: samplers, schedules, noise sources, each with its name and its label.

use serde::{Deserialize, Serialize};

use super::RequestError;

/// Declares a closed list whose every member has a short name (command line, files) and a label (window).
macro_rules! named_kinds {
    ($(#[$doc:meta])* $kind:ident, $what:literal, { $($(#[$variant_doc:meta])* $variant:ident => $name:literal, $label:literal;)+ }) => {
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
        }

        impl std::str::FromStr for $kind {
            type Err = RequestError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|kind| kind.name() == text).ok_or_else(|| RequestError::Unknown {
                    what: $what,
                    found: text.to_owned(),
                    known: Self::ALL.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", "),
                })
            }
        }
    };
}

named_kinds! {
    /// The solvers of the denoising.
    SamplerKind, "sampler", {
        /// Denoising diffusion implicit models, eta 0 (Song et al. 2020, arXiv:2010.02502).
        Ddim => "ddim", "DDIM";
        /// Denoising diffusion probabilistic models with the posterior variance (Ho et al. 2020, arXiv:2006.11239).
        Ddpm => "ddpm", "DDPM";
        /// Euler's method on the probability-flow equation (Karras et al. 2022, arXiv:2206.00364, algorithm 2 without churn).
        Euler => "euler", "Euler";
        /// Euler's method with ancestral noise.
        EulerAncestral => "euler-a", "Euler a";
        /// Heun's second-order method (Karras et al. 2022, algorithm 2 without churn).
        Heun => "heun", "Heun";
        /// DPM-Solver++ (2M), multistep (Lu et al. 2022, arXiv:2211.01095).
        #[default]
        DpmPlusPlus2M => "dpmpp-2m", "DPM++ 2M";
    }
}

named_kinds! {
    /// The noise levels that a solver visits.
    ScheduleKind, "schedule", {
        /// What the model folder's `scheduler_config` says.
        #[default]
        Model => "model", "Model";
        /// Karras et al. 2022, equation 5, rho 7.
        Karras => "karras", "Karras";
    }
}

named_kinds! {
    /// The generators that can draw the noise.
    NoiseSourceKind, "noise source", {
        /// torch's CPU generator (mt19937).
        #[default]
        TorchCpu => "torch-cpu", "CPU";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for &kind in SamplerKind::ALL {
            assert_eq!(kind.name().parse::<SamplerKind>().unwrap(), kind);
        }
        assert!("plms".parse::<SamplerKind>().unwrap_err().to_string().contains("euler-a"));
    }
}
