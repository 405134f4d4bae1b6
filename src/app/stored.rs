//! What survives a restart, as text.

use crate::state::Persisted;

/// Reads what an earlier run wrote; a part that cannot be read is as on the first day.
#[must_use]
pub fn read_stored(text: &str) -> Persisted {
    let stored: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let part = |name: &str| stored.get(name).cloned().unwrap_or_default();
    let mut persisted = Persisted {
        form: serde_json::from_value(part("form")).unwrap_or_default(),
        settings: serde_json::from_value(part("settings")).unwrap_or_default(),
        history: serde_json::from_value(part("history")).unwrap_or_default(),
    };
    persisted.history.repair();
    persisted.form.repair();
    persisted.settings.repair();
    persisted
}

/// Writes what [`read_stored`] reads.
#[must_use]
pub fn to_store(persisted: &Persisted) -> String {
    serde_json::to_string(persisted).unwrap_or_else(|error| {
        tracing::error!("form and settings could not be stored: {error}");
        String::new()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_json_cannot_hold_cost_only_themselves() {
        let mut persisted = Persisted::default();
        persisted.form.prompt = "kept".into();
        persisted.form.guidance.choose(f64::INFINITY);
        let mut studio = crate::state::Studio::new(persisted);
        studio.refresh();
        let back = read_stored(&to_store(&studio.persisted()));
        assert_eq!(back.form.prompt, "kept");
        assert!(back.form.guidance.value.is_finite());
    }
}
