//! `calotype prompt`: what a prompt comes to, without making a picture.

use std::fmt::Write;

use serde_json::json;

use super::Failure;
use super::options::PromptOptions;
use super::report::print_text;
use crate::inference;
use crate::prompt::{Entry, ParsedPrompt, Part};

pub(super) fn run(options: &PromptOptions) -> Result<(), Failure> {
    if let Some(model) = options.model.as_ref().filter(|model| !model.exists()) {
        return Err(Failure::Usage(format!("there is no such model: {}", model.display())));
    }
    let tokenizer = inference::tokenizer(options.model.as_deref()).map_err(Failure::Work)?;
    let steps = options.steps.get() as usize;
    let parsed = ParsedPrompt::positive(&options.text, steps, &tokenizer).map_err(|e| Failure::Work(e.to_string()))?;
    print_text(&if options.json { as_json(&parsed, steps) } else { as_text(&parsed, steps) });
    Ok(())
}

/// The entry in force at each of `steps` calls of the model.
fn calls(part: &Part, steps: usize) -> Vec<usize> {
    (0..steps).map(|call| part.entry_at(call)).collect()
}

fn as_json(parsed: &ParsedPrompt, steps: usize) -> String {
    let part = |part: &Part| {
        json!({
            "weight": part.weight, "text": part.text, "schedule": part.schedule, "calls": calls(part, steps)
        })
    };
    json!({ "parts": parsed.parts.iter().map(part).collect::<Vec<_>>() }).to_string()
}

fn as_text(parsed: &ParsedPrompt, steps: usize) -> String {
    let mut lines = Vec::new();
    for (index, part) in parsed.parts.iter().enumerate() {
        if parsed.parts.len() > 1 || part.weight != 1.0 {
            lines.push(format!("part {} with weight {}", index + 1, part.weight));
        }
        let calls = calls(part, steps);
        for (index, entry) in part.schedule.iter().enumerate() {
            let first = calls.iter().position(|&entry| entry == index);
            let last = calls.iter().rposition(|&entry| entry == index);
            if let (Some(first), Some(last)) = (first, last) {
                let when = if first == last {
                    format!("step {}", first + 1)
                } else {
                    format!("steps {} to {}", first + 1, last + 1)
                };
                lines.push(format!("{when}: {}", weights(entry)));
                lines.extend(chunks(entry));
            }
        }
    }
    lines.join("\n")
}

/// The stretches with their weights in brackets, where they have one.
fn weights(entry: &Entry) -> String {
    let mut text = String::new();
    for piece in &entry.pieces {
        // Writing to a String cannot fail.
        let _ = match piece.weight {
            _ if piece.is_break() => write!(text, " BREAK "),
            1.0 => write!(text, "{}", piece.text),
            weight => write!(text, "({}:{weight:.4})", piece.text),
        };
    }
    text
}

fn chunks(entry: &Entry) -> Vec<String> {
    let words = |words: &[String]| words.join(" ").replace("</w>", "");
    let line = |(index, chunk): (usize, &crate::prompt::Chunk)| {
        format!("  chunk {}, {} tokens: {}", index + 1, chunk.words.len(), words(&chunk.words))
    };
    entry.chunks.iter().enumerate().map(line).collect()
}
