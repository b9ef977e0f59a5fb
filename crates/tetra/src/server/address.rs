//! Where the agent listens.
//!
//! The flag says so; else the file that an agent on this machine leaves in its run directory; else
//! it is `localhost:54321`.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::Error;

/// Written by the agent when it is ready.
pub(crate) const INFO_FILE: &str = "/var/run/tetragon/tetragon-info.json";
const DEFAULT: &str = "localhost:54321";

/// An address, in the form in which it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// Host (without brackets) and port.
    Tcp(String, u16),
    /// Path of a socket.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

#[derive(Deserialize)]
struct Info {
    #[serde(default)]
    server_address: String,
}

impl Address {
    /// By the rule above; `flag` is empty when it was not given.
    pub(crate) fn find(flag: &str, info_file: &Path) -> Result<Self, Error> {
        if !flag.is_empty() {
            return Self::parse(flag);
        }
        let bad = |cause: String| Error::InfoFile { path: info_file.to_owned(), cause };
        let text = match std::fs::read_to_string(info_file) {
            Ok(text) => text,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Self::parse(DEFAULT),
            Err(cause) => return Err(bad(cause.to_string())),
        };
        let info: Info = serde_json::from_str(&text).map_err(|cause| bad(cause.to_string()))?;
        match info.server_address.as_str() {
            "" => Self::parse(DEFAULT),
            address => Self::parse(address),
        }
    }

    fn parse(text: &str) -> Result<Self, Error> {
        let bad =
            |cause: &str| Error::Address { address: text.to_owned(), cause: cause.to_owned() };
        if let Some(path) = text.strip_prefix("unix://") {
            return match path.starts_with('/') {
                true => Ok(Self::Unix(path.into())),
                false => Err(bad("the socket's path has to be absolute, as in unix:///run/x.sock")),
            };
        }
        let form = "it has to be HOST:PORT or unix:///PATH";
        let (host, port) = text.rsplit_once(':').ok_or_else(|| bad(form))?;
        let port = port.parse().map_err(|_| bad(form))?;
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(host) => host,
            None if host.contains([':', '/']) => return Err(bad(form)),
            // As everywhere, no host is this machine.
            None if host.is_empty() => "localhost",
            None => host,
        };
        Ok(Self::Tcp(host.to_owned(), port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> Address {
        Address::Tcp(host.into(), port)
    }

    #[test]
    fn forms() {
        let nowhere = Path::new("/nonexistent");
        let find = |flag: &str| Address::find(flag, nowhere).unwrap();
        assert_eq!(find(""), tcp("localhost", 54321));
        assert_eq!(find("10.0.0.1:80"), tcp("10.0.0.1", 80));
        assert_eq!(find("[::1]:80"), tcp("::1", 80));
        assert_eq!(find("[::1]:80").to_string(), "[::1]:80");
        assert_eq!(find(":80"), tcp("localhost", 80));
        assert_eq!(find("unix:///run/x.sock"), Address::Unix("/run/x.sock".into()));
        for bad in ["nothing", "a:b", "::1:80", "unix://x.sock", "http://a:1", "a:99999"] {
            assert!(Address::find(bad, nowhere).is_err(), "{bad}");
        }
    }

    #[test]
    fn file_of_the_agent() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("info.json");
        let find = |content: &str| {
            std::fs::write(&file, content).unwrap();
            Address::find("", &file)
        };
        let unix = find(r#"{"server_address": "unix:///run/y.sock", "pid": 7}"#).unwrap();
        assert_eq!(unix, Address::Unix("/run/y.sock".into()));
        assert_eq!(find("{}").unwrap(), tcp("localhost", 54321));
        let error = find("{").unwrap_err().to_string();
        assert!(error.contains("info.json"), "{error}");
        assert_eq!(Address::find("a:1", &file).unwrap(), tcp("a", 1));
    }
}
