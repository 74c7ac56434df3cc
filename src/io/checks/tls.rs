//! TLS for https checks: whom to trust, and which name to ask for.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Bad, words};
use crate::config::Tls;

/// What one https check needs of TLS, read and parsed once.
pub(super) struct Secured {
    connector: TlsConnector,
    /// `None`: the address is the name.
    name: Option<ServerName<'static>>,
}

impl Secured {
    pub(super) fn new(tls: &Tls) -> Result<Self, String> {
        let name = match &tls.server_name {
            None => None,
            Some(name) => {
                Some(ServerName::try_from(name.clone()).map_err(|_| format!("server-name {name:?} is not a name"))?)
            }
        };
        Ok(Self { connector: TlsConnector::from(Arc::new(client(tls)?)), name })
    }

    pub(super) async fn handshake(&self, stream: TcpStream, to: IpAddr) -> Result<TlsStream<TcpStream>, Bad> {
        let name = self.name.clone().unwrap_or_else(|| ServerName::from(to));
        self.connector.connect(name, stream).await.map_err(|error| Bad::Fail(words::io(&error)))
    }
}

fn client(tls: &Tls) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let mut client = if tls.insecure {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone(provider))).with_no_client_auth()
    } else {
        let roots = match &tls.ca_file {
            Some(path) => from_file(path)?,
            None => of_the_host()?,
        };
        builder.with_root_certificates(roots).with_no_client_auth()
    };
    // A resumed session does not show its certificate again: an expired one would go unseen.
    client.resumption = Resumption::disabled();
    client.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(client)
}

fn from_file(path: &Path) -> Result<RootCertStore, String> {
    let named = |problem: &str| format!("ca-file {}: {problem}", path.display());
    let pem = std::fs::read(path).map_err(|error| named(&words::io(&error)))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| named(&error.to_string()))?;
        roots.add(certificate).map_err(|error| named(&error.to_string()))?;
    }
    if roots.is_empty() { Err(named("no certificate in it")) } else { Ok(roots) }
}

fn of_the_host() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // A host's store holds odd certificates now and then: those that cannot be parsed are not trusted, that is all.
    roots.add_parsable_certificates(found.certs);
    match (roots.is_empty(), found.errors.first()) {
        (false, _) => Ok(roots),
        (true, Some(error)) => Err(format!("the host's trusted certificates: {error}")),
        (true, None) => Err("the host has no trusted certificates; set ca-file".to_owned()),
    }
}

/// `insecure = true`: the check wants an answer and asks nobody for papers.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
