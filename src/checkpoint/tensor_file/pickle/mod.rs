//! PyTorch's files: a pickle that says what the tensors are, and their numbers beside it; in a zip, or in the format of
//! before 1.6 one after the other.

mod machine;

use std::collections::HashMap;
use std::io::Read;

use zip::{CompressionMethod, ZipArchive};

use super::stored::{StoredTensor, StoredType};
use super::{Header, check_name};
use crate::checkpoint::files::{Source, SourceReader};
use crate::printable;
use machine::{Id, Pickle, Storage, TensorPlace, Value};

/// The pickle of a whole training run is smaller.
const MOST_PICKLE_BYTES: u64 = 16 << 20;
/// PyTorch's magic number 0x1950a86a20f9469cfc6c as a pickled LONG1: its file format before the zip.
const OLD_FORMAT: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e";

/// Keys below which the tensors lie: of whole trainings, embeddings, modules, upscalers.
const INNER: [&str; 5] = ["state_dict", "string_to_param", "_parameters", "params_ema", "params"];
/// How much of an old file is read for its pickles: nearly all are smaller than the first.
const PICKLE_READS: [u64; 2] = [1 << 20, MOST_PICKLE_BYTES];

/// Where the numbers of a storage lie: their start in the file, and their bytes.
type Places = HashMap<String, (u64, u64)>;

/// True for a file that starts as PyTorch's do.
pub fn is_pickle(start: &[u8]) -> bool {
    start.starts_with(b"PK\x03\x04") || start.starts_with(OLD_FORMAT) || start.get(257..262) == Some(b"ustar")
}

/// # Errors
/// How the file is damaged, or what it asks for that no model needs.
pub(super) fn header(source: &Source, start: &[u8]) -> Result<Header, String> {
    let (pickle, places) = if start.starts_with(b"PK") {
        zipped(source)?
    } else if start.starts_with(OLD_FORMAT) {
        in_a_row(source)?
    } else {
        return Err("it is a PyTorch file of 2016 (tar), which is not read: save it again with PyTorch".to_owned());
    };
    let mut tensors = HashMap::new();
    collect(&pickle, pickle.root, 0, &places, &mut tensors)?;
    if tensors.is_empty() {
        return Err("there are no tensors under names in its pickle".to_owned());
    }
    Ok(Header { tensors, metadata: HashMap::new() })
}

/// The pickle in a zip, and where its storages lie.
fn zipped(source: &Source) -> Result<(Pickle, Places), String> {
    let broken = |e: zip::result::ZipError| format!("its zip: {e}");
    let mut archive = ZipArchive::new(SourceReader::new(source)).map_err(broken)?;
    let (mut bytes, mut places) = (None, Places::new());
    for index in 0..archive.len() {
        let mut entry = archive.by_index_raw(index).map_err(broken)?;
        let name = entry.name().map_err(broken)?.into_owned();
        if entry.compression() != CompressionMethod::Stored {
            let name = printable::name(&name);
            return Err(format!("\"{name}\" in it is compressed, which PyTorch never does"));
        }
        let (Some(start), len) = (entry.data_start(), entry.size()) else {
            let name = printable::name(&name);
            return Err(format!("\"{name}\" in its zip has no place"));
        };
        if name == "data.pkl" || name.ends_with("/data.pkl") {
            if bytes.is_some() || len > MOST_PICKLE_BYTES {
                return Err("its zip has more than one pickle, or too large a one".to_owned());
            }
            let mut pickle = Vec::new();
            Read::by_ref(&mut entry).take(MOST_PICKLE_BYTES).read_to_end(&mut pickle).map_err(|e| e.to_string())?;
            bytes = Some(pickle);
        } else if name.ends_with("byteorder") {
            let mut order = String::new();
            Read::by_ref(&mut entry).take(16).read_to_string(&mut order).map_err(|e| e.to_string())?;
            if order.trim() != "little" {
                let order = printable::name(order.trim());
                return Err(format!("its numbers are written {order}-endian, which is not read"));
            }
        } else if let Some((_, key)) = name.rsplit_once("data/") {
            places.insert(key.to_owned(), (start, len));
        }
    }
    let bytes = bytes.ok_or("it is a zip, and not one of PyTorch's: there is no data.pkl in it")?;
    Ok((Pickle::read(&bytes)?, places))
}

/// Magic number, protocol, system, the object, the keys of its storages, and then each with its length in front.
fn in_a_row(source: &Source) -> Result<(Pickle, Places), String> {
    let file_len = source.len().map_err(|e| e.to_string())?;
    let mut read = Err("it ends in its header".to_owned());
    for most in PICKLE_READS {
        read = row_of_pickles(source, file_len.min(most));
        if read.is_ok() || file_len <= most {
            break;
        }
    }
    let (pickle, keys, at) = read?;
    let places = places_in_a_row(source, file_len, (&pickle, &keys), at)?;
    Ok((pickle, places))
}

