//! One file onto the disk: from where it lies already, out of a cache, or over the network in as many pieces as it takes.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use ureq::http::StatusCode;
use url::Url;

use super::DownloadError;
use super::client::{Answer, Client, Range, cut, host, shown};
use super::digest::Digest;
use super::disk;
use super::headers::{self, ContentRange};
use super::part::{About, Part};
use super::patience::{Retries, patiently};
use super::progress::Progress;

/// How much is read from the network or a cache at once.
const CHUNK_BYTES: usize = 256 << 10;
/// After how many bytes a file of unknown size is held against the room that is left.
const LOOK_AT_ROOM_BYTES: u64 = 64 << 20;

/// A file that can be had.
#[derive(Debug, Clone)]
pub(super) struct RemoteFile {
    /// For people.
    pub name: String,
    /// Where it is to be had.
    pub url: Url,
    /// Its size in bytes, where it is said.
    pub size: Option<u64>,
    /// What its bytes come to, where it is said.
    pub digest: Option<Digest>,
    /// Where a cache may have it.
    pub cached: Option<PathBuf>,
}

/// What becomes of another file that has the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Existing {
    /// It is the user's: it stays, and that is an error.
    Keep,
    /// It is an older state of the same: the new one takes its place.
    Replace,
}

/// Fetches files for one download.
pub(super) struct Fetcher<'a, 'b> {
    pub client: &'a Client,
    pub progress: &'a mut Progress<'b>,
}

