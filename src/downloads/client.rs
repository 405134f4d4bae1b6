//! Requests over HTTP: redirections followed by hand, so that the token stays at the endpoint.

use std::borrow::Cow;
use std::io::{ErrorKind, Read};

use serde::de::DeserializeOwned;
use ureq::http::{HeaderMap, Response, StatusCode};
use ureq::{Agent, Body};
use url::Url;

use super::headers;
use super::{DownloadError, Surroundings};

/// How often one request is sent on: signed storage takes two or three.
const MOST_REDIRECTS: usize = 10;
/// The largest page of a listing or JSON file that is read: a thousand files come to some hundred kilobytes.
const MOST_JSON_BYTES: u64 = 8 << 20;

/// What no address for a name means.
const NO_SUCH_HOST: &str = "its name is not known, or there is no network";

/// Asks servers, each request on its own.
#[derive(Clone)]
pub(super) struct Client {
    agent: Agent,
    /// Where repositories are.
    pub endpoint: Url,
    token: Option<String>,
}

/// The bytes that are asked for.
#[derive(Debug, Clone, Default)]
pub(super) struct Range {
    /// `bytes=…`.
    pub bytes: String,
    /// Send them only while the file is still this one; otherwise the whole.
    pub if_etag: Option<String>,
}

/// An answer of 200, 206 or 416.
pub(super) struct Answer {
    /// Its head and body.
    pub response: Response<Body>,
    /// The address that answered, after all redirections.
    pub url: Url,
}

impl Answer {
    /// Its headers.
    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }
}

impl Client {
    /// A client for one download.
    pub fn new(surroundings: &Surroundings) -> Result<Self, DownloadError> {
        let text = &surroundings.endpoint;
        let is_http = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host();
        let endpoint = Url::parse(text).ok().filter(is_http).ok_or_else(|| DownloadError::Endpoint(text.clone()))?;
        let patience = surroundings.patience;
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_resolve(Some(patience.connect))
            .timeout_connect(Some(patience.connect))
            .timeout_per_read(Some(patience.silence))
            .timeout_per_write(Some(patience.silence))
            // Headers alone may not come drop by drop for ever.
            .timeout_recv_response(Some(patience.silence * 2))
            .user_agent(concat!("calotype/", env!("CARGO_PKG_VERSION")));
        if !surroundings.uses_proxy {
            config = config.proxy(None);
        }
        let agent = Agent::new_with_config(config.build());
        Ok(Self { agent, endpoint, token: surroundings.token.clone() })
    }

    /// Cuts every connection of this client, on whatever thread it is used.
    pub fn shut_down(&self) {
        self.agent.clone().shutdown();
    }

    /// Asks for an address, or a range of it.
    pub fn get(&self, url: &Url, range: Option<&Range>) -> Result<Answer, DownloadError> {
        let mut at = url.clone();
        for _ in 0..=MOST_REDIRECTS {
            let response = self.ask(&at, range)?;
            let status = response.status();
            if matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
                at = next_address(&at, response.headers())?;
                continue;
            }
            if matches!(status.as_u16(), 200 | 206 | 416) {
                return Ok(Answer { response, url: at });
            }
            return Err(self.refusal(url, &at, status, response.headers()));
        }
        Err(DownloadError::Redirect { problem: "ever new addresses".to_owned(), url: shown(url) })
    }

    /// A JSON answer, and the address of the page that follows it.
    pub fn json<T: DeserializeOwned>(&self, url: &Url) -> Result<(T, Option<Url>), DownloadError> {
        let wrong = |problem: String| DownloadError::Answer { problem, url: shown(url) };
        let answer = self.get(url, None)?;
        let next = match headers::next_page(answer.headers()) {
            Some(address) => {
                Some(answer.url.join(address).map_err(|_| wrong("the next page is no address".to_owned()))?)
            }
            None => None,
        };
        let mut bytes = Vec::new();
        let reader = answer.response.into_body().into_reader();
        let read = reader.take(MOST_JSON_BYTES + 1).read_to_end(&mut bytes);
        read.map_err(|error| cut(url, &error))?;
        if bytes.len() as u64 > MOST_JSON_BYTES {
            return Err(wrong(format!("it is larger than {} MiB", MOST_JSON_BYTES >> 20)));
        }
        let value = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
        Ok((value, next))
    }

    /// One request, not sent on.
    fn ask(&self, url: &Url, range: Option<&Range>) -> Result<Response<Body>, DownloadError> {
        // Compressed bytes would have another length than the file.
        let mut request = self.agent.get(url.as_str()).header("Accept-Encoding", "identity");
        if let Some(token) = &self.token
            && url.origin() == self.endpoint.origin()
        {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        if let Some(range) = range {
            request = request.header("Range", &range.bytes);
            if let Some(etag) = &range.if_etag {
                request = request.header("If-Range", etag);
            }
        }
        request.call().map_err(|error| unreachable_server(url, error))
    }

    /// The error for a status that is a no. `asked` is what the caller wanted, `at` is who said no.
    fn refusal(&self, asked: &Url, at: &Url, status: StatusCode, headers: &HeaderMap) -> DownloadError {
        let host = host(at);
        let url = shown(asked);
        match (status.as_u16(), headers::text(headers, "x-error-code")) {
            (_, Some("GatedRepo")) => DownloadError::Gated { page: self.page(asked) },
            (_, Some("RepoNotFound")) if self.token.is_some() => DownloadError::NotFound { what: "repository", url },
            (401 | 403, _) | (_, Some("RepoNotFound")) => DownloadError::Unauthorised { host, url },
            (_, Some("RevisionNotFound")) => DownloadError::NotFound { what: "revision", url },
            (404 | 410, _) => DownloadError::NotFound { what: "file", url },
            (408 | 425 | 429 | 500..=599, _) => {
                DownloadError::Busy { host, status: status.as_u16(), retry_after: headers::retry_after(headers) }
            }
            (status, _) => DownloadError::Refused { status, url },
        }
    }

    /// The page of the repository that an address of the endpoint belongs to.
    fn page(&self, url: &Url) -> String {
        let parts: Vec<&str> = url.path_segments().into_iter().flatten().collect();
        let id = match parts.as_slice() {
            ["api", "models", org, name, ..] | [org, name, ..] => format!("{org}/{name}"),
            _ => String::new(),
        };
        self.endpoint.join(&format!("/{id}")).map_or_else(|_| shown(url), String::from)
    }
}

