//! TLS from the configured PEM files. The certificate can be exchanged while connections go on with the one before.

use crate::config::Tls;
use crate::swap::Swap;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::sync::Arc;

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error(
        "server.tls_cert_file: {0}; it must be a PEM file with the certificate chain, the server's own first"
    )]
    Certificate(String),
    #[error("server.tls_key_file: {0}; it must be a PEM file with the certificate's private key")]
    Key(String),
}

/// The certificate that new connections are shown.
#[derive(Debug)]
pub struct Shown(Swap<Arc<CertifiedKey>>);

impl Shown {
    /// What the files hold now.
    pub fn load(tls: &Tls) -> Result<Shown, TlsError> {
        Ok(Shown(Swap::new(certified(tls)?)))
    }

    /// From now on what another one shows.
    pub fn exchange(&self, other: &Shown) {
        self.0.set((*other.0.get()).clone());
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some((*self.0.get()).clone())
    }
}

/// What a listener speaks TLS with.
pub fn server_config(shown: Arc<Shown>) -> Result<ServerConfig, TlsError> {
    let builder = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Certificate(error.to_string()))?;
    Ok(builder.with_no_client_auth().with_cert_resolver(shown))
}

fn certified(tls: &Tls) -> Result<Arc<CertifiedKey>, TlsError> {
    let certificate = |error: String| TlsError::Certificate(error);
    let chain =
        CertificateDer::pem_file_iter(&tls.cert_file).map_err(|error| certificate(error.to_string()))?;
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(|error| certificate(error.to_string()))?;
    if chain.is_empty() {
        return Err(certificate("holds no certificate".to_owned()));
    }
    let key =
        PrivateKeyDer::from_pem_file(&tls.key_file).map_err(|error| TlsError::Key(error.to_string()))?;
    let certified = CertifiedKey::from_der(chain, key, &provider());
    certified.map(Arc::new).map_err(|error| TlsError::Key(error.to_string()))
}

fn provider() -> CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}
