//! The prompts that pictures were made from, the newest first.

use serde::{Deserialize, Serialize};

/// How many are kept.
const MOST: usize = 500;
/// A longer one is not kept, in bytes: the store is written every few seconds.
const LONGEST: usize = 20_000;

/// Each once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PromptHistory {
    prompts: Vec<String>,
}

impl PromptHistory {
    /// Puts a prompt in front, from wherever it was.
    pub fn remember(&mut self, prompt: &str) {
        let prompt = prompt.trim();
        if prompt.is_empty() || prompt.len() > LONGEST {
            return;
        }
        self.prompts.retain(|known| known != prompt);
        self.prompts.insert(0, prompt.to_owned());
        self.prompts.truncate(MOST);
    }

    /// Those that hold every word of `query`, in any case; all for none.
    #[must_use]
    pub fn search(&self, query: &str) -> Vec<&str> {
        let words: Vec<String> = query.split_whitespace().map(str::to_lowercase).collect();
        let holds_all = |prompt: &str| {
            let prompt = prompt.to_lowercase();
            words.iter().all(|word| prompt.contains(word))
        };
        self.prompts.iter().map(String::as_str).filter(|prompt| words.is_empty() || holds_all(prompt)).collect()
    }

    /// Brings one from a damaged file back into bounds.
    pub fn repair(&mut self) {
        for prompt in std::mem::take(&mut self.prompts).iter().rev() {
            self.remember(prompt);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_first_and_each_is_there_once() {
        let mut history = PromptHistory::default();
        for prompt in ["a cat", "a Dog", " a cat ", "", "  "] {
            history.remember(prompt);
        }
        assert_eq!(history.search(""), ["a cat", "a Dog"]);
        assert_eq!(history.search("dog A"), ["a Dog"]);
        assert_eq!(history.search("bird"), [""; 0]);
    }

    #[test]
    fn it_has_an_end_and_survives_a_store() {
        let mut history = PromptHistory::default();
        (0..600).for_each(|number| history.remember(&format!("cat {number}")));
        history.remember(&"x".repeat(LONGEST + 1));
        assert_eq!((history.search("").len(), history.search("")[0]), (MOST, "cat 599"));
        let mut back: PromptHistory = serde_json::from_str(&serde_json::to_string(&history).unwrap()).unwrap();
        back.repair();
        assert_eq!(back, history);
    }
}