/// The error for a body that ended too early or fell silent.
pub(super) fn cut(url: &Url, error: &std::io::Error) -> DownloadError {
    DownloadError::Connection { host: host(url), problem: error.to_string() }
}

/// An address as it may be told and stored: without the password and the tokens that some hosts want in it.
pub(super) fn shown(url: &Url) -> String {
    let is_secret = |name: &str| {
        let name = name.to_ascii_lowercase();
        ["token", "secret", "signature", "api_key", "apikey"].iter().any(|word| name.contains(word))
    };
    let mut shown = url.clone();
    if url.query_pairs().any(|(name, _)| is_secret(&name)) {
        let pairs: Vec<(Cow<'_, str>, Cow<'_, str>)> = url.query_pairs().filter(|(name, _)| !is_secret(name)).collect();
        shown.query_pairs_mut().clear().extend_pairs(pairs);
    }
    // Addresses that cannot have a password have none to take away.
    let _ = shown.set_username("").and_then(|()| shown.set_password(None));
    String::from(shown).trim_end_matches('?').to_owned()
}

/// Host and port, for people.
pub(super) fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn next_address(at: &Url, headers: &HeaderMap) -> Result<Url, DownloadError> {
    let wrong = |problem: String| DownloadError::Redirect { problem, url: shown(at) };
    let location = headers::text(headers, "location").ok_or_else(|| wrong("nowhere".to_owned()))?;
    let next = at.join(location).map_err(|_| wrong(location.to_owned()))?;
    let is_safe = next.scheme() == "https" || (next.scheme() == "http" && at.scheme() == "http");
    if is_safe { Ok(next) } else { Err(wrong(format!("an address that is not safe, {}", shown(&next)))) }
}

fn unreachable_server(url: &Url, error: ureq::Error) -> DownloadError {
    let host = host(url);
    let problem = match error {
        ureq::Error::Rustls(_) | ureq::Error::Tls(_) | ureq::Error::TlsRequired => {
            return DownloadError::Insecure { host, problem: error.to_string() };
        }
        ureq::Error::BadUri(_) | ureq::Error::Http(_) | ureq::Error::LargeResponseHeader(..) => {
            return DownloadError::Answer { problem: error.to_string(), url: shown(url) };
        }
        // What rustls refuses arrives as data that is not valid.
        ureq::Error::Io(error) if error.kind() == ErrorKind::InvalidData => {
            return DownloadError::Insecure { host, problem: error.to_string() };
        }
        ureq::Error::Io(error) if error.to_string().starts_with("failed to lookup address") => NO_SUCH_HOST.to_owned(),
        ureq::Error::Io(error) => error.to_string(),
        ureq::Error::HostNotFound => NO_SUCH_HOST.to_owned(),
        ureq::Error::Timeout(_) => "it does not answer".to_owned(),
        other => other.to_string(),
    };
    DownloadError::Connection { host, problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_of_an_address_has_no_secrets() {
        let told = |text: &str| shown(&Url::parse(text).unwrap());
        assert_eq!(told("https://me:pass@h/x?type=Model&token=abc&fp=fp16"), "https://h/x?type=Model&fp=fp16");
        assert_eq!(told("https://h/x?Token=abc"), "https://h/x");
        assert_eq!(told("https://h:81/x?a=%2F"), "https://h:81/x?a=%2F");
    }
}