/// The object, the keys of its storages, and where these begin.
fn row_of_pickles(source: &Source, len: u64) -> Result<(Pickle, Pickle, u64), String> {
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    source.read_at(0, &mut bytes).map_err(|e| e.to_string())?;
    let mut rest = bytes.get(OLD_FORMAT.len()..).unwrap_or_default();
    let mut next = || {
        let pickle = Pickle::read(rest)?;
        rest = rest.get(pickle.len..).unwrap_or_default();
        Ok::<_, String>(pickle)
    };
    let _protocol = next()?;
    let _system = next()?;
    let (pickle, keys) = (next()?, next()?);
    let at = bytes.len() - rest.len();
    Ok((pickle, keys, at as u64))
}

fn places_in_a_row(
    source: &Source,
    file_len: u64,
    (pickle, keys): (&Pickle, &Pickle),
    mut at: u64,
) -> Result<Places, String> {
    let widths = storage_widths(pickle);
    let Value::List(list) = keys.get(keys.root) else {
        return Err("it does not list its storages".to_owned());
    };
    let mut places = Places::new();
    for key in list.iter().filter_map(|id| keys.text(*id)) {
        check_name(key)?;
        let mut count = [0; 8];
        source.read_at(at, &mut count).map_err(|e| e.to_string())?;
        let width = widths.get(key).copied().unwrap_or(0) as u64;
        let len = u64::from_le_bytes(count).checked_mul(width).filter(|len| *len <= file_len);
        let len = len.ok_or("a storage in it is longer than the file")?;
        places.insert(key.to_owned(), (at + 8, len));
        at += 8 + len;
    }
    Ok(places)
}

/// Bytes of a number in each storage that the pickle speaks of.
fn storage_widths(pickle: &Pickle) -> HashMap<&str, usize> {
    let of = |value: &Value| if let Value::Storage(storage) = value { Some(*storage) } else { None };
    let storages = pickle.values().filter_map(of);
    storages.filter_map(|s| Some((pickle.text(s.key)?, stored_type(&s).block().1))).collect()
}

/// All tensors below a dictionary, by the names that lead to them. Trainers put the weights below `state_dict`, beside
/// the state of what trained them.
fn collect(
    pickle: &Pickle,
    root: Id,
    depth: usize,
    places: &Places,
    tensors: &mut HashMap<String, StoredTensor>,
) -> Result<(), String> {
    const MOST_DEPTH: usize = 3;
    for inner in INNER {
        if let Some(inner) = pickle.item(root, inner).filter(|_| depth < MOST_DEPTH) {
            return collect(pickle, inner, depth + 1, places, tensors);
        }
    }
    for (key, value) in pickle.items(root).unwrap_or_default() {
        let (Some(name), Value::Tensor(place)) = (pickle.text(*key), pickle.get(*value)) else { continue };
        check_name(name)?;
        let told = |problem| format!("tensor \"{}\" {problem}", printable::name(name));
        let stored = stored(pickle, place, places).map_err(told)?;
        tensors.insert(name.to_owned(), stored);
    }
    Ok(())
}

fn stored(pickle: &Pickle, place: &TensorPlace, places: &Places) -> Result<StoredTensor, String> {
    let key = pickle.text(place.storage.key).unwrap_or_default();
    let &(start, storage_len) = places.get(key).ok_or("has no numbers in the file")?;
    let kind = stored_type(&place.storage);
    let width = kind.block().1;
    let beyond = || "reaches beyond its numbers".to_owned();
    let skipped = place.offset.checked_mul(width).map(|bytes| bytes as u64).ok_or_else(beyond)?;
    let at = start.checked_add(skipped).ok_or_else(beyond)?;
    let mut stored = StoredTensor::packed(place.shape.clone(), kind, at).ok_or_else(beyond)?;
    if !is_contiguous(&place.shape, &place.strides) {
        // From the first number to the last that it has.
        let reach =
            place.shape.iter().zip(&place.strides).try_fold(1_usize, |reach, (side, stride)| {
                reach.checked_add(side.checked_sub(1)?.checked_mul(*stride)?)
            });
        stored.len_bytes = reach.and_then(|reach| reach.checked_mul(width)).ok_or_else(beyond)? as u64;
        stored.strides = Some(place.strides.clone());
        // A view may show a number many times; no weight does.
        if place.shape.iter().product::<usize>() as u64 * width as u64 > storage_len {
            return Err("shows its numbers more than once".to_owned());
        }
    }
    if skipped.checked_add(stored.len_bytes).is_none_or(|end| end > storage_len) {
        return Err(beyond());
    }
    Ok(stored)
}

fn is_contiguous(shape: &[usize], strides: &[usize]) -> bool {
    let mut expected = 1_usize;
    shape.iter().zip(strides).rev().all(|(&side, &stride)| {
        let fits = side <= 1 || stride == expected;
        expected = expected.saturating_mul(side);
        fits
    })
}

fn stored_type(storage: &Storage) -> StoredType {
    match storage.class {
        "DoubleStorage" => StoredType::F64,
        "FloatStorage" => StoredType::F32,
        "HalfStorage" => StoredType::F16,
        "BFloat16Storage" => StoredType::BF16,
        "LongStorage" => StoredType::I64,
        "ByteStorage" | "BoolStorage" => StoredType::U8,
        "IntStorage" => StoredType::Other("I32", (1, 4)),
        "ShortStorage" => StoredType::Other("I16", (1, 2)),
        _ => StoredType::Other("I8", (1, 1)),
    }
}
