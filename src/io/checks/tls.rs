//! TLS for https and grpc checks: whom to trust, and which name to ask for.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Bad, words};
use crate::config::Tls;

/// What one check needs of TLS, read and parsed once.
pub(super) struct Secured {
    connector: TlsConnector,
    /// `None`: the address is the name.
    name: Option<ServerName<'static>>,
}

impl Secured {
    /// `protocol`: what is going to be spoken, as ALPN calls it.
    pub(super) fn new(tls: &Tls, protocol: &str) -> Result<Self, String> {
        let name = match &tls.server_name {
            None => None,
            Some(name) => {
                Some(ServerName::try_from(name.clone()).map_err(|_| format!("server-name {name:?} is not a name"))?)
            }
        };
        Ok(Self { connector: TlsConnector::from(Arc::new(client(tls, protocol)?)), name })
    }

    pub(super) async fn handshake(&self, stream: TcpStream, to: IpAddr) -> Result<TlsStream<TcpStream>, Bad> {
        let name = self.name.clone().unwrap_or_else(|| ServerName::from(to));
        self.connector.connect(name, stream).await.map_err(|error| Bad::Fail(words::io(&error)))
    }
}

fn client(tls: &Tls, protocol: &str) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let mut client = if tls.insecure {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone(provider))).with_no_client_auth()
    } else {
        match &tls.ca_file {
            Some(path) => {
                let listed = Arc::new(Listed::new(from_file(path)?, provider)?);
                builder.dangerous().with_custom_certificate_verifier(listed).with_no_client_auth()
            }
            None => builder.with_root_certificates(of_the_host()?).with_no_client_auth(),
        }
    };
    // A resumed session does not show its certificate again: an expired one would go unseen.
    client.resumption = Resumption::disabled();
    client.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    Ok(client)
}

fn from_file(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let named = |problem: &str| format!("ca-file {}: {problem}", path.display());
    let pem = std::fs::read(path).map_err(|error| named(&words::io(&error)))?;
    let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|error| named(&error.to_string()))?;
    for certificate in &certificates {
        RootCertStore::empty().add(certificate.clone()).map_err(|error| named(&error.to_string()))?;
    }
    if certificates.is_empty() { Err(named("no certificate in it")) } else { Ok(certificates) }
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

/// `ca-file`: its certificates as authorities, and each of them also as a server's own.
///
/// `openssl req -x509` makes a certificate that signed for itself and calls itself an authority; a server that shows it
/// is refused by webpki and taken by OpenSSL where the file lists that very certificate. So it is here.
#[derive(Debug)]
struct Listed {
    authorities: Arc<WebPkiServerVerifier>,
    certificates: Vec<CertificateDer<'static>>,
}

impl Listed {
    fn new(certificates: Vec<CertificateDer<'static>>, provider: Arc<CryptoProvider>) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates.iter().cloned());
        let authorities = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        Ok(Self { authorities: authorities.map_err(|error| error.to_string())?, certificates })
    }
}

impl ServerCertVerifier for Listed {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.authorities.verify_server_cert(own, chain, name, ocsp, now) {
            // CaUsedAsEndEntity, among others; dates are judged before it, and have an error of their own.
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(_)))
                if self.certificates.iter().any(|listed| listed.as_ref() == own.as_ref()) =>
            {
                verify_server_name(&ParsedCertificate::try_from(own)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.authorities.verify_tls12_signature(message, own, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.authorities.verify_tls13_signature(message, own, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
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
