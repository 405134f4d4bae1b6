//! Headers that lie or ask for too much: lists and the loader refuse the same ones in the same words, before any room is
//! made for what they claim.

use std::io::Write;
use std::path::{Path, PathBuf};

use calotype::checkpoint::{CheckpointError, ModelFiles, describe, inspect};
use calotype::request::Companions;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// The first layer of a U-Net: with it a file is a model's, at first sight.
const UNET: &str = "model.diffusion_model.input_blocks.0.0.weight";

fn put(folder: &Path, header: &str, data: usize) -> PathBuf {
    let path = folder.join("x.safetensors");
    let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![0; data]].concat();
    std::fs::write(&path, bytes).unwrap();
    path
}

/// What the loader says, and what lists say.
fn refusals(path: &Path) -> (String, String) {
    let loaded = ModelFiles::at(path).and_then(|files| describe(&files, &Companions::default()));
    (loaded.err().unwrap().to_string(), inspect(path).err().map(|error| error.to_string()).unwrap_or_default())
}

fn assert_refused(path: &Path, why: &str) {
    let (loader, list) = refusals(path);
    assert_eq!(loader, list);
    assert!(list.contains(why), "{why}: {list}");
    assert!(list.len() < 1000 && !list.contains(char::is_control), "{list}");
}

/// One tensor of a name with these facts, and another behind it.
fn entry(name: &str, dtype: &str, shape: &str, place: [u64; 2]) -> String {
    format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{},{}]}}"#, place[0], place[1])
}

#[test]
fn lists_refuse_what_the_loader_refuses_and_say_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let four = |name: &str, place| entry(name, "F32", "[4]", place);
    for (header, why) in [
        (four(UNET, [16, 0]), "ends before it begins"),
        (format!("{},{}", four(UNET, [0, 16]), four("b", [8, 24])), "\"b\" begins inside the one before it"),
        (format!("{},{}", four(UNET, [0, 16]), four("b", [24, 40])), "\"b\" begins behind a gap"),
        (four(UNET, [0, 12]), "has 12 bytes, not what F32 takes"),
        (four(UNET, [u64::MAX - 15, u64::MAX]), "begins behind any file"),
        (entry(UNET, "F32", "[8589934592,8589934592]", [0, 16]), "has 16 bytes, not what F32 takes"),
        (entry(UNET, "F32", "[4294967296,4294967296,0]", [0, 0]), "has 0 bytes, not what F32 takes"),
        (entry(UNET, "F32", "[-4]", [0, 16]), "-4"),
        (entry(UNET, "F99", "[4]", [0, 16]), "the type \"F99\" of a tensor is not known"),
        (entry(UNET, "F32", "[1,1,1,1,1,1,1,1,4]", [0, 16]), "has more than 8 dimensions"),
        (four(&"n".repeat(1025), [0, 16]), "a name has 1025 bytes"),
        (four("\\u001b]0;pwned\\u0007", [0, 99]), "tensor \"\\u{1b}]0;pwned\\u{7}\""),
        (format!("\"x\":{{\"dtype\":\"{}\"}}", "\\u001b".repeat(9999)), "is not known"),
        (format!("\"x\":\"{}\"", "y".repeat(9999)), "invalid type"),
    ] {
        assert_refused(&put(folder.path(), &format!("{{{header}}}"), 24), why);
    }
    let whole = format!("{{{}}} x", four(UNET, [0, 16]));
    assert_refused(&put(folder.path(), &whole, 16), "trailing characters");
    // What is beside the tensors does no harm to any.
    let notes = r#""__metadata__":{"a":1,"modelspec.title":[1,{"x":2}],"b":null,"ss_output_name":"fox"}"#;
    let path = put(folder.path(), &format!("{{{notes},{}}}", four(UNET, [0, 16])), 16);
    assert_eq!(inspect(&path).unwrap().notes.alias.as_deref(), Some("fox"));
    let (loader, _) = refusals(&path);
    assert!(loader.contains("the blocks of its U-Net"), "{loader}");
}

