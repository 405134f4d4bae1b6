//! `calotype prompt`: what a prompt comes to, without making a picture.

use std::fmt::Write;

use serde_json::json;

use super::Failure;
use super::models;
use super::options::PromptOptions;
use super::report::print_text;
use crate::prompt::{Entry, ParsedPrompt, Part, TypedPrompts, read_as_typed};
use crate::{folders, inference};

pub(super) fn run(options: &PromptOptions) -> Result<(), Failure> {
    let model = options.model.as_deref().map(models::resolve).transpose()?;
    let tokenizer = inference::tokenizer(model.as_deref(), &options.companions.resolve()?).map_err(Failure::Work)?;
    let steps = options.steps.get() as usize;
    let text = text(options)?;
    let parsed = ParsedPrompt::positive(&text, steps, options.dialect, &tokenizer);
    let parsed = parsed.map_err(|e| Failure::Work(e.to_string()))?;
    print_text(&if options.json { as_json(&parsed, steps) } else { as_text(&parsed, steps) });
    Ok(())
}

/// The prompt as the engine would get it.
fn text(options: &PromptOptions) -> Result<String, Failure> {
    let Some(seed) = options.seed else { return Ok(read_as_typed(&options.text, options.dialect)) };
    let typed = TypedPrompts { prompt: &options.text, negative_prompt: "", dialect: options.dialect };
    let folder = folders::wildcard_folder();
    let files = typed.wildcard_files(folder.clone(), |name| folders::wildcard_lines(&folder, name));
    Ok(typed.settle(seed, &files).map_err(|e| Failure::Usage(e.to_string()))?.prompt)
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
    json!({ "parts": parsed.parts.iter().map(part).collect::<Vec<_>>(), "loras": parsed.loras }).to_string()
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
    for call in &parsed.loras {
        let weight = call.weight.map_or_else(|| "no weight".to_owned(), |weight| format!("weight {weight}"));
        lines.push(format!("calls {} {} with {weight}", call.kind, call.name));
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
