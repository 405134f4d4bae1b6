//! A picture's recipe as the window shows it, whether it comes from our own record or from another program's text.

use crate::gallery::record::ReadRecipe;

/// The recipe's short facts as rows of name and value, in the order of the form; prompts are left to the caller.
#[must_use]
pub fn rows(recipe: &ReadRecipe) -> Vec<(&'static str, String)> {
    let rows = [
        ("Size", recipe.size.map(|size| format!("{} × {}", size.width(), size.height()))),
        ("Steps", recipe.steps.map(|steps| steps.get().to_string())),
        ("Guidance", recipe.guidance.map(|guidance| guidance.get().to_string())),
        ("Sampler", recipe.sampler.map(|sampler| sampler.label().to_owned())),
        ("Schedule", recipe.schedule.map(|schedule| schedule.label().to_owned())),
        ("Seed", recipe.seed.map(|seed| seed.to_string())),
        ("Strength", recipe.strength.map(|strength| strength.get().to_string())),
        ("Model", recipe.model.clone()),
    ];
    rows.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))).collect()
}
