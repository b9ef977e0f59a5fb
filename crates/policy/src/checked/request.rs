//! What GetUrl and DnsLookup ask for: whether it can be asked for at all.

use crate::problem::excerpt;

/// Longest name of a host, without the dot at its end.
const NAME_MAX: usize = 253;
/// Longest part of it.
const LABEL_MAX: usize = 63;

/// A URL that can be fetched.
pub(super) fn url(text: &str) -> Result<(), String> {
    let wrong = |why: &str| Err(format!("`{}` cannot be fetched: {why}", excerpt(text)));
    let scheme = ["http://", "https://"].into_iter().find(|scheme| text.starts_with(scheme));
    let Some(rest) = scheme.and_then(|scheme| text.strip_prefix(scheme)) else {
        return wrong("a URL starts with http:// or https://");
    };
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return wrong("blanks and other characters than those of ASCII are written as %XX");
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return wrong("names and passwords of users are not sent");
    }
    // The colons of an IPv6 address are in brackets.
    let (host, after) = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']').unwrap_or_default(),
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    if host.is_empty() || !(after.is_empty() || after.strip_prefix(':').is_some_and(is_port)) {
        return wrong("a host is wanted, and a port from 1 to 65535 if there is one");
    }
    Ok(())
}

/// A name of a host.
pub(super) fn name(text: &str) -> Result<(), String> {
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=LABEL_MAX).contains(&label.len()) && label.bytes().all(known)
    };
    if name.len() <= NAME_MAX && name.split('.').all(is_label) {
        return Ok(());
    }
    Err(format!(
        "`{}` is no name of a host: letters, digits, `-` and `_` in parts of at most {LABEL_MAX} \
         with dots between, at most {NAME_MAX} in all",
        excerpt(text)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for good in [
            "http://ebpf.io",
            "https://ebpf.io/a/b?c=d#e",
            "http://127.0.0.1:8080/",
            "http://[::1]:80?a",
            "http://[::1]",
            "http://a:65535",
        ] {
            assert_eq!(url(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "ebpf.io",
            "ftp://ebpf.io",
            "http:/ebpf.io",
            "http://",
            "http:///a",
            "http://:80",
            "http://a:",
            "http://a:0",
            "http://a:65536",
            "http://[::1",
            "http://[]",
            "http://[::1]80",
            "http://a b",
            "http://a/\u{e4}",
            "http://me:secret@a/",
        ] {
            assert!(url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names() {
        let (longest, label) = ("a.".repeat(126) + "a", "a".repeat(63));
        for good in ["ebpf.io", "ebpf.io.", "_dmarc.a-b.c", "localhost", &label, &longest] {
            assert_eq!(name(good), Ok(()), "{good}");
        }
        let (longer, long_label) = (format!("{longest}a"), format!("{label}a"));
        for bad in ["", ".", "a..b", ".a", "a b", "a/b", "\u{e4}.de", &long_label, &longer] {
            assert!(name(bad).is_err(), "{bad}");
        }
    }
}
