//! Repositories of Hugging Face: which files a revision has, how large they are, what they come to.

use serde::Deserialize;
use url::Url;

use super::cache::CachedRepo;
use super::client::{Client, shown};
use super::digest::Digest;
use super::fetch::RemoteFile;
use super::message::RepoId;
use super::patience::patiently;
use super::progress::Progress;
use super::{DownloadError, Surroundings};

/// How many pages of a listing are read; the hub puts a thousand files on one.
const MOST_PAGES: usize = 200;

/// A revision, and what of it is wanted.
pub(super) struct Place<'a> {
    /// The repository.
    pub repo: &'a RepoId,
    /// A branch, a tag or a commit.
    pub revision: &'a str,
}

/// The answer about a revision.
#[derive(Deserialize)]
struct Revision {
    sha: String,
}

/// A line of a listing.
#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    oid: String,
    lfs: Option<Lfs>,
}

/// What stands in LFS.
#[derive(Deserialize)]
struct Lfs {
    oid: String,
    size: Option<u64>,
}

impl Place<'_> {
    /// Every file of the revision, or only those of the folder of `file`; sorted by path. Offline, those in the cache.
    pub fn files(
        &self,
        file: Option<&str>,
        client: &Client,
        progress: &mut Progress<'_>,
    ) -> Result<Vec<RemoteFile>, DownloadError> {
        let surroundings = progress.surroundings;
        if surroundings.is_offline {
            return self.cached_files(client, surroundings);
        }
        let revision_url = self.api(client, &["revision", self.revision])?;
        let commit = patiently(progress, || client.json::<Revision>(&revision_url))?.0.sha;
        let mut segments = vec!["tree", commit.as_str()];
        if let Some((folder, _)) = file.and_then(|file| file.rsplit_once('/')) {
            segments.extend(folder.split('/'));
        }
        let mut url = self.api(client, &segments)?;
        if file.is_none() {
            url.set_query(Some("recursive=true"));
        }
        let cache = surroundings.cache.as_ref().map(|cache| CachedRepo::new(cache, self.repo));
        let mut files = Vec::new();
        let mut next = Some(url);
        for _ in 0..MOST_PAGES {
            let Some(url) = next.take() else { break };
            let (entries, following) = patiently(progress, || client.json::<Vec<Entry>>(&url))?;
            for entry in entries.into_iter().filter(|entry| entry.kind == "file") {
                let mut file = self.remote_file(client, &commit, entry)?;
                file.cached = cache.as_ref().and_then(|cache| cache.find(&commit, &file.name, file.digest.as_ref()));
                files.push(file);
            }
            next = following;
        }
        if let Some(url) = next {
            let problem = "the list of files has no end".to_owned();
            return Err(DownloadError::Answer { problem, url: shown(&url) });
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(files)
    }

    /// The address of a file.
    pub fn address(&self, client: &Client, revision: &str, path: &str) -> Result<Url, DownloadError> {
        let id = self.repo.to_string();
        let segments: Vec<&str> = id.split('/').chain(["resolve", revision]).chain(path.split('/')).collect();
        below(&client.endpoint, &segments)
    }

    fn remote_file(&self, client: &Client, commit: &str, entry: Entry) -> Result<RemoteFile, DownloadError> {
        let size = entry.lfs.as_ref().and_then(|lfs| lfs.size).unwrap_or(entry.size);
        let name = entry.lfs.map_or(entry.oid, |lfs| lfs.oid);
        let url = self.address(client, commit, &entry.path)?;
        Ok(RemoteFile { name: entry.path, url, size: Some(size), digest: Digest::of_name(&name), cached: None })
    }

    fn cached_files(&self, client: &Client, surroundings: &Surroundings) -> Result<Vec<RemoteFile>, DownloadError> {
        let found = surroundings.cache.as_ref().and_then(|cache| {
            let repo = CachedRepo::new(cache, self.repo);
            repo.commit(self.revision).map(|commit| repo.files(&commit))
        });
        let files = found.filter(|files| !files.is_empty()).ok_or_else(|| self.offline(None, surroundings))?;
        let remote = files.into_iter().map(|file| {
            Ok(RemoteFile {
                url: self.address(client, self.revision, &file.path)?,
                name: file.path,
                size: Some(file.size),
                digest: file.digest,
                cached: Some(file.place),
            })
        });
        remote.collect()
    }

    /// The error for what is not in the cache while nothing else may be used.
    pub fn offline(&self, file: Option<&str>, surroundings: &Surroundings) -> DownloadError {
        let file = file.map(|file| format!("/{file}")).unwrap_or_default();
        let what = format!("{}{file} at revision {}", self.repo, self.revision);
        let cache =
            surroundings.cache.as_ref().map_or_else(|| "no folder".to_owned(), |cache| cache.display().to_string());
        DownloadError::Offline { what, cache }
    }

    fn api(&self, client: &Client, segments: &[&str]) -> Result<Url, DownloadError> {
        let id = self.repo.to_string();
        let all: Vec<&str> =
            ["api", "models"].into_iter().chain(id.split('/')).chain(segments.iter().copied()).collect();
        below(&client.endpoint, &all)
    }
}

/// An address below another; a slash inside a segment is encoded.
fn below(endpoint: &Url, segments: &[&str]) -> Result<Url, DownloadError> {
    let mut url = endpoint.clone();
    match url.path_segments_mut() {
        Ok(mut path) => {
            path.pop_if_empty().extend(segments);
        }
        Err(()) => return Err(DownloadError::Endpoint(endpoint.to_string())),
    }
    Ok(url)
}
