//! One order from beginning to end: what it means, what is there of it, what has to come.

use std::path::{Path, PathBuf};

use ureq::http::StatusCode;
use url::Url;

use super::choice::{self, INDEX};
use super::client::{Client, Range, shown};
use super::digest::Digest;
use super::disk;
use super::fetch::{Existing, Fetcher, RemoteFile, refuse_what_is_no_file};
use super::folder::{Workshop, begun};
use super::headers;
use super::hub::Place;
use super::message::{RepoId, Sha256Hex, Wanted};
use super::names;
use super::patience::patiently;
use super::progress::Progress;
use super::{DownloadError, Surroundings};

/// What an order says, without its name and its cancel token.
pub(super) struct Task {
    pub what: Wanted,
    pub destination: PathBuf,
    pub variant: Option<String>,
    pub sha256: Option<Sha256Hex>,
}

/// Fetches what is wanted and gives back where it is.
pub(super) fn carry_out(
    task: Task,
    client: &Client,
    surroundings: &Surroundings,
    progress: &mut Progress<'_>,
) -> Result<PathBuf, DownloadError> {
    disk::make_folder(&task.destination)?;
    let mut fetcher = Fetcher { client, progress };
    match &task.what.clone().seen_from(&client.endpoint) {
        Wanted::Address(url) if surroundings.is_offline => {
            Err(DownloadError::Offline { what: shown(url), cache: "an address is never in it".to_owned() })
        }
        Wanted::Address(url) => {
            let mut file = looked_at(url, &mut fetcher)?;
            file.digest = task.sha256.map(Digest::from);
            single(&file, &task.destination, &mut fetcher)
        }
        Wanted::Hub { repo, revision, file } => {
            let place = Place { repo, revision };
            match from_repository(&task, &place, file.as_deref(), &mut fetcher) {
                // A cache holds what somebody wanted: that it is not all is no fault of the repository.
                Err(
                    DownloadError::Incomplete { .. }
                    | DownloadError::NoVariant { .. }
                    | DownloadError::NoCheckpoint { .. },
                ) if surroundings.is_offline => Err(place.offline(file.as_deref(), surroundings)),
                done => done,
            }
        }
    }
}

fn from_repository(
    task: &Task,
    place: &Place<'_>,
    file: Option<&str>,
    fetcher: &mut Fetcher<'_, '_>,
) -> Result<PathBuf, DownloadError> {
    let id = place.repo.to_string();
    let files = place.files(file, fetcher.client, fetcher.progress)?;
    let mut found = match file {
        Some(path) => match files.iter().find(|file| file.name == path) {
            Some(file) => file.clone(),
            None if fetcher.progress.surroundings.is_offline => {
                return Err(place.offline(file, fetcher.progress.surroundings));
            }
            None => {
                let url = place.address(fetcher.client, place.revision, path)?;
                return Err(DownloadError::NotFound { what: "file", url: shown(&url) });
            }
        },
        None if files.iter().any(|file| file.name == INDEX) => {
            return folder(task, place.repo, &files, fetcher);
        }
        None => choice::only_checkpoint(&id, &files)?.clone(),
    };
    if let Some(wanted) = task.sha256.clone().map(Digest::from) {
        found.digest = Some(wanted);
    }
    single(&found, &task.destination, fetcher)
}

fn folder(
    task: &Task,
    repo: &RepoId,
    files: &[RemoteFile],
    fetcher: &mut Fetcher<'_, '_>,
) -> Result<PathBuf, DownloadError> {
    if task.sha256.is_some() {
        return Err(DownloadError::ChecksumForFolder { id: repo.to_string() });
    }
    Workshop::new(&task.destination, repo).fetch(repo, files, task.variant.as_deref(), fetcher)
}

/// A file under its own name.
fn single(file: &RemoteFile, destination: &Path, fetcher: &mut Fetcher<'_, '_>) -> Result<PathBuf, DownloadError> {
    let name = names::file_name(&file.name);
    let path = destination.join(&name);
    fetcher.progress.found(&name, 1, file.size);
    if fetcher.is_there(file, &path)? {
        fetcher.progress.there(file.size.unwrap_or(0));
        return Ok(path);
    }
    if file.cached.is_none() {
        let bytes = file.size.map_or(0, |size| size.saturating_sub(begun(&path)));
        disk::check_room(fetcher.progress.surroundings, destination, bytes)?;
    }
    fetcher.fetch(file, &path, Existing::Keep)?;
    Ok(path)
}

/// Asks an address for its first byte: the answer tells name and size. Some hosts answer HEAD wrongly or not at all.
fn looked_at(url: &Url, fetcher: &mut Fetcher<'_, '_>) -> Result<RemoteFile, DownloadError> {
    let client = fetcher.client;
    let first_byte = Range { bytes: "bytes=0-0".to_owned(), if_etag: None };
    let answer = patiently(fetcher.progress, || client.get(url, Some(&first_byte)))?;
    let total = headers::content_range(answer.headers()).and_then(|range| range.total);
    let size = if answer.status() == StatusCode::OK { headers::content_length(answer.headers()) } else { total };
    let said = headers::said_name(answer.headers());
    let name = said.or_else(|| names::of_address(url)).or_else(|| names::of_address(&answer.url));
    let name = name.unwrap_or_else(|| names::file_name(""));
    let file = RemoteFile { name, url: url.clone(), size, digest: None, cached: None };
    refuse_what_is_no_file(&file, &answer)?;
    if size == Some(0) {
        return Err(DownloadError::NotAFile { what: "an empty file", url: shown(url) });
    }
    Ok(file)
}
