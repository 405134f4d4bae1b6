//! A picture's recipe as the window shows it, whether it comes from our own record or from another program's text.

use crate::gallery::record::ReadRecipe;

/// The recipe's short facts as rows of name and value, in the order of the form; prompts are left to the caller.
#[must_use]
pub fn rows(recipe: &ReadRecipe) -> Vec<(&'static str, String)> {
    let mut rows = recipe.facts();
    rows.retain(|(name, _)| !matches!(*name, "Prompt" | "Negative prompt"));
    if let (Some((_, text)), Some(size)) = (rows.iter_mut().find(|(name, _)| *name == "Size"), recipe.size) {
        *text = format!("{} × {}", size.width(), size.height());
    }
    rows
}
