//! Where a server listens.

use std::fmt;
use std::path::PathBuf;

/// A listening address as flags have it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Listen {
    /// Nowhere.
    #[default]
    None,
    /// A unix socket at this absolute path.
    Unix(PathBuf),
    /// A TCP address.
    Tcp(TcpAddress),
}

/// Host and port; an empty host stands for every address of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpAddress {
    /// Name or address, without brackets.
    pub host: String,
    /// Port; 0 lets the kernel choose.
    pub port: u16,
}

impl Listen {
    /// Reads `host:port`, `:port`, `[v6]:port`, `unix:///path` or nothing. The error says what is
    /// wrong and what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wanted = "host:port, :port or unix:///path is wanted";
        if text.is_empty() {
            return Ok(Self::None);
        }
        if let Some(path) = text.strip_prefix("unix://") {
            if !path.starts_with('/') || path.len() < 2 {
                return Err(format!("has {text:?}; an absolute path is wanted: unix:///path"));
            }
            return Ok(Self::Unix(path.into()));
        }
        let bad = || format!("has {text:?}; {wanted}");
        let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
        let port = port.parse().map_err(|_| bad())?;
        let host = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').ok_or_else(bad)?,
            None if host.contains([':', '/']) => return Err(bad()),
            None => host,
        };
        Ok(Self::Tcp(TcpAddress { host: host.to_owned(), port }))
    }
}

impl fmt::Display for TcpAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_addresses() {
        for text in ["", "localhost:54321", ":6789", "[::1]:1", "unix:///run/a.sock"] {
            assert_eq!(Listen::parse(text).unwrap().to_string(), text);
        }
        for text in ["localhost", "a:b", "a:70000", "::1:5", "unix://a", "unix:///", "http://a:1"] {
            let error = Listen::parse(text).unwrap_err();
            assert!(error.contains(&format!("{text:?}")) && error.contains("wanted"), "{error}");
        }
    }
}
