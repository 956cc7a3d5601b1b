//! TLS from the configured PEM files.

use crate::config::Tls;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error(
        "server.tls_cert_file: {0}; it must be a PEM file with the certificate chain, the server's own first"
    )]
    Certificate(String),
    #[error("server.tls_key_file: {0}; it must be a PEM file with the certificate's private key")]
    Key(String),
}

/// What a listener speaks TLS with.
pub fn server_config(tls: &Tls) -> Result<ServerConfig, TlsError> {
    let certificate = |error: String| TlsError::Certificate(error);
    let chain =
        CertificateDer::pem_file_iter(&tls.cert_file).map_err(|error| certificate(error.to_string()))?;
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(|error| certificate(error.to_string()))?;
    let key =
        PrivateKeyDer::from_pem_file(&tls.key_file).map_err(|error| TlsError::Key(error.to_string()))?;
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| certificate(error.to_string()))?;
    builder
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| TlsError::Key(error.to_string()))
}
