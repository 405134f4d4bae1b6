//! The hashes by which recipes name LoRAs, embeddings and VAEs.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::CheckpointError;

/// How much is read at once.
const PIECE_BYTES: usize = 1 << 20;
/// Hexadecimal digits that recipes keep of LoRAs and embeddings.
const DIGITS: usize = 12;
/// The same of whole models and VAEs.
const DIGITS_OF_A_MODEL: usize = 10;

/// A LoRA's: of what stands behind the safetensors header, so that a change of the metadata does not change it (AutoV3).
/// A file that is no safetensors is hashed whole.
///
/// # Errors
/// When the file cannot be read.
pub fn lora_hash(path: &Path) -> Result<String, CheckpointError> {
    let io = |source| CheckpointError::Io { source, path: path.to_owned() };
    let mut file = File::open(path).map_err(io)?;
    let len = file.metadata().map_err(io)?.len();
    let mut prefix = [0; 9];
    let header = file.read_exact(&mut prefix).ok().map(|()| {
        let [len @ .., first] = prefix;
        (u64::from_le_bytes(len), first)
    });
    let start = match header {
        Some((header, b'{')) if header <= len - 8 => header + 8,
        _ => 0,
    };
    hash_from(&mut file, (start, DIGITS), &|| true).map_err(io)?.ok_or(CheckpointError::Cancelled)
}

/// An embedding's: of the whole file.
///
/// # Errors
/// As [`lora_hash`].
pub fn embedding_hash(path: &Path) -> Result<String, CheckpointError> {
    let io = |source| CheckpointError::Io { source, path: path.to_owned() };
    let hash = hash_from(&mut File::open(path).map_err(io)?, (0, DIGITS), &|| true);
    hash.map_err(io)?.ok_or(CheckpointError::Cancelled)
}

/// A VAE's: of the whole file, which may be large: `is_wanted` is asked on the way.
///
/// # Errors
/// As [`lora_hash`], and when it is no longer wanted.
pub fn vae_hash(path: &Path, is_wanted: &dyn Fn() -> bool) -> Result<String, CheckpointError> {
    let io = |source| CheckpointError::Io { source, path: path.to_owned() };
    let hash = hash_from(&mut File::open(path).map_err(io)?, (0, DIGITS_OF_A_MODEL), is_wanted);
    hash.map_err(io)?.ok_or(CheckpointError::Cancelled)
}

/// So many digits of what is there from `start` on; none when it is no longer wanted.
fn hash_from(
    file: &mut File,
    (start, digits): (u64, usize),
    is_wanted: &dyn Fn() -> bool,
) -> std::io::Result<Option<String>> {
    file.seek(SeekFrom::Start(start))?;
    let mut hasher = Sha256::new();
    let mut piece = vec![0; PIECE_BYTES];
    while is_wanted() {
        let read = file.read(&mut piece)?;
        if read == 0 {
            let digest = hasher.finalize();
            let digits = digest.iter().flat_map(|byte| [byte >> 4, byte & 15]).take(digits);
            return Ok(Some(digits.filter_map(|digit| char::from_digit(u32::from(digit), 16)).collect()));
        }
        hasher.update(&piece[..read]);
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loras_hash_leaves_the_header_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        let with_header = |header: &str| {
            let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), b"abc"].concat();
            std::fs::write(&path, bytes).unwrap();
            (lora_hash(&path).unwrap(), embedding_hash(&path).unwrap())
        };
        let (short, whole) = with_header("{}");
        assert_eq!(vae_hash(&path, &|| true).unwrap(), whole[..10]);
        assert!(matches!(vae_hash(&path, &|| false), Err(CheckpointError::Cancelled)));
        // The SHA-256 of "abc" (FIPS 180-2).
        assert_eq!(short, "ba7816bf8f01");
        let (long, other) = with_header("{ }");
        assert_eq!(long, short);
        assert_ne!(whole, other);
    }
}
