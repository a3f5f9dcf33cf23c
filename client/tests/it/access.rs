//! Streams over TLS and Unix sockets, with certificates and tokens.

use crate::certificates::Authority;
use crate::fixture::*;
use client::{Access, Patience, StreamSettings};
use server::access::tokens::{Fresh, Role};
use server::listeners::tls::TlsFiles;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

/// A folder with an authority, a server's certificate, a trainer's, and a token.
struct Papers {
    folder: tempfile::TempDir,
    token: String,
}

impl Papers {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new(folder.path(), "ca");
        authority.sign("server", &["127.0.0.1", "faces.example"]);
        authority.sign("trainer", &[]);
        Authority::new(folder.path(), "other");
        let papers = Self { folder, token: String::new() };
        let token = papers.replace_token();
        Self { token, ..papers }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Another token, known to the server alone as soon as it reads its file again.
    fn replace_token(&self) -> String {
        let Fresh { token, line } = Fresh::new(Role::Trainer, "one").unwrap();
        std::fs::write(self.path("token"), format!("{token}\n")).unwrap();
        std::fs::write(self.path("tokens"), line).unwrap();
        token
    }

    /// A server that asks for all of it.
    fn server(&self) -> Setup {
        let [cert, key, ca] = ["server.pem", "server.key", "ca.pem"].map(|name| Some(self.path(name)));
        let tls = TlsFiles { tls_cert: cert, tls_key: key, client_ca: ca };
        Setup { tls, tokens: Some(self.path("tokens")), ..Setup::default() }
    }

    /// What a trainer shows and trusts.
    fn access(&self) -> Access {
        Access {
            tls_ca: Some(self.path("ca.pem")),
            tls_cert: Some(self.path("trainer.pem")),
            tls_key: Some(self.path("trainer.key")),
            token_file: Some(self.path("token")),
            ..Access::default()
        }
    }
}

fn with(access: Access, url: String) -> StreamSettings {
    StreamSettings { access, patience: Patience::always(Duration::ZERO), ..settings(&[url], 7) }
}

#[test]
fn a_stream_is_the_same_however_it_comes() {
    let papers = Papers::new();
    let plain = read(&mut connect(&[Running::ordinary().url()]), 5);
    let server = papers.server().start();
    assert!(server.url().starts_with("https://"));
    let encrypted = read(&mut try_connect(with(papers.access(), server.url())).unwrap(), 5);
    assert_eq!(encrypted, plain);
    #[cfg(unix)]
    {
        let socket = papers.path("faces.sock");
        let _server = Setup { socket: Some(socket.clone()), ..Setup::default() }.start();
        let local = try_connect(with(Access::default(), format!("unix:{}", socket.display())));
        assert_eq!(read(&mut local.unwrap(), 5), plain);
    }
}

#[test]
fn what_is_missing_or_wrong_is_said_with_what_to_do() {
    let papers = Papers::new();
    let server = papers.server().start();
    let refusal = |access| try_connect(with(access, server.url())).err().unwrap().to_string();
    let good = || papers.access();
    for (access, expected) in [
        (Access { tls_ca: Some(papers.path("other.pem")), ..good() }, "name its issuer with --tls-ca"),
        (Access { tls_name: Some("other.example".into()), ..good() }, "say which with --tls-name"),
        (Access { tls_cert: None, tls_key: None, ..good() }, "show one with --tls-cert and --tls-key"),
        (Access { token_file: None, ..good() }, "expected a token, found none; name its file with --token-file"),
        (Access { token_file: Some(papers.path("absent")), ..good() }, "cannot read "),
        (Access { token_file: Some(papers.path("ca.pem")), ..good() }, "expected "),
    ] {
        let error = refusal(access);
        assert!(error.contains(expected), "{error}");
    }
    let other = StreamSettings { trainer: "two".into(), ..with(good(), server.url()) };
    let error = try_connect(other).err().unwrap().to_string();
    assert!(error.contains("expected the trainer's name `one`"), "{error}");
    let named = Access { tls_name: Some("faces.example".into()), ..good() };
    try_connect(with(named, server.url())).unwrap();
    let plain = Running::ordinary().url().replace("http://", "https://");
    let error = try_connect(with(good(), plain)).err().unwrap().to_string();
    assert!(error.contains("https://"), "{error}");
}

#[test]
fn a_replaced_token_is_shown_from_the_next_connection_on() {
    let papers = Papers::new();
    let first = papers.server().start();
    // The second server knows the new token alone.
    let mut source = {
        let urls = [first.url(), first.url()];
        let settings = StreamSettings { lease: std::num::NonZeroU64::new(2), ..settings(&urls, 7) };
        try_connect(StreamSettings { access: papers.access(), ..settings }).unwrap()
    };
    let before = read(&mut source, 2);
    papers.replace_token();
    let port = first.address.port();
    drop(first);
    let _second = Setup { port, ..papers.server() }.start();
    let after = read(&mut source, 4);
    let whole = read(&mut connect(&[Running::ordinary().url()]), 6);
    assert_eq!([before, after].concat(), whole);
}

fn client(place: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lookalike-client")).current_dir(place).args(args).output().unwrap()
}

#[test]
fn the_command_takes_its_papers_and_tells_no_token() {
    let papers = Papers::new();
    let place = papers.folder.path();
    let server = papers.server().start();
    let url = server.url();
    let [ca, cert, key, token] = ["ca.pem", "trainer.pem", "trainer.key", "token"].map(|name| papers.text(name));
    let flags = ["--tls-ca", &ca, "--tls-cert", &cert, "--tls-key", &key, "--token-file", &token];
    let probe = |url: &str, more: &[&str]| {
        let args = ["probe", "--server", url, "--batch", "8", "--batches", "2", "--patience", "0", "--json"];
        client(place, &[&args[..], &flags, more].concat())
    };
    for more in [&[][..], &["-vvv"], &["--dry-run"]] {
        let output = probe(&url, more);
        let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(output.status.success(), "{told}");
        assert!(!told.contains(&papers.token), "a secret was told:\n{told}");
        assert!(more != ["--dry-run"] || told.contains("token-file = "), "{told}");
    }
    let output = probe("http://gpu-7.example:50051", &[]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        told.contains("expected https:// or a Unix socket for a token, found http://gpu-7.example:50051"),
        "{told}"
    );
    // As any setting, by the environment.
    let args = ["probe", "--server", &url, "--batch", "8", "--batches", "2", "--quiet", "--tls-ca", &ca];
    let mut command = Command::new(env!("CARGO_BIN_EXE_lookalike-client"));
    command.args([&args[..], &["--tls-cert", &cert, "--tls-key", &key]].concat());
    assert!(command.env("LOOKALIKE_TOKEN_FILE", &token).output().unwrap().status.success());
}
