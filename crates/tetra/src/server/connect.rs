//! One connection to the agent, over TCP, TLS or a unix socket.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tonic::transport::{Channel, Endpoint};

use crate::server::{Address, Tls};

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
    endpoint.connect_with_connector(once).await.map_err(io::Error::other)
}
