//! The program itself: its words, its exit codes, its end.

use crate::bundle::{DRAWN, drawn_bundle};
use proto::v1::{GetInfoRequest, augment_client::AugmentClient};
use std::{
    io::{BufRead, BufReader},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lookalike-server"));
    command.args(arguments).env_remove("LOOKALIKE_WEIGHTS").env_remove("LOOKALIKE_DATA");
    command
}

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = program(arguments).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

fn bundle_in(folder: &Path) -> String {
    let path = folder.join("bundle.safetensors");
    std::fs::write(&path, drawn_bundle()).unwrap();
    path.display().to_string()
}

#[test]
fn what_is_wrong_is_one_sentence_and_an_exit_code() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, _, stderr) = run(&["serve", "--listen", &address, "--metrics", "127.0.0.1:0"]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains(&format!("error: cannot listen on {address}: the address is in use")), "{stderr}");
    assert_eq!(stderr.trim_end().lines().count(), 1, "{stderr}");

    let (code, _, stderr) =
        run(&["serve", "--weights", "/nowhere/at/all", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0"]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("/nowhere/at/all"), "{stderr}");

    for (flag, value) in [("--tile", "0"), ("--gallery", "18446744073709551615"), ("--max-streams", "many")] {
        let (code, _, stderr) = run(&["serve", flag, value]);
        assert_eq!(code, Some(2));
        assert!(stderr.contains(&format!(", found `{value}`")), "{stderr}");
    }

    let (code, _, stderr) = run(&["serve", "--listen", "here:1"]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("expected an IP address and a port"), "{stderr}");

    let (code, _, stderr) = run(&["serve", "--listen", &address, "--metrics", &address]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("expected different addresses for --listen and --metrics"), "{stderr}");

    for (flag, value, words) in [
        ("--device", "tpu", "/tf32, /bf16 or /tf32/bf16 behind it, found `tpu`"),
        ("--grace", "nan", "expected a whole number, found \"nan\""),
        ("--grace", "-1", "expected a whole number of at least 0, found \"-1\""),
        ("--withhold", "nobody", "can't withhold identity `nobody`: the data set has no such identity"),
    ] {
        let free = ["--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0"];
        let (code, _, stderr) = run(&[&["serve", "--data", DRAWN, flag, value][..], &free].concat());
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains(words), "{stderr}");
    }

    let (code, stdout, _) = run(&["serve", "--dry-run", "--listen", &address]);
    assert_eq!(code, Some(0));
    assert!(stdout.contains(&format!("listen = [\"{address}\"]")), "{stdout}");
}

#[test]
fn inspect_says_what_a_bundle_holds_and_whether_it_fits() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = bundle_in(folder.path());
    let (code, stdout, stderr) = run(&["inspect", "--weights", &bundle, "--data", DRAWN, "--json"]);
    assert_eq!(code, Some(0), "{stderr}");
    let found: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((found["identities"].as_u64(), found["dataset"]["images"].as_u64()), (Some(4), Some(12)));
    let (code, _, stderr) = run(&["inspect", "--weights", &bundle, "--data", "demo:identities=5,images=1,seed=1"]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("4 in the bundle and 5 in the dataset"), "{stderr}");
    // Without a word, the bundle that is built in.
    let (code, stdout, stderr) = run(&["inspect"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("networks     cvae-gan"), "{stdout}");
}

