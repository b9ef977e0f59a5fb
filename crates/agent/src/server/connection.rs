//! Connections of clients, over whatever they came, and the tasks that accept them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::tls::{Tls, no_certificate};

/// Time for a TLS handshake.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// TLS handshakes at once; more connections wait to be accepted.
const HANDSHAKES: usize = 64;

/// Connections at once on each socket; more wait to be accepted. Whoever takes all of the TCP
/// address leaves those of the unix socket alone.
const CONNECTIONS: usize = 256;

/// Pause after an accept failed, as it does when there are no file descriptors left.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);

/// A client's connection.
pub(super) struct Connection {
    stream: Stream,
    peer: Peer,
    _place: OwnedSemaphorePermit,
}

enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Who connected.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// For the log: `127.0.0.1:4711`, `unix pid 42`.
    pub(super) name: String,
    /// Whether it came by plain TCP, as a web page's requests do.
    pub(super) plain_tcp: bool,
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

/// Accepts from a unix socket until the task is aborted or nobody takes connections any more.
pub(super) async fn accept_unix(listener: UnixListener, to: mpsc::Sender<io::Result<Connection>>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let pid = stream.peer_cred().ok().and_then(|peer| peer.pid());
                let name = pid.map_or("unix".to_owned(), |pid| format!("unix pid {pid}"));
                let peer = Peer { name, plain_tcp: false };
                let connection = Connection { stream: Stream::Unix(stream), peer, _place: place };
                if to.send(Ok(connection)).await.is_err() {
                    return;
                }
            }
            Err(error) => pause(&error).await,
        }
    }
}

/// Accepts from a TCP socket as [`accept_unix`] does.
pub(super) async fn accept_tcp(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    to: mpsc::Sender<io::Result<Connection>>,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let (stream, peer) = match listener.accept().await {
            Ok((stream, address)) => {
                (stream, Peer { name: address.to_string(), plain_tcp: tls.is_none() })
            }
            Err(error) => {
                pause(&error).await;
                continue;
            }
        };
        // Without it small messages wait for acknowledgements; that is all that fails.
        let _ = stream.set_nodelay(true);
        let Some(tls) = tls.clone() else {
            let connection = Connection { stream: Stream::Tcp(stream), peer, _place: place };
            if to.send(Ok(connection)).await.is_err() {
                return;
            }
            continue;
        };
        let Ok(permit) = Arc::clone(&handshakes).acquire_owned().await else { return };
        let to = to.clone();
        tokio::spawn(async move {
            let greeted = tokio::time::timeout(HANDSHAKE_TIME, greet(stream, &tls)).await;
            drop(permit);
            match greeted.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(stream) => {
                    let stream = Stream::Tls(Box::new(stream));
                    let connection = Connection { stream, peer, _place: place };
                    // Nobody takes connections when the server is stopping.
                    let _ = to.send(Ok(connection)).await;
                }
                Err(error) => {
                    tracing::info!(client = peer.name, %error, "A TLS connection was refused");
                }
            }
        });
    }
}

async fn greet(stream: TcpStream, tls: &Tls) -> io::Result<TlsStream<TcpStream>> {
    let config = tls.current().ok_or_else(no_certificate)?;
    TlsAcceptor::from(config).accept(stream).await
}

async fn pause(error: &io::Error) {
    tracing::warn!(%error, "Cannot accept a connection");
    tokio::time::sleep(ACCEPT_AGAIN).await;
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Unix(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Stream::Tcp(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Unix(stream) => stream.is_write_vectored(),
            Stream::Tcp(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Unix(stream) => Pin::new(stream).poll_flush(context),
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
