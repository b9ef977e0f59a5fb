//! One connection to the agent, over TCP, TLS or a unix socket.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tonic::transport::{Channel, Endpoint};

use crate::server::{Address, Tls};

/// A machine that vanishes says nothing, and the stream of events may be silent for long: the
/// kernel asks for it this often. (Asking by HTTP/2 pings makes some servers close the connection.)
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Bytes that may be under way before the agent has to wait for us.
const WINDOW: u32 = 1 << 20;

/// Bytes to and from the agent, however they travel.
trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

struct Stream(Box<dyn Transport>);

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

async fn open(address: &Address, tls: Option<&Tls>) -> io::Result<Stream> {
    let tcp = match address {
        Address::Unix(path) => return Ok(Stream(Box::new(UnixStream::connect(path).await?))),
        Address::Tcp(host, port) => TcpStream::connect((host.as_str(), *port)).await?,
    };
    tcp.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
    SockRef::from(&tcp).set_tcp_keepalive(&keepalive)?;
    Ok(match tls {
        None => Stream(Box::new(tcp)),
        Some(tls) => Stream(Box::new(tls.connector.connect(tls.name.clone(), tcp).await?)),
    })
}

/// Connects. The channel does not come back by itself once the connection breaks.
pub(crate) async fn connect(address: &Address, tls: Option<&Tls>) -> io::Result<Channel> {
    let stream = open(address, tls).await?;
    let mut stream = Some(TokioIo::new(stream));
    let once = tower::service_fn(move |_| {
        let stream = stream.take().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected));
        std::future::ready(stream)
    });
    // The address only becomes the `authority` of requests, which no agent looks at; that of a
    // socket's path would not be a valid one.
    let authority = match address {
        Address::Tcp(..) => address.to_string(),
        Address::Unix(_) => "localhost".to_owned(),
    };
    let scheme = if tls.is_some() { "https" } else { "http" };
    let invalid = |cause| io::Error::new(io::ErrorKind::InvalidInput, cause);
    let endpoint = Endpoint::from_shared(format!("{scheme}://{authority}")).map_err(invalid)?;
    let endpoint =
        endpoint.initial_stream_window_size(WINDOW).initial_connection_window_size(WINDOW);
    endpoint.connect_with_connector(once).await.map_err(io::Error::other)
}
