//! The server's certificate, and whose certificates it asks for.

use crate::{
    error::{Error, Result},
    watched::{Credentials, Files},
};
use std::{
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
        server::WebPkiClientVerifier,
    },
};

/// The files of TLS, all PEM.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct TlsFiles {
    /// Certificate to show trainers, with its chain, PEM; read again when it changes [default: connections aren't encrypted]
    #[arg(long, value_name = "PEM", requires = "tls_key", help_heading = "Access")]
    pub tls_cert: Option<PathBuf>,

    /// Private key of --tls-cert, PEM
    #[arg(long, value_name = "PEM", requires = "tls_cert", help_heading = "Access")]
    pub tls_key: Option<PathBuf>,

    /// Talk only to those who show a certificate that one of these has signed, PEM
    #[arg(long, value_name = "PEM", requires = "tls_cert", help_heading = "Access")]
    pub client_ca: Option<PathBuf>,
}

/// What handshakes are made with.
pub struct Tls {
    files: Files,
    config: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads the files; `None` where the settings name none.
    ///
    /// # Errors
    /// [`Error::Credentials`] when one can't be read, holds something else, or they don't belong
    /// together.
    pub fn open(files: &TlsFiles) -> Result<Option<Arc<Self>>> {
        let TlsFiles { tls_cert, tls_key, client_ca } = files;
        let (Some(cert), Some(key)) = (tls_cert, tls_key) else { return Ok(None) };
        let files = Files::new([cert, key].into_iter().chain(client_ca).cloned());
        let config = RwLock::new(config(&files)?);
        Ok(Some(Arc::new(Self { files, config })))
    }

    /// Makes handshakes with what is in force now.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.config.read().unwrap_or_else(PoisonError::into_inner).clone().into()
    }
}

impl Credentials for Tls {
    fn what(&self) -> &'static str {
        "certificates"
    }

    fn files(&self) -> &Files {
        &self.files
    }

    fn reread(&self) -> Result<()> {
        let config = config(&self.files)?;
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }
}

fn config(files: &Files) -> Result<Arc<ServerConfig>> {
    let contents = files.read()?;
    let [cert, key, client_ca @ ..] = &contents[..] else {
        return Err(Error::Bug("a certificate has a key".into()));
    };
    let wrong = |what: &str, reason: &dyn std::fmt::Display| Error::Credentials(format!("{what}: {reason}"));
    let chain = certificates("--tls-cert", cert)?;
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|_| wrong("--tls-key", &"expected a private key in PEM, found none"))?;
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Bug(format!("TLS: {error}")))?;
    let builder = match client_ca {
        [] => builder.with_no_client_auth(),
        [ca, ..] => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates("--client-ca", ca)? {
                roots.add(certificate).map_err(|error| wrong("--client-ca", &error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| wrong("--client-ca", &error))?)
        }
    };
    let mut config =
        builder.with_single_cert(chain, key).map_err(|error| wrong("--tls-cert with --tls-key", &error))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(flag: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match read {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(Error::Credentials(format!("{flag}: expected certificates in PEM, found none"))),
    }
}