#[test]
fn no_header_may_be_larger_or_name_more_than_any_models() {
    let folder = tempfile::tempdir().unwrap();
    let nothing = |index: u32| entry(&index.to_string(), "F32", "[0]", [0, 0]);
    let many: Vec<String> = (0..100_001).map(nothing).collect();
    assert_refused(&put(folder.path(), &format!("{{{}}}", many.join(",")), 0), "more than 100000 tensors");
    // The same name again and again.
    let again = vec![entry("x", "F32", "[0]", [0, 0]); 100_001];
    assert_refused(&put(folder.path(), &format!("{{{}}}", again.join(",")), 0), "more than 100000 tensors");
    let path = folder.path().join("large.safetensors");
    let mut file = std::fs::File::create(&path).unwrap();
    file.write_all(&(90_u64 << 20).to_le_bytes()).unwrap();
    // A hole: no byte of it is written.
    file.set_len(100 << 20).unwrap();
    assert_refused(&path, "no model's has more than 64 MiB");
}

/// A pickled text of this length, kept under a number of the memo.
fn kept_text(len: usize, place: u8) -> Vec<u8> {
    [b"X", &(len as u32).to_le_bytes()[..], &vec![b'k'; len], &[b'q', place]].concat()
}

/// A pickled tensor of four numbers whose storage is called by a text.
fn tensor(key: &[u8]) -> Vec<u8> {
    let (before, after) = (
        &b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\n"[..],
        &b"X\x03\0\0\0cpuK\x04tQK\0(K\x04t(K\x01t\x89ccollections\nOrderedDict\n)RtR"[..],
    );
    [before, key, after].concat()
}

fn zipped(folder: &Path, pickle: &[u8]) -> PathBuf {
    let path = folder.join("x.ckpt");
    let mut archive = ZipWriter::new(std::fs::File::create(&path).unwrap());
    let plain = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, bytes) in [("a/data.pkl", pickle), ("a/data/0", &[0; 16][..])] {
        archive.start_file(name, plain).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap();
    path
}

#[test]
fn a_long_name_in_a_pickle_is_not_copied_for_each_of_its_uses() {
    let folder = tempfile::tempdir().unwrap();
    let number = b"X\x01\0\0\x000";
    let good = [b"\x80\x02}", &kept_text(1024, 1)[..], &tensor(number), b"s."].concat();
    assert_eq!(inspect(&zipped(folder.path(), &good)).unwrap().parameters, 4);
    // A tensor, then a dictionary of as many entries as fit, all with it and the same name.
    let uses = b"h\x01h\0".repeat(250_000);
    let long_name =
        [b"\x80\x02", &tensor(number)[..], b"q\x000", &kept_text(1 << 20, 1), b"0}(", &uses, b"u."].concat();
    assert_refused(&zipped(folder.path(), &long_name), "a name has 1048576 bytes, and no tensor's has more than 1024");
    let long_key = [b"\x80\x02}", &kept_text(3, 2)[..], &tensor(&kept_text(1 << 20, 1)), b"s."].concat();
    assert_refused(&zipped(folder.path(), &long_key), "a name has 1048576 bytes");
}

#[test]
fn what_a_pickle_asks_for_is_told_without_what_a_terminal_obeys() {
    let folder = tempfile::tempdir().unwrap();
    let pickle = [&b"c\x1b[31mposix\n"[..], &b"s".repeat(1 << 20), b"\n."].concat();
    let path = zipped(folder.path(), &pickle);
    assert_refused(&path, "asks to run \"\\u{1b}[31mposix.sss");
    assert!(matches!(inspect(&path), Err(CheckpointError::Damaged { .. })));
}

#[test]
fn a_zip_whose_entries_are_compressed_is_refused_before_anything_is_unpacked() {
    let folder = tempfile::tempdir().unwrap();
    let number = b"X\x01\0\0\x000";
    let path = zipped(folder.path(), &[b"\x80\x02}", &kept_text(5, 1)[..], &tensor(number), b"s."].concat());
    assert!(inspect(&path).is_ok());
    // The method stands 8 bytes into an entry's own header and 10 into the one in the list; 8 is deflate, and the sizes
    // behind it may then claim anything.
    let mut bytes = std::fs::read(&path).unwrap();
    for (magic, method) in [(b"PK\x03\x04", 8), (b"PK\x01\x02", 10)] {
        let starts: Vec<usize> = (0..bytes.len() - 4).filter(|&at| &bytes[at..at + 4] == magic).collect();
        assert_eq!(starts.len(), 2);
        for start in starts {
            bytes[start + method] = 8;
            let unpacked = start + method + 14;
            bytes[unpacked..unpacked + 4].copy_from_slice(&0x7fff_ffff_u32.to_le_bytes());
        }
    }
    std::fs::write(&path, bytes).unwrap();
    assert_refused(&path, "is compressed, which PyTorch never does");
}
