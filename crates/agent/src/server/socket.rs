//! Listening sockets.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::net::{TcpListener, UnixListener, UnixStream};

use crate::config::TcpAddress;

/// Mode of unix sockets: whoever may connect may see every process and its environment.
const SOCKET_MODE: u32 = 0o600;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// A server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another process listens there.
    #[error("{address} is in use by another process; --{flag} names another address")]
    InUse {
        /// The address.
        address: String,
        /// The flag that sets it.
        flag: &'static str,
    },
    /// There is something else than a socket.
    #[error("{} exists and is no socket; it is left alone: move it away or set --server-address", .0.display())]
    NoSocket(PathBuf),
    /// Anything else.
    #[error("cannot listen on {address} (--{flag}): {error}")]
    Failed {
        /// The address.
        address: String,
        /// The flag that sets it.
        flag: &'static str,
        /// Why.
        error: io::Error,
    },
}

/// Listens on the first address that `address` stands for, an IPv4 one if there is any. An empty
/// host stands for all addresses of the machine. `flag` set the address.
pub async fn tcp(address: &TcpAddress, flag: &'static str) -> Result<TcpListener, ListenError> {
    let error = |error: io::Error| match error.kind() {
        ErrorKind::AddrInUse => ListenError::InUse { address: address.to_string(), flag },
        _ => ListenError::Failed { address: address.to_string(), flag, error },
    };
    if address.host.is_empty() {
        return match TcpListener::bind(("::", address.port)).await {
            // A machine without IPv6.
            Err(e) if matches!(e.raw_os_error(), Some(EAFNOSUPPORT | EADDRNOTAVAIL)) => {
                TcpListener::bind(("0.0.0.0", address.port)).await.map_err(error)
            }
            result => result.map_err(error),
        };
    }
    let host = (address.host.clone(), address.port);
    let found: Vec<SocketAddr> = tokio::task::spawn_blocking(move || host.to_socket_addrs())
        .await
        .unwrap_or_else(|panic| Err(io::Error::other(panic)))
        .map_err(error)?
        .collect();
    let first = found.iter().find(|address| address.is_ipv4()).or(found.first());
    let first = first.ok_or_else(|| error(ErrorKind::AddrNotAvailable.into()))?;
    TcpListener::bind(first).await.map_err(error)
}

const EAFNOSUPPORT: i32 = rustix::io::Errno::AFNOSUPPORT.raw_os_error();
const EADDRNOTAVAIL: i32 = rustix::io::Errno::ADDRNOTAVAIL.raw_os_error();

/// A listening unix socket whose file goes with it.
#[derive(Debug)]
pub struct UnixSocket {
    /// The socket.
    pub listener: UnixListener,
    file: SocketFile,
}

/// Removes a socket's file when dropped.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        match std::fs::remove_file(&self.0) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                tracing::warn!(path = %self.0.display(), %error, "Cannot remove the socket");
            }
            _ => {}
        }
    }
}

impl UnixSocket {
    /// Listens at `path`, for its own user only. A socket that an agent left which is no longer
    /// there is replaced.
    pub async fn bind(path: &Path) -> Result<Self, ListenError> {
        let address = || format!("unix://{}", path.display());
        let flag = "server-address";
        let failed = |error: io::Error| ListenError::Failed { address: address(), flag, error };
        match std::fs::symlink_metadata(path) {
            Ok(metadata) if !metadata.file_type().is_socket() => {
                return Err(ListenError::NoSocket(path.to_owned()));
            }
            Ok(_) => match UnixStream::connect(path).await {
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                    std::fs::remove_file(path).map_err(failed)?;
                }
                _ => return Err(ListenError::InUse { address: address(), flag }),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let listener = bind(path).map_err(failed)?;
        let listener = UnixListener::from_std(listener).map_err(failed)?;
        Ok(Self { listener, file: SocketFile(path.to_owned()) })
    }

    /// The socket, and what removes its file.
    pub fn split(self) -> (UnixListener, SocketFile) {
        (self.listener, self.file)
    }
}

/// The file gets the mode that the socket has when it is bound (`unix_bind_bsd` in the kernel), so
/// that there is no moment at which others could connect.
fn bind(path: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::fs::fchmod(&socket, Mode::from_raw_mode(SOCKET_MODE))?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[tokio::test]
    async fn a_stale_socket_is_replaced_a_live_one_and_a_file_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        // The file of a std listener stays when it is dropped.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let socket = UnixSocket::bind(&path).await.unwrap();
        let metadata = std::fs::metadata(&path).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        let error = UnixSocket::bind(&path).await.unwrap_err();
        assert!(matches!(error, ListenError::InUse { .. }), "{error}");
        assert!(path.exists());
        drop(socket);
        assert!(!path.exists());
        std::fs::write(&path, "precious").unwrap();
        let error = UnixSocket::bind(&path).await.unwrap_err();
        assert!(matches!(error, ListenError::NoSocket(_)), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }

    #[tokio::test]
    async fn a_busy_port_is_said_with_the_flag() {
        let any = TcpAddress { host: "127.0.0.1".to_owned(), port: 0 };
        let first = tcp(&any, "server-address").await.unwrap();
        let port = first.local_addr().unwrap().port();
        let same = TcpAddress { port, ..any };
        let error = tcp(&same, "server-address").await.unwrap_err().to_string();
        let wanted =
            format!("127.0.0.1:{port} is in use by another process; --server-address names");
        assert!(error.starts_with(&wanted), "{error}");
    }

    #[tokio::test]
    async fn names_are_resolved_and_an_empty_host_is_all() {
        for host in ["localhost", ""] {
            let address = TcpAddress { host: host.to_owned(), port: 0 };
            let port = tcp(&address, "x").await.unwrap().local_addr().unwrap().port();
            let _ = port;
        }
        let nowhere = TcpAddress { host: "no.such.host.invalid".to_owned(), port: 1 };
        let error = tcp(&nowhere, "server-address").await.unwrap_err().to_string();
        assert!(error.starts_with("cannot listen on no.such.host.invalid:1"), "{error}");
    }
}
