//! TLS of the TCP address, with certificates that may change while the agent runs.
//!
//! The files are looked at for each new connection and read again when one of them changed. If they
//! cannot be used, the last ones that could stay in force; before there were any, connections are
//! refused. Both are logged when they begin and end.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use tokio_rustls::rustls::{self, RootCertStore, version::TLS13};

use crate::config::ServerConfig;

/// The files of a server's identity.
pub(super) struct Tls {
    cert: PathBuf,
    key: PathBuf,
    /// Empty when clients need no certificate.
    client_cas: Vec<PathBuf>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    stamps: Vec<Stamp>,
    config: Option<Arc<rustls::ServerConfig>>,
    failing: bool,
}

/// What changes when a file does: device, inode, size, time of change in s and ns.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

/// A certificate, key or authority cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsError {
    #[error("{}: {error}", path.display())]
    Pem { path: PathBuf, error: pem::Error },
    #[error("{}: no certificate in it", .0.display())]
    Empty(PathBuf),
    #[error("{}: {error}", path.display())]
    Authority { path: PathBuf, error: rustls::Error },
    #[error("client authorities: {0}")]
    Verifier(#[from] VerifierBuilderError),
    #[error("certificate and key: {0}")]
    Identity(#[from] rustls::Error),
}

impl Tls {
    /// TLS as configured; `None` when it is not.
    pub(super) fn new(config: &ServerConfig) -> Option<Self> {
        let (Some(cert), Some(key)) = (&config.tls_cert_file, &config.tls_key_file) else {
            return None;
        };
        let client_cas = match config.tls_require_client_cert {
            true => config.tls_client_ca_files.clone(),
            false => Vec::new(),
        };
        let (cert, key) = (cert.clone(), key.clone());
        Some(Self { cert, key, client_cas, state: Mutex::default() })
    }

    /// What a connection that comes now is to be greeted with.
    pub(super) fn current(&self) -> Option<Arc<rustls::ServerConfig>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let files = [&self.cert, &self.key].into_iter().chain(&self.client_cas);
        let stamps: Vec<Stamp> = files.map(|path| stamp(path)).collect();
        if state.config.is_none() || state.failing || state.stamps != stamps {
            match self.read() {
                Ok(config) => {
                    if state.config.is_some() || state.failing {
                        tracing::info!("TLS certificates were read again");
                    }
                    state.config = Some(Arc::new(config));
                    state.failing = false;
                }
                Err(error) => {
                    if !std::mem::replace(&mut state.failing, true) {
                        let kept = state.config.is_some();
                        tracing::warn!(%error, kept, "TLS certificates cannot be used");
                    }
                }
            }
            state.stamps = stamps;
        }
        state.config.clone()
    }

    fn read(&self) -> Result<rustls::ServerConfig, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let chain = certificates(&self.cert)?;
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|error| TlsError::Pem { path: self.key.clone(), error })?;
        let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])?;
        let builder = match self.client_cas.as_slice() {
            [] => builder.with_no_client_auth(),
            files => builder.with_client_cert_verifier(verifier(files, provider)?),
        };
        let mut config = builder.with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn verifier(
    files: &[PathBuf],
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for path in files {
        for certificate in certificates(path)? {
            let error = |error| TlsError::Authority { path: path.clone(), error };
            roots.add(certificate).map_err(error)?;
        }
    }
    Ok(WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let error = |error| TlsError::Pem { path: path.to_owned(), error };
    let read = CertificateDer::pem_file_iter(path).map_err(error)?;
    let certificates = read.collect::<Result<Vec<_>, _>>().map_err(error)?;
    if certificates.is_empty() {
        return Err(TlsError::Empty(path.to_owned()));
    }
    Ok(certificates)
}

fn stamp(path: &Path) -> Stamp {
    let stamp = |metadata: fs::Metadata| {
        let (ctime, ctime_ns) = (metadata.ctime(), metadata.ctime_nsec());
        (metadata.dev(), metadata.ino(), metadata.size(), ctime, ctime_ns)
    };
    fs::metadata(path).map(stamp).ok()
}

/// A connection came while there is no usable certificate.
pub(super) fn no_certificate() -> io::Error {
    io::Error::other("there is no usable TLS certificate")
}
