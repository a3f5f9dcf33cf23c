//! How this end shows who it is, and knows the server: certificates and a token.
//!
//! Files are read again at each connection, so that what was replaced is used from the next one on.
//! A token is a secret: it is in no sentence, no log line and no setting, only the name of its file
//! is; and it is sent over a network only if that is encrypted.

use crate::attempts::Failure;
use crate::{Error, Result, ServerUrl};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};
use tonic::{Request, Status};

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The largest file of certificates, and of a token.
const MAX_PEM_BYTES: u64 = 1 << 20;
const MAX_TOKEN_BYTES: u64 = 512;

/// Which files hold what is shown and what is trusted.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Access {
    /// Certificates that must have signed the server's, PEM [default: those that the system trusts]
    #[arg(long, value_name = "PEM", help_heading = "Access")]
    pub tls_ca: Option<PathBuf>,
    /// Certificate to show a server that asks for one, PEM
    #[arg(long, value_name = "PEM", requires = "tls_key", help_heading = "Access")]
    pub tls_cert: Option<PathBuf>,
    /// Private key of --tls-cert, PEM
    #[arg(long, value_name = "PEM", requires = "tls_cert", help_heading = "Access")]
    pub tls_key: Option<PathBuf>,
    /// Name that the server's certificate must have [default: the host of its URL]
    #[arg(long, value_name = "NAME", help_heading = "Access")]
    pub tls_name: Option<String>,
    /// File that holds the token to show, and nothing else
    #[arg(long, value_name = "FILE", help_heading = "Access")]
    pub token_file: Option<PathBuf>,
    /// Send the token over networks that aren't encrypted, where everybody on the way can read it
    #[arg(long, requires = "token_file", help_heading = "Access")]
    pub token_in_clear: bool,
}

/// Shows the token with each call.
#[derive(Clone)]
pub(crate) struct Bearer(Option<MetadataValue<Ascii>>);

impl Access {
    /// Refuses to tell a token to whoever is on the way to one of the servers.
    ///
    /// # Errors
    /// [`Error::Settings`], naming the first server that is reached in the clear.
    pub fn check(&self, servers: &[ServerUrl]) -> Result<()> {
        match servers.iter().find(|server| self.is_told_to_strangers(server)) {
            None => Ok(()),
            Some(server) => Err(Error::settings(clear(server))),
        }
    }

    fn is_told_to_strangers(&self, server: &ServerUrl) -> bool {
        self.token_file.is_some() && !self.token_in_clear && server.is_readable_on_the_way()
    }

    /// What calls to a server carry.
    pub(crate) fn bearer(&self, server: &ServerUrl) -> Result<Bearer, Failure> {
        let Some(path) = &self.token_file else { return Ok(Bearer(None)) };
        if self.is_told_to_strangers(server) {
            return Err(Failure::Final(clear(server)));
        }
        let bytes = read(path, MAX_TOKEN_BYTES)?;
        let token = bytes.trim_ascii();
        let value = [b"Bearer ", token].concat();
        let fits = !token.is_empty() && token.iter().all(u8::is_ascii_graphic);
        match std::str::from_utf8(&value).ok().and_then(|value| value.parse::<MetadataValue<Ascii>>().ok()) {
            Some(mut value) if fits => {
                value.set_sensitive(true);
                Ok(Bearer(Some(value)))
            }
            _ => {
                let path = path.display();
                Err(Failure::Here(format!("expected one line of letters and digits in {path}, found something else")))
            }
        }
    }

    /// How a connection is encrypted.
    pub(crate) fn tls(&self) -> Result<ClientTlsConfig, Failure> {
        let mut config = ClientTlsConfig::new().timeout(HANDSHAKE);
        config = match &self.tls_ca {
            Some(path) => config.ca_certificate(Certificate::from_pem(read(path, MAX_PEM_BYTES)?)),
            None => config.with_native_roots(),
        };
        if let (Some(cert), Some(key)) = (&self.tls_cert, &self.tls_key) {
            config = config.identity(Identity::from_pem(read(cert, MAX_PEM_BYTES)?, read(key, MAX_PEM_BYTES)?));
        }
        Ok(match &self.tls_name {
            Some(name) => config.domain_name(name),
            None => config,
        })
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

fn clear(server: &ServerUrl) -> String {
    format!(
        "expected https:// or a Unix socket for a token, found {server}, where others can read it; add --token-in-clear if nobody is there"
    )
}

/// A file that is being replaced may be gone for a moment.
fn read(path: &Path, most: u64) -> Result<Vec<u8>, Failure> {
    let fail = |reason: &dyn std::fmt::Display| Failure::Here(format!("cannot read {}: {reason}", path.display()));
    let fail_at = |error: std::io::Error| fail(&command::error::reason(&error));
    let file = command::open_file(path).map_err(fail_at)?;
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).map_err(fail_at)?;
    if bytes.len() as u64 > most {
        return Err(fail(&format_args!("expected at most {most} bytes, found more")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> ServerUrl {
        text.parse().unwrap()
    }

    fn with_token(content: &str) -> (Access, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, content).unwrap();
        (Access { token_file: Some(path), ..Access::default() }, folder)
    }

    #[test]
    fn a_token_is_sent_where_nobody_can_read_it_on_the_way() {
        let (access, _folder) = with_token("secret\n");
        for safe in ["https://gpu-7:1", "unix:/run/faces.sock", "http://127.0.0.1:1", "[::1]:1", "localhost:1"] {
            assert!(access.check(&[url(safe)]).is_ok() && access.bearer(&url(safe)).is_ok(), "{safe}");
        }
        for open in ["http://gpu-7:1", "192.0.2.7:1", "http://localhost.example.org:1"] {
            let servers = [url("https://gpu-7:1"), url(open)];
            let error = access.check(&servers).unwrap_err().to_string();
            let found = &servers[1];
            assert!(error.starts_with(&format!("expected https:// or a Unix socket for a token, found {found}")));
            assert!(matches!(access.bearer(found), Err(Failure::Final(_))));
            let daring = Access { token_in_clear: true, ..access.clone() };
            assert!(daring.check(&servers).is_ok() && daring.bearer(found).is_ok());
            assert!(Access::default().check(&servers).is_ok());
        }
    }

    #[test]
    fn a_token_is_one_line_and_shown_nowhere() {
        let server = url("https://gpu-7:1");
        let (access, _folder) = with_token(" secret\r\n");
        let mut bearer = access.bearer(&server).unwrap();
        let request = bearer.call(Request::new(())).unwrap();
        assert_eq!(request.metadata().get("authorization").unwrap().to_str().unwrap(), "Bearer secret");
        assert!(!format!("{request:?} {access:?}").contains("secret"));
        for wrong in ["", "\n", "two\nlines", "sec ret", "s\u{e9}cret", &"x".repeat(1000)] {
            let (access, _folder) = with_token(wrong);
            let failure = access.bearer(&server).err().unwrap();
            let Failure::Here(reason) = failure else { panic!("{failure:?}") };
            assert!(reason.contains("expected") && !reason.contains("cret"), "{reason}");
        }
    }
}