#[cfg(unix)]
#[test]
fn a_token_is_made_for_its_holder_alone() {
    use std::os::unix::fs::MetadataExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("one.token");
    let path_text = path.display().to_string();
    let make = |name| run(&["token", "--name", name, "--role", "admin", "--out", &path_text]);
    let (code, stdout, stderr) = make("one");
    assert_eq!(code, Some(0), "{stderr}");
    let token = std::fs::read_to_string(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    assert!(token.starts_with("lookalike_") && token.trim_end().len() == 74);
    let hash = blake3::hash(token.trim_end().as_bytes()).to_hex();
    assert_eq!(stdout, format!("admin one blake3:{hash}\n"));
    assert!(!stderr.contains(token.trim_end()));
    // One that is there is somebody's.
    assert_eq!(make("one").0, Some(1));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), token);
    let (code, _, stderr) = run(&["token", "--name", "a b", "--out", &path_text]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("expected a name of 1 to 64 letters, digits, ., - and _"), "{stderr}");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn each_log_line_of_a_call_bears_its_name_and_none_bears_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = bundle_in(folder.path());
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (_, line, _) = run(&["token", "--name", "one", "--out", &path("one.token")]);
    let token = std::fs::read_to_string(path("one.token")).unwrap().trim_end().to_owned();
    std::fs::write(path("tokens"), &line).unwrap();
    let listen = format!("127.0.0.1:0,unix:{}", path("faces.sock"));
    let arguments = ["serve", "--json", "--log-format", "json", "-vvv", "--data", DRAWN, "--weights", &bundle];
    let (tokens, places) = (path("tokens"), ["--listen", &listen, "--metrics", "127.0.0.1:0", "--watch", "0"]);
    let log = std::fs::File::create(path("log")).unwrap();
    let arguments = [&arguments[..], &places, &["--tokens", &tokens]].concat();
    let mut server = program(&arguments).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
    let mut ready = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    let ready: serde_json::Value = serde_json::from_str(&ready).unwrap();
    assert_eq!(ready["urls"][0].as_str().unwrap(), format!("http://{}", ready["listen"].as_str().unwrap()));
    let socket = ready["urls"][1].as_str().unwrap().to_owned();

    let channel = tonic::transport::Endpoint::from_shared(socket).unwrap().connect().await.unwrap();
    let mut client = AugmentClient::new(channel);
    let mut ask = async |id: &str, token: &str| {
        let mut request = tonic::Request::new(crate::fixture::request(1, 8, 1));
        request.metadata_mut().insert("x-request-id", id.parse().unwrap());
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        let mut stream = client.stream_batches(request).await?.into_inner();
        while stream.message().await?.is_some() {}
        Ok::<_, tonic::Status>(())
    };
    ask("good-call", &token).await.unwrap();
    ask("bad-call", "lookalike_guess").await.unwrap_err();
    // SIGHUP has the tokens read again, however seldom they are looked at.
    std::fs::write(path("tokens"), "# nobody\n").unwrap();
    assert!(Command::new("kill").args(["-HUP", &server.id().to_string()]).status().unwrap().success());
    while ask("late-call", &token).await.is_ok() {}
    assert!(Command::new("kill").args(["-TERM", &server.id().to_string()]).status().unwrap().success());
    assert_eq!(ended(&mut server), Some(0));

    let log = std::fs::read_to_string(path("log")).unwrap();
    assert!(!log.contains(&token) && !log.contains("lookalike_guess"), "a secret was told:\n{log}");
    let lines: Vec<serde_json::Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let told = |id: &str, message: &str| {
        lines
            .iter()
            .any(|line| line["span"]["id"] == id && line["message"].as_str().is_some_and(|m| m.contains(message)))
    };
    assert!(told("good-call", "the call ended") && told("bad-call", "refused: the token is not one"), "{log}");
    let span = &lines.iter().find(|line| line["span"]["id"] == "good-call").unwrap()["span"];
    assert_eq!(span["method"], "lookalike.v1.Augment/StreamBatches");
    assert_eq!((&span["trainer"], &span["peer"]), (&"one".into(), &"unix".into()));
    assert!(lines.iter().any(|line| line["message"] == "the tokens were read again and are in force"), "{log}");
}

#[cfg(unix)]
#[test]
fn one_signal_ends_the_program_while_it_still_opens_what_it_serves() {
    // So many people take more than a second to list.
    let many = "demo:identities=1000000,images=2";
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let arguments = ["serve", "--data", many, "--listen", &free, "--metrics", "127.0.0.1:0"];
    let mut server = program(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // It listens before it opens.
    while TcpStream::connect(&free).is_err() {
        assert_eq!(server.try_wait().unwrap(), None, "it ended by itself");
        std::thread::sleep(Duration::from_millis(10));
    }
    // A hangup asks for files to be read again, and ends nothing.
    for name in ["-HUP", "-TERM"] {
        assert_eq!(server.try_wait().unwrap(), None, "it ended by itself");
        assert!(Command::new("kill").args([name, &server.id().to_string()]).status().unwrap().success());
    }
    assert_eq!(ended(&mut server), Some(0));
}

#[cfg(unix)]
#[test]
fn a_second_signal_ends_the_program_at_once() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    // Somebody who watches nothing and never leaves would keep it for an hour.
    let arguments =
        ["serve", "--json", "--data", DRAWN, "--grace", "3600", "--listen", &free, "--metrics", "127.0.0.1:0"];
    let folder = tempfile::tempdir().unwrap();
    let bundle = bundle_in(folder.path());
    let mut server =
        program(&arguments).args(["--weights", &bundle]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut ready = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    let mut held = TcpStream::connect(&free).unwrap();
    std::io::Write::write_all(&mut held, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    // It has been taken up once the server has said something.
    std::io::Read::read_exact(&mut held, &mut [0; 9]).unwrap();
    let signal = |program: &Child| {
        assert!(Command::new("kill").args(["-TERM", &program.id().to_string()]).status().unwrap().success());
    };
    signal(&server);
    let mut words = BufReader::new(server.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(words.any(|words| words.contains("stopping in good order")), "it says that it stops");
    signal(&server);
    assert_eq!(ended(&mut server), Some(130));
}

/// The exit code of a program that must end.
fn ended(program: &mut Child) -> Option<i32> {
    for _ in 0..6000 {
        if let Some(status) = program.try_wait().unwrap() {
            return status.code();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    program.kill().unwrap();
    panic!("the program would never end");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn the_program_serves_until_it_is_asked_to_stop() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = bundle_in(folder.path());
    let arguments = [
        "serve",
        "--json",
        "--data",
        DRAWN,
        "--weights",
        &bundle,
        "--listen",
        "127.0.0.1:0",
        "--metrics",
        "127.0.0.1:0",
    ];
    let mut server = program(&arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut ready = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    let ready: serde_json::Value = serde_json::from_str(&ready).unwrap();
    let url = format!("http://{}", ready["listen"].as_str().unwrap());
    let mut client = AugmentClient::connect(url).await.unwrap();
    let info = client.get_info(GetInfoRequest { names: 9, ..Default::default() }).await.unwrap().into_inner();
    assert_eq!(info.names.len(), 4);
    drop(client);
    let stopped = Command::new("kill").args(["-TERM", &server.id().to_string()]).status().unwrap();
    assert!(stopped.success());
    assert_eq!(ended(&mut server), Some(0));
}