impl Fetcher<'_, '_> {
    /// True when the file stands at `path` already, as far as its size and checksum are known; one of unknown size never.
    pub fn is_there(&mut self, file: &RemoteFile, path: &Path) -> Result<bool, DownloadError> {
        let length = fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|found| found.len());
        if length.is_none() || length != file.size {
            return Ok(false);
        }
        let Some(digest) = &file.digest else { return Ok(true) };
        self.progress.file(&file.name);
        self.progress.verifying();
        Ok(digest.of_file(path, || self.progress.check())? == digest.hex())
    }

    /// Puts the file at `path`, whole and compared with its checksum, or not at all.
    pub fn fetch(&mut self, file: &RemoteFile, path: &Path, existing: Existing) -> Result<(), DownloadError> {
        self.progress.check()?;
        self.progress.file(&file.name);
        let about = About {
            url: shown(&file.url),
            etag: None,
            size: file.size,
            checksum: file.digest.as_ref().map(|digest| digest.hex().to_owned()),
        };
        let mut part = patiently(self.progress, || Part::open(path, about.clone()))?;
        if path.exists() {
            // Another process may have been faster.
            if self.is_there(file, path)? {
                self.progress.there(file.size.unwrap_or(0));
                return part.discard();
            }
            if existing == Existing::Keep {
                part.discard_if_empty()?;
                return Err(DownloadError::Taken { path: path.to_owned() });
            }
        }
        if let Some(cached) = &file.cached
            && self.is_there(file, cached)?
        {
            return self.take_from_cache(cached, part, path);
        }
        self.progress.there(part.length());
        if let Err(error) = self.transfer(file, &mut part) {
            // Nothing is left behind that nobody can go on with.
            let is_worthless = part.length() == 0 || matches!(error, DownloadError::NotAFile { .. });
            if is_worthless {
                part.discard()?;
            }
            return Err(error);
        }
        if let Some(what) = part.imposture()? {
            part.discard()?;
            return Err(DownloadError::NotAFile { what, url: shown(&file.url) });
        }
        if let Some(digest) = &file.digest {
            self.progress.verifying();
            let found = digest.of_file(part.path(), || self.progress.check())?;
            if found != digest.hex() {
                part.discard()?;
                let (expected, path) = (digest.hex().to_owned(), path.to_owned());
                return Err(DownloadError::WrongChecksum { expected, found, path });
            }
        }
        self.progress.check()?;
        part.finish(path)
    }

    /// A link costs nothing; where there can be none, a copy.
    fn take_from_cache(&mut self, cached: &Path, mut part: Part, path: &Path) -> Result<(), DownloadError> {
        let cached = cached.canonicalize().map_err(DownloadError::io(cached))?;
        let size = fs::metadata(&cached).map_err(DownloadError::io(&cached))?.len();
        if fs::hard_link(&cached, path).is_ok() {
            self.progress.there(size);
            return part.discard();
        }
        part.restart()?;
        let mut source = File::open(&cached).map_err(DownloadError::io(&cached))?;
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            self.progress.check()?;
            match source.read(&mut chunk).map_err(DownloadError::io(&cached))? {
                0 => break,
                count => {
                    part.append(&chunk[..count])?;
                    self.progress.there(count as u64);
                }
            }
        }
        part.finish(path)
    }

    /// Adds what is missing to the part, in as many tries as bring something.
    fn transfer(&mut self, file: &RemoteFile, part: &mut Part) -> Result<(), DownloadError> {
        let mut retries = Retries::new();
        // A server that begins anew each time and stops early brings nothing, however much it sends.
        let mut longest = part.length();
        while part.about().size != Some(part.length()) || part.length() == 0 {
            self.progress.check()?;
            match self.try_once(file, part) {
                Ok(()) => return Ok(()),
                Err(trouble) => {
                    if part.length() > longest {
                        longest = part.length();
                        retries.forget();
                    }
                    retries.after(trouble, self.progress)?;
                }
            }
        }
        Ok(())
    }

    /// One request, from the end of the part on.
    fn try_once(&mut self, file: &RemoteFile, part: &mut Part) -> Result<(), DownloadError> {
        let offset = part.length();
        let range = (offset > 0).then(|| Range {
            bytes: format!("bytes={offset}-"),
            // Weak names may stand for other bytes: those are compared with the answer's.
            if_etag: part.about().etag.clone().filter(|etag| file.digest.is_none() && !etag.starts_with("W/")),
        });
        let answer = self.client.get(&file.url, range.as_ref())?;
        if answer.status() == StatusCode::RANGE_NOT_SATISFIABLE {
            return self.nothing_more(file, part, &answer);
        }
        refuse_what_is_no_file(file, &answer)?;
        let etag = headers::validator(answer.headers()).map(str::to_owned);
        let length = headers::content_length(answer.headers());
        let total = if answer.status() == StatusCode::PARTIAL_CONTENT {
            let range = headers::content_range(answer.headers());
            let total =
                range.and_then(|range| range.total).or_else(|| length.map(|length| offset.saturating_add(length)));
            // One file may have another name on each server of a network; its checksum is surer.
            let has_other_etag = file.digest.is_none() && differ(part.about().etag.as_ref(), etag.as_ref()).is_some();
            if let Some(problem) = wrong_part(range, offset).filter(|_| !has_other_etag) {
                return self.start_again(part, DownloadError::WrongPart { host: host(&file.url), problem });
            }
            if has_other_etag || differ(part.about().size, total).is_some() {
                return self.start_again(part, DownloadError::Changed { host: host(&file.url) });
            }
            total
        } else {
            self.progress.take_back(offset);
            part.restart()?;
            length
        };
        if let Some((said, found)) = differ(file.size, total) {
            return Err(wrong_length(file, said, &disk::size(found), part)?);
        }
        part.note(etag.as_deref(), total)?;
        self.read_body(file, part, answer, total.or(file.size))
    }

    /// The server has nothing behind the end of the part: it is whole, or it is of another file, or the server is wrong.
    fn nothing_more(&mut self, file: &RemoteFile, part: &mut Part, answer: &Answer) -> Result<(), DownloadError> {
        let total = headers::content_range(answer.headers()).and_then(|range| range.total);
        let has_other_size = differ(file.size, total).or(differ(part.about().size, total)).is_some();
        let there = part.length();
        if total == Some(there) && !has_other_size && there > 0 {
            return Ok(());
        }
        let host = host(&file.url);
        if has_other_size || total.is_some_and(|total| total < there) {
            return self.start_again(part, DownloadError::Changed { host });
        }
        let of = total.map_or_else(String::new, |total| format!(" of {total}"));
        let problem = format!("it says that there is nothing from byte {there}{of} on");
        self.start_again(part, DownloadError::WrongPart { host, problem })
    }

    /// Throws away what is there, for this reason.
    fn start_again(&mut self, part: &mut Part, why: DownloadError) -> Result<(), DownloadError> {
        self.progress.take_back(part.length());
        part.restart()?;
        Err(why)
    }

    /// Writes an answer's body behind the part, up to `end`.
    fn read_body(
        &mut self,
        file: &RemoteFile,
        part: &mut Part,
        answer: Answer,
        end: Option<u64>,
    ) -> Result<(), DownloadError> {
        let mut body = answer.response.into_body().into_reader();
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut is_looked_at = part.has_head();
        let mut next_look_at_room = part.length() + LOOK_AT_ROOM_BYTES;
        loop {
            self.progress.check()?;
            let count = match body.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) => return Err(cut(&file.url, &error)),
            };
            if let Some(end) = end.filter(|end| part.length() + count as u64 > *end) {
                self.progress.take_back(part.length());
                return Err(wrong_length(file, end, "more bytes", part)?);
            }
            part.append(&chunk[..count])?;
            self.progress.came(count as u64);
            if !is_looked_at && part.has_head() {
                is_looked_at = true;
                if let Some(what) = part.imposture()? {
                    return Err(DownloadError::NotAFile { what, url: shown(&file.url) });
                }
            }
            if end.is_none() && part.length() >= next_look_at_room {
                next_look_at_room += LOOK_AT_ROOM_BYTES;
                let folder = part.path().parent().unwrap_or(Path::new("."));
                disk::check_room(self.progress.surroundings, folder, LOOK_AT_ROOM_BYTES)?;
            }
        }
        // Cut from this side, a body without a length looks whole.
        self.progress.check()?;
        match end.filter(|end| part.length() < *end) {
            Some(end) => {
                let problem = format!("it ended after {} of {}", disk::size(part.length()), disk::size(end));
                Err(DownloadError::Connection { host: host(&file.url), problem })
            }
            None => Ok(()),
        }
    }
}

