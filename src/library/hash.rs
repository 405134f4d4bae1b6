//! The hashes by which recipes know files: one pass over the file in small pieces, stopped at once when asked to.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::library::error::LibraryError;
use crate::library::message::Hashes;

/// Read at once: small, so that a stop is quick also on a slow disk.
const PIECE_BYTES: usize = 1 << 20;
/// Where A1111's old hash begins, and how much it takes.
const OLD_OFFSET: u64 = 0x10_0000;
const OLD_BYTES: usize = 0x1_0000;

/// Told how many bytes are done; true stops the hashing.
pub type HashStop<'a> = &'a mut dyn FnMut(u64) -> bool;

/// The hashes of a file.
///
/// # Errors
/// When the file cannot be read, or `stop` says so.
pub fn hash_file(path: &Path, stop: HashStop<'_>) -> Result<Hashes, LibraryError> {
    let reading = |source| LibraryError::Reading { source, path: path.to_owned() };
    let mut file = File::open(path).map_err(reading)?;
    let header_end = header_end(&mut file).map_err(reading)?;
    let old = old_hash(&mut file).map_err(reading)?;
    file.seek(SeekFrom::Start(0)).map_err(reading)?;
    let (mut whole, mut after_header) = (Sha256::new(), Sha256::new());
    let mut piece = vec![0; PIECE_BYTES];
    let mut done = 0_u64;
    loop {
        if stop(done) {
            return Err(LibraryError::Cancelled);
        }
        let read = file.read(&mut piece).map_err(reading)?;
        if read == 0 {
            break;
        }
        let piece = &piece[..read];
        whole.update(piece);
        if let Some(header_end) = header_end {
            let skipped = usize::try_from(header_end.saturating_sub(done)).unwrap_or(read).min(read);
            after_header.update(&piece[skipped..]);
        }
        done += read as u64;
    }
    let after_header = header_end.map(|_| digits(after_header));
    Ok(Hashes { sha256: digits(whole), old, after_header })
}

/// Where the header of a safetensors file ends.
fn header_end(file: &mut File) -> std::io::Result<Option<u64>> {
    let mut start = Vec::new();
    file.take(9).read_to_end(&mut start)?;
    let [a, b, c, d, e, f, g, h, b'{'] = *start.as_slice() else { return Ok(None) };
    let end = u64::from_le_bytes([a, b, c, d, e, f, g, h]).checked_add(8);
    let len = file.metadata()?.len();
    Ok(end.filter(|end| *end <= len))
}

fn old_hash(file: &mut File) -> std::io::Result<Option<String>> {
    file.seek(SeekFrom::Start(OLD_OFFSET))?;
    let mut bytes = Vec::new();
    file.take(OLD_BYTES as u64).read_to_end(&mut bytes)?;
    let mut hash = Sha256::new();
    hash.update(&bytes);
    Ok(Some(digits(hash)[..8].to_owned()).filter(|_| !bytes.is_empty()))
}

fn digits(hash: Sha256) -> String {
    hash.finalize().iter().fold(String::new(), |mut digits, byte| {
        // Writing into a text cannot fail.
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hashes_are_those_of_sha256sum() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, b"abc").unwrap();
        let hashes = hash_file(&path, &mut |_| false).unwrap();
        // FIPS 180-2's example.
        assert_eq!(hashes.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!((hashes.old, hashes.after_header), (None, None));
        std::fs::write(&path, b"\x02\0\0\0\0\0\0\0{}abc").unwrap();
        let hashes = hash_file(&path, &mut |_| false).unwrap();
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hashes.after_header.as_deref(), Some(abc));
    }

    #[test]
    fn a_stop_is_heard_after_one_piece() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, vec![7; 3 * PIECE_BYTES]).unwrap();
        let mut heard = Vec::new();
        let stopped = hash_file(&path, &mut |done| {
            heard.push(done);
            done > 0
        });
        assert!(matches!(stopped, Err(LibraryError::Cancelled)));
        assert_eq!(heard, [0, PIECE_BYTES as u64]);
        let whole = hash_file(&path, &mut |_| false).unwrap();
        assert!(whole.old.is_some() && whole.after_header.is_none());
    }
}
