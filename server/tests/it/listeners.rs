//! Ways to the server: TLS, certificates on both sides, Unix sockets.

use crate::{certificates::Authority, fixture::*};
use proto::v1::{self, admin_client::AdminClient, augment_client::AugmentClient};
use server::{
    Config, Error,
    listeners::{
        Listen, Listeners,
        tls::{Tls, TlsFiles},
    },
};
use std::path::Path;
use tonic::{
    Code,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

fn anywhere() -> Listen {
    Listen::Tcp("127.0.0.1:0".parse().unwrap())
}

/// The files of a server in a folder; with `client_ca`, it asks for certificates.
fn files(folder: &Path, client_ca: Option<&str>) -> TlsFiles {
    TlsFiles {
        tls_cert: Some(folder.join("server.pem")),
        tls_key: Some(folder.join("server.key")),
        client_ca: client_ca.map(|name| folder.join(name)),
    }
}

/// A server that shows what the files hold.
async fn encrypted(files: &TlsFiles) -> Running {
    let config = Config { watch: 1, ..Setup::default().config };
    let served = Setup { config, ..Setup::default() }.open().unwrap();
    let tls = Tls::open(files).unwrap();
    Running::listen(served, Listeners::bind(&[anywhere()], 0o600, tls).await.unwrap()).await
}

/// Calls a server, trusting `ca` and showing `own`, both names in a folder.
async fn call(server: &Running, folder: &Path, ca: &str, own: Option<&str>) -> Result<(), String> {
    let read = |name: String| std::fs::read(folder.join(name)).unwrap();
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(format!("{ca}.pem"))));
    if let Some(own) = own {
        tls = tls.identity(Identity::from_pem(read(format!("{own}.pem")), read(format!("{own}.key"))));
    }
    let url = format!("https://{}", server.address);
    let endpoint = Channel::from_shared(url).unwrap().tls_config(tls).unwrap();
    let channel = in_time(endpoint.connect()).await.map_err(|error| format!("{error:?}"))?;
    let asked = AugmentClient::new(channel).get_info(v1::GetInfoRequest::default()).await;
    asked.map(drop).map_err(|error| format!("{error:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn trainers_trust_the_server_by_its_authority() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let authority = Authority::new(folder, "ca");
    Authority::new(folder, "other");
    authority.sign("server", &["127.0.0.1"]);
    let server = encrypted(&files(folder, None)).await;
    call(&server, folder, "ca", None).await.unwrap();
    let error = call(&server, folder, "other", None).await.unwrap_err();
    assert!(error.contains("UnknownIssuer"), "{error}");
    // Who doesn't encrypt is not answered.
    let plain = Channel::from_shared(format!("http://{}", server.address)).unwrap();
    let answered = async {
        let channel = plain.connect().await.map_err(|error| error.to_string())?;
        let asked = AugmentClient::new(channel).get_info(v1::GetInfoRequest::default()).await;
        asked.map(drop).map_err(|error| error.to_string())
    };
    assert!(in_time(answered).await.is_err());
    // The second one's client may have tried more than once.
    let refused = async || server.metric(r#"lookalike_connection_refusals_total{reason="handshake"}"#).await;
    in_time(async {
        while refused().await < 2.0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
    // One who connects and says nothing is in nobody's way.
    let _silent = tokio::net::TcpStream::connect(server.address).await.unwrap();
    call(&server, folder, "ca", None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_asks_for_certificates_talks_to_nobody_without() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let authority = Authority::new(folder, "ca");
    authority.sign("server", &["127.0.0.1"]);
    authority.sign("trainer", &[]);
    Authority::new(folder, "other").sign("stranger", &[]);
    let server = encrypted(&files(folder, Some("ca.pem"))).await;
    call(&server, folder, "ca", Some("trainer")).await.unwrap();
    call(&server, folder, "ca", None).await.unwrap_err();
    call(&server, folder, "ca", Some("stranger")).await.unwrap_err();
    call(&server, folder, "ca", Some("trainer")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_change_without_a_restart_and_broken_ones_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    Authority::new(folder, "old").sign("server", &["127.0.0.1"]);
    let server = encrypted(&files(folder, None)).await;
    call(&server, folder, "old", None).await.unwrap();
    std::fs::write(folder.join("server.pem"), "half a certifi").unwrap();
    server.metric_becomes(r#"lookalike_credentials_reloads_total{what="certificates",outcome="refused"}"#, 1.0).await;
    call(&server, folder, "old", None).await.unwrap();
    Authority::new(folder, "new").sign("server", &["127.0.0.1"]);
    server.metric_becomes(r#"lookalike_credentials_reloads_total{what="certificates",outcome="taken"}"#, 1.0).await;
    call(&server, folder, "new", None).await.unwrap();
    call(&server, folder, "old", None).await.unwrap_err();
}

#[test]
fn files_that_do_not_belong_together_are_refused_in_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let authority = Authority::new(folder, "ca");
    authority.sign("server", &["127.0.0.1"]);
    authority.sign("other", &["127.0.0.1"]);
    let refusal = |files: &TlsFiles| Tls::open(files).err().unwrap().to_string();
    let good = || files(folder, Some("ca.pem"));
    assert!(Tls::open(&good()).unwrap().is_some());
    assert!(Tls::open(&TlsFiles::default()).unwrap().is_none());
    let error = refusal(&TlsFiles { tls_key: Some(folder.join("other.key")), ..good() });
    assert!(error.starts_with("--tls-cert with --tls-key: "), "{error}");
    let error = refusal(&TlsFiles { tls_key: Some(folder.join("server.pem")), ..good() });
    assert_eq!(error, "--tls-key: expected a private key in PEM, found none");
    let error = refusal(&TlsFiles { tls_cert: Some(folder.join("server.key")), ..good() });
    assert_eq!(error, "--tls-cert: expected certificates in PEM, found none");
    let error = refusal(&TlsFiles { client_ca: Some(folder.join("server.key")), ..good() });
    assert_eq!(error, "--client-ca: expected certificates in PEM, found none");
    let error = refusal(&TlsFiles { client_ca: Some(folder.join("absent.pem")), ..good() });
    assert!(error.starts_with("cannot read ") && error.contains("absent.pem: "), "{error}");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn streams_come_through_unix_sockets_beside_the_network() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("faces.sock");
    let places = [anywhere(), Listen::Unix(path.clone())];
    let listeners = Listeners::bind(&places, 0o600, None).await.unwrap();
    let urls = listeners.urls().unwrap();
    assert!(urls[0].starts_with("http://127.0.0.1:") && !urls[0].ends_with(":0"), "{urls:?}");
    assert_eq!(urls[1], format!("unix:{}", path.display()));
    let Err(Error::BindUnix { .. }) = Listeners::bind(&places[1..], 0o600, None).await else { panic!("it is taken") };

    let mut server = Running::listen(Setup::default().open().unwrap(), listeners).await;
    let (_, by_network) = server.read(request(1, 16, 3)).await.unwrap();
    let channel = Endpoint::from_shared(urls[1].clone()).unwrap().connect().await.unwrap();
    let mut client = AugmentClient::new(channel.clone());
    let mut stream = Reader::new(client.stream_batches(request(1, 16, 3)).await.unwrap().into_inner()).await.unwrap();
    for expected in by_network {
        assert_eq!(stream.next().await.unwrap().unwrap(), expected);
    }
    // It comes from the same machine, so it may administer; there is nothing to reload.
    let error = AdminClient::new(channel).reload(v1::ReloadRequest::default()).await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    drop((stream, client));
    server.ask_to_stop();
    server.outcome().await.unwrap();
    assert!(!path.exists());
}