/// What is wrong with the range of an answer that was to begin at `offset`.
fn wrong_part(range: Option<ContentRange>, offset: u64) -> Option<String> {
    match range.map(|range| range.first) {
        Some(Some(first)) if first == offset => None,
        Some(Some(first)) => Some(format!("it was to begin at byte {offset} and begins at byte {first}")),
        _ => Some("it does not say which part it sends".to_owned()),
    }
}

/// Both values when both are known and not the same.
fn differ<T: PartialEq>(one: Option<T>, other: Option<T>) -> Option<(T, T)> {
    match (one, other) {
        (Some(one), Some(other)) if one != other => Some((one, other)),
        _ => None,
    }
}

fn wrong_length(file: &RemoteFile, said: u64, found: &str, part: &mut Part) -> Result<DownloadError, DownloadError> {
    part.restart()?;
    let url = shown(&file.url);
    Ok(DownloadError::Length { said: disk::size(said), found: found.to_owned(), url })
}

/// Refuses pages, and bytes that are not the file's own.
pub(super) fn refuse_what_is_no_file(file: &RemoteFile, answer: &Answer) -> Result<(), DownloadError> {
    if headers::is_web_page(answer.headers()) {
        return Err(DownloadError::NotAFile { what: "a web page", url: shown(&file.url) });
    }
    match headers::text(answer.headers(), "content-encoding") {
        Some(coding) if !coding.eq_ignore_ascii_case("identity") => {
            Err(DownloadError::Answer { problem: format!("it is packed with {coding}"), url: shown(&file.url) })
        }
        _ => Ok(()),
    }
}
