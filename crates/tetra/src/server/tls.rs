//! TLS as the `--tls-*` flags ask for it: any of them switches it on, and then it is at least 1.3.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error as RustlsError, RootCertStore, SignatureScheme,
    version,
};

use crate::cli::Tls as Flags;
use crate::error::Error;
use crate::server::Address;

/// Wraps connections in TLS.
#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) connector: TlsConnector,
    pub(crate) name: ServerName<'static>,
}

impl Tls {
    /// What the flags ask for: nothing when none is given.
    pub(crate) fn new(flags: &Flags, address: &Address) -> Result<Option<Self>, Error> {
        let given = !flags.tls_ca_cert_files.is_empty()
            || flags.tls_cert_file.is_some()
            || flags.tls_key_file.is_some()
            || flags.tls_server_name.is_some()
            || flags.tls_skip_verify;
        if !given {
            return Ok(None);
        }
        let mistake = |text: &str| Error::Usage(text.to_owned());
        if flags.tls_skip_verify && !flags.tls_ca_cert_files.is_empty() {
            return Err(mistake(
                "--tls-skip-verify and --tls-ca-cert-files contradict each other: give one of them",
            ));
        }
        let Address::Tcp(host, _) = address else {
            return Err(mistake("--tls-* flags do not go with a unix socket: leave them out"));
        };
        let name = flags.tls_server_name.clone().unwrap_or_else(|| host.clone());
        let name = ServerName::try_from(name.clone()).map_err(|_| {
            Error::Usage(format!("{name:?} is no name that a certificate can have"))
        })?;

        let provider = Arc::new(ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&version::TLS13])
            .map_err(failed)?;
        let config = match flags.tls_skip_verify {
            true => config
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider))),
            false => config.with_root_certificates(roots(flags)?),
        };
        let mut config = match (&flags.tls_cert_file, &flags.tls_key_file) {
            (None, None) => config.with_no_client_auth(),
            (Some(cert), Some(key)) => {
                let chain = certificates(cert)?;
                let key = PrivateKeyDer::from_pem_file(key).map_err(|e| unreadable(key, &e))?;
                config.with_client_auth_cert(chain, key).map_err(failed)?
            }
            _ => return Err(mistake("--tls-cert-file and --tls-key-file only go together")),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Some(Self { connector: TlsConnector::from(Arc::new(config)), name }))
    }
}

fn failed(cause: RustlsError) -> Error {
    Error::Tls(format!("cannot set up TLS: {cause}"))
}

fn unreadable(path: &Path, cause: &dyn std::fmt::Display) -> Error {
    Error::Tls(format!("cannot use {}: {cause}", path.display()))
}

/// The certificates of a PEM file; there has to be one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let all: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).and_then(|certificates| certificates.collect());
    match all {
        Ok(all) if all.is_empty() => Err(unreadable(path, &"it holds no certificate")),
        Ok(all) => Ok(all),
        Err(cause) => Err(unreadable(path, &cause)),
    }
}

/// The authorities to trust: those of the flag, else the system's.
fn roots(flags: &Flags) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for path in &flags.tls_ca_cert_files {
        for certificate in certificates(path)? {
            roots.add(certificate).map_err(|cause| unreadable(path, &cause))?;
        }
    }
    if flags.tls_ca_cert_files.is_empty() {
        let system = rustls_native_certs::load_native_certs();
        // Some system stores hold certificates that nothing can parse; the others count.
        roots.add_parsable_certificates(system.certs);
        if roots.is_empty() {
            return Err(Error::Tls(
                "this system has no certificates of authorities to trust: \
                 name some with --tls-ca-cert-files"
                    .to_owned(),
            ));
        }
    }
    Ok(roots)
}

/// For `--tls-skip-verify`: trusts every certificate, but still checks that the other side holds
/// the key to the one that it shows.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, RustlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
