//! The configuration that may lie beside a checkpoint, `<stem>.yaml`: read for what the U-Net predicts, line by line.

use std::io::Read;
use std::path::Path;

use crate::checkpoint::CheckpointError;
use crate::checkpoint::files::open_regular;

/// Far more than a configuration has.
const MOST_BYTES: u64 = 1 << 20;

/// Whether the file beside `checkpoint` says that v is predicted; `None` when there is none or it does not say.
pub(super) fn is_v_prediction(checkpoint: &Path) -> Result<Option<bool>, CheckpointError> {
    let path = checkpoint.with_extension("yaml");
    if !path.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    match open_regular(&path).and_then(|file| file.take(MOST_BYTES).read_to_end(&mut bytes)) {
        Ok(_) => Ok(said(&String::from_utf8_lossy(&bytes))),
        Err(source) => Err(CheckpointError::Io { source, path }),
    }
}

/// CompVis' files name the parameterization, generative-models' the class that scales the U-Net's output.
fn said(text: &str) -> Option<bool> {
    text.lines().find_map(|line| {
        let line = line.split(" #").next()?.trim().trim_start_matches("- ");
        let (key, value) = line.split_once(':')?;
        let value = value.trim().trim_matches(['"', '\'']);
        match (key.trim(), value.rsplit('.').next()?) {
            ("parameterization", "v") | ("target", "VScaling") => Some(true),
            ("parameterization", "eps") | ("target", "EpsScaling") => Some(false),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_saying_it_are_understood_and_comments_are_not() {
        assert_eq!(said("model:\n  params:\n    parameterization: \"v\"  # as trained\n"), Some(true));
        assert_eq!(said("    parameterization: 'eps'"), Some(false));
        assert_eq!(said("  target: sgm.modules.diffusionmodules.denoiser_scaling.VScaling"), Some(true));
        assert_eq!(said("# parameterization: v\ntarget: ldm.models.diffusion.ddpm.LatentDiffusion"), None);
    }
}
