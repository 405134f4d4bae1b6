//! What the headers of an answer say about the file behind it.

use std::time::Duration;

use percent_encoding::percent_decode_str;
use ureq::http::HeaderMap;

use super::names;

/// A header as text; none when it is absent or has odd bytes.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim).filter(|text| !text.is_empty())
}

/// What names these very bytes: the etag, else the date of their last change. `If-Range` takes both.
pub(super) fn validator(headers: &HeaderMap) -> Option<&str> {
    text(headers, "etag").or_else(|| text(headers, "last-modified"))
}

/// `Content-Range: bytes first-last/total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ContentRange {
    /// The first byte that is sent; none in an answer of 416.
    pub first: Option<u64>,
    /// The size of the whole file, where it is said.
    pub total: Option<u64>,
}

/// The part of the file that is sent.
pub(super) fn content_range(headers: &HeaderMap) -> Option<ContentRange> {
    let (range, total) = text(headers, "content-range")?.strip_prefix("bytes")?.trim().split_once('/')?;
    let first = range.split_once('-').and_then(|(first, _)| first.trim().parse().ok());
    Some(ContentRange { first, total: total.trim().parse().ok() })
}

/// The bytes that follow, where it is said.
pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    text(headers, "content-length")?.parse().ok()
}

/// True for a page that a browser would show.
pub(super) fn is_web_page(headers: &HeaderMap) -> bool {
    text(headers, "content-type").is_some_and(|kind| kind.to_ascii_lowercase().starts_with("text/html"))
}

/// How long the server wants to be left alone: seconds, or a date.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = text(headers, "retry-after")?;
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    let seconds = date.as_second() - jiff::Timestamp::now().as_second();
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

/// The address of the next page: `Link: <address>; rel="next"`.
pub(super) fn next_page(headers: &HeaderMap) -> Option<&str> {
    text(headers, "link")?.split(',').find_map(|link| {
        let (address, parameters) = link.split_once(';')?;
        let is_next = parameters.split(';').any(|parameter| matches!(parameter.trim(), "rel=\"next\"" | "rel=next"));
        let address = address.trim().strip_prefix('<')?.strip_suffix('>')?;
        is_next.then_some(address)
    })
}

/// The harmless form of the name in `Content-Disposition`, the one in Unicode first.
pub(super) fn said_name(headers: &HeaderMap) -> Option<String> {
    // Read from bytes: some servers put UTF-8 where only ASCII may be.
    let bytes = headers.get("content-disposition")?.as_bytes();
    let disposition = String::from_utf8_lossy(bytes);
    let parameters: Vec<(String, String)> = disposition.split(';').skip(1).filter_map(parameter).collect();
    let value = |name: &str| parameters.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
    let extended = value("filename*").and_then(|value| value.splitn(3, '\'').nth(2));
    let decoded = extended.map(|text| percent_decode_str(text).decode_utf8_lossy().into_owned());
    let name = decoded.or_else(|| value("filename").map(str::to_owned)).filter(|name| !name.is_empty())?;
    Some(names::file_name(&name))
}

fn parameter(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=')?;
    let value = value.trim().trim_matches('"').replace("\\\"", "\"");
    Some((name.trim().to_ascii_lowercase(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        headers
    }

    #[test]
    fn ranges_and_pages_are_read() {
        let range = |value| content_range(&headers("content-range", value));
        assert_eq!(range("bytes 5-9/10"), Some(ContentRange { first: Some(5), total: Some(10) }));
        assert_eq!(range("bytes 5-9/*"), Some(ContentRange { first: Some(5), total: None }));
        assert_eq!(range("bytes */10"), Some(ContentRange { first: None, total: Some(10) }));
        assert_eq!(range("lines 1-2/3"), None);
        let link = headers("link", "<http://h/p?cursor=1>; rel=\"prev\", <http://h/p?cursor=3>; rel=\"next\"");
        assert_eq!(next_page(&link), Some("http://h/p?cursor=3"));
    }

    #[test]
    fn waits_are_read_as_seconds_and_as_dates() {
        assert_eq!(retry_after(&headers("retry-after", "7")), Some(Duration::from_secs(7)));
        let past = retry_after(&headers("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT"));
        assert_eq!(past, Some(Duration::ZERO));
        assert_eq!(retry_after(&headers("retry-after", "soon")), None);
    }

    #[test]
    fn the_name_of_the_file_is_read_and_made_harmless() {
        let name = |value| said_name(&headers("content-disposition", value));
        assert_eq!(name("attachment; filename=\"a b.ckpt\"").as_deref(), Some("a b.ckpt"));
        assert_eq!(name("attachment; filename=x.ckpt; filename*=UTF-8''%C3%BC.ckpt").as_deref(), Some("ü.ckpt"));
        assert_eq!(name("attachment; filename=\"../../x.ckpt\"").as_deref(), Some("x.ckpt"));
        assert_eq!(name("inline"), None);
    }
}
