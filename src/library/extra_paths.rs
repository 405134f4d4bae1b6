//! ComfyUI's `extra_model_paths.yaml`: folders of models that lie elsewhere. Of YAML only what that file uses is read.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// More is no list of folders.
const MOST_BYTES: u64 = 256 << 10;

/// The folders that the file in a root names, with ComfyUI's names for what they hold; none where there is no such file.
pub fn read(root: &Path) -> Vec<(String, PathBuf)> {
    let mut text = String::new();
    let path = root.join("extra_model_paths.yaml");
    // Opening a pipe would wait for whoever writes to it.
    if !path.is_file() {
        return Vec::new();
    }
    let file = File::open(path);
    match file.and_then(|file| file.take(MOST_BYTES).read_to_string(&mut text)) {
        Ok(_) => folders(&text, root),
        Err(_) => Vec::new(),
    }
}

/// Sections of any name; in each `base_path`, and kinds with one folder, or several in the lines below a `|`.
fn folders(text: &str, root: &Path) -> Vec<(String, PathBuf)> {
    let mut found: Vec<(String, PathBuf)> = Vec::new();
    let mut base = root.to_owned();
    // Those of the section that is being read: its base may stand below them.
    let mut section: Vec<(String, String)> = Vec::new();
    let mut block: Option<(String, usize)> = None;
    let mut close = |section: &mut Vec<(String, String)>, base: &Path| {
        found.extend(section.drain(..).map(|(kind, folder)| (kind, base.join(folder))));
    };
    for line in text.lines() {
        let words = line.trim();
        if words.is_empty() || words.starts_with('#') {
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        if let Some((kind, above)) = &block {
            if indent > *above {
                section.push((kind.clone(), unquoted(words).to_owned()));
                continue;
            }
            block = None;
        }
        let Some((key, value)) = words.split_once(':') else { continue };
        let value = unquoted(value.split(" #").next().unwrap_or(value).trim());
        match (indent, key, value) {
            (0, ..) => {
                close(&mut section, &base);
                root.clone_into(&mut base);
            }
            (_, "base_path", _) => base = root.join(value),
            (_, "is_default", _) | (_, _, "") => {}
            (_, _, "|" | ">" | "|-") => block = Some((key.to_owned(), indent)),
            _ => section.push((key.to_owned(), value.to_owned())),
        }
    }
    close(&mut section, &base);
    found
}

fn unquoted(text: &str) -> &str {
    let inner = |mark: char| text.strip_prefix(mark)?.strip_suffix(mark);
    inner('"').or_else(|| inner('\'')).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comfyuis_example_is_understood() {
        let text = "#config for a1111 ui\na111:\n    base_path: /a1111/\n\n    checkpoints: models/Stable-diffusion # mine\n    \
                    loras: |\n         models/Lora\n         models/LyCORIS\n    vae: \"models/VAE\"\nother:\n    \
                    is_default: true\n    embeddings: emb\n";
        let found = folders(text, Path::new("/comfy"));
        let expected = [
            ("checkpoints", "/a1111/models/Stable-diffusion"),
            ("loras", "/a1111/models/Lora"),
            ("loras", "/a1111/models/LyCORIS"),
            ("vae", "/a1111/models/VAE"),
            ("embeddings", "/comfy/emb"),
        ];
        assert_eq!(found, expected.map(|(kind, path)| (kind.to_owned(), PathBuf::from(path))));
        assert_eq!(folders("nonsense\n: :\n\t- |\n", Path::new("/")), []);
    }
}
