//! The files for those who run the server, held against the server: `deploy/` and the README name metrics,
//! flags and settings that there are.

use crate::fixture::*;
use proto::v1;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn text(path: &str) -> String {
    let path = repository().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names of metrics in a text. Endings in `_` are beginnings of names and no name.
fn metrics(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !(letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_'));
    let prefixes = ["lookalike_", "grpc_server_", "process_"];
    let ours = words.filter(|word| prefixes.iter().any(|prefix| word.starts_with(prefix)) && !word.ends_with('_'));
    ours.map(str::to_owned).collect()
}

/// What the telemetry room declares.
fn declared() -> BTreeSet<String> {
    let room = ["telemetry.rs", "telemetry/bundles.rs", "telemetry/moment.rs", "telemetry/process.rs"];
    let files = room.iter().chain(&["telemetry/trainer.rs"]).map(|file| text(&format!("server/src/{file}")));
    metrics(&files.collect::<Vec<String>>().join("\n"))
}

/// The README's table.
fn tabled() -> BTreeSet<String> {
    let readme = text("README.md");
    let (_, section) = readme.split_once("## What the server tells Prometheus").expect("a section on metrics");
    let (section, _) = section.split_once("\n## ").expect("another section");
    metrics(&section.lines().filter(|line| line.starts_with('|')).collect::<Vec<_>>().join("\n"))
}

#[test]
fn the_readme_names_every_metric_and_no_other() {
    let (declared, tabled) = (declared(), tabled());
    assert!(declared.len() > 40, "{declared:?}");
    let missing: Vec<_> = declared.difference(&tabled).collect();
    let unknown: Vec<_> = tabled.difference(&declared).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "missing in the README: {missing:?}; unknown there: {unknown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_of_a_page_is_in_the_readme() {
    let server = Running::ordinary().await;
    let mut named = request(1, 20, 3);
    named.trainer = "one".into();
    server.read(named).await.unwrap();
    let report = v1::ReportRequest { trainer: "one".into(), wait_seconds: vec![0.5], ..Default::default() };
    server.client().await.report(report).await.unwrap();
    assert!(server.read(request(1, 0, 1)).await.is_err());
    server.metric_becomes("lookalike_active_streams", 0.0).await;
    let page = server.page("/metrics").await;
    let shown: BTreeSet<String> =
        page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).map(str::to_owned).collect();
    let tabled = tabled();
    let unknown: Vec<_> = shown.difference(&tabled).collect();
    assert!(unknown.is_empty(), "not in the README: {unknown:?}");
    // What is counted only once it happens, and didn't.
    let later = ["lookalike_connection_refusals_total", "lookalike_credentials_reloads_total"];
    let missing: Vec<_> = tabled.difference(&shown).filter(|name| !later.contains(&name.as_str())).collect();
    let linux = cfg!(target_os = "linux");
    assert!(missing.is_empty() || !linux && missing.iter().all(|name| name.starts_with("process_")), "{missing:?}");
}

#[test]
fn dashboard_alerts_and_scaling_name_metrics_that_there_are() {
    let declared = declared();
    let files = [
        "deploy/grafana/lookalike.json",
        "deploy/prometheus/alerts.yml",
        "deploy/prometheus/alerts.test.yml",
        "deploy/kubernetes/autoscale.yaml",
    ];
    for file in files {
        let named = metrics(&text(file));
        assert!(!named.is_empty(), "{file}");
        for name in named {
            let histogram = ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part));
            let known = declared.contains(&name) || histogram.is_some_and(|name| declared.contains(name));
            assert!(known, "{file} names {name}");
        }
    }
}

/// Whether the server would start with these arguments.
fn accepts(arguments: &[String]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lookalike-server"));
    command.args(arguments).arg("--dry-run").env_remove("LOOKALIKE_WEIGHTS").env_remove("LOOKALIKE_DATA");
    command.output().unwrap()
}

fn assert_accepted(what: &str, arguments: &[String]) {
    assert_eq!(arguments.first().map(String::as_str), Some("serve"), "{what}: {arguments:?}");
    let output = accepts(arguments);
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}, {arguments:?}: {words}");
}

/// The same arguments with the settings of a file that is here.
fn with_settings(arguments: Vec<String>, named: &str, settings: &Path) -> Vec<String> {
    let settings = settings.display().to_string();
    let replaced: Vec<String> = arguments.iter().map(|argument| argument.replace(named, &settings)).collect();
    assert_ne!(replaced, arguments, "it names its settings");
    replaced
}

#[test]
fn the_service_unit_starts_the_server_with_settings_that_it_knows() {
    let unit = text("deploy/systemd/lookalike-server.service").replace("\\\n", " ");
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("something is started");
    let arguments: Vec<String> = start.split_whitespace().skip(1).map(str::to_owned).collect();
    let settings = repository().join("deploy/systemd/server.toml");
    assert_accepted("the unit", &with_settings(arguments, "/etc/lookalike/server.toml", &settings));
    // Those that are only suggested are known too.
    let folder = tempfile::tempdir().unwrap();
    let all: Vec<String> =
        text("deploy/systemd/server.toml").lines().map(|line| uncommented(line).to_owned()).collect();
    let path = folder.path().join("all.toml");
    std::fs::write(&path, all.join("\n")).unwrap();
    assert_accepted("every setting", &["serve".to_owned(), format!("--config={}", path.display())]);
}

/// A setting that is commented out, as a setting.
fn uncommented(line: &str) -> &str {
    line.strip_prefix("# ").filter(|rest| rest.contains(" = ")).unwrap_or(line)
}

#[test]
fn the_container_starts_the_server_and_the_server_only() {
    let file = text("deploy/container/Dockerfile");
    let list = |keyword: &str| -> Vec<String> {
        let line = file.lines().filter_map(|line| line.strip_prefix(keyword)).next_back().expect(keyword);
        serde_json::from_str(line).expect("the exec form, so that signals reach the server")
    };
    assert_eq!(list("ENTRYPOINT "), ["/usr/bin/lookalike-server"]);
    assert_accepted("the container", &list("CMD "));
    // The command that its first lines teach.
    let taught = file.lines().take_while(|line| line.starts_with('#')).map(|line| line.trim_start_matches(['#', ' ']));
    let taught = taught.collect::<Vec<_>>().join(" ").replace('\\', " ");
    let taught = taught.split_whitespace().collect::<Vec<_>>().join(" ");
    let (_, taught) = taught.split_once("lookalike-server serve").expect("a command");
    let (taught, _) = taught.split_once("It ends").expect("and what comes then");
    let arguments = std::iter::once("serve").chain(taught.split_whitespace()).map(str::to_owned);
    assert_accepted("the taught command", &arguments.collect::<Vec<_>>());
    let user = file.lines().find_map(|line| line.strip_prefix("USER ")).expect("a user");
    assert!(!user.starts_with('0') && !user.starts_with("root"), "{user}");
}

#[test]
fn the_manifests_start_the_server_with_settings_that_it_knows() {
    let manifest = text("deploy/kubernetes/lookalike.yaml");
    let after = |start: &str| {
        let (before, rest) = manifest.split_once(start).expect(start);
        let indent = before.lines().last().unwrap_or_default().len();
        let deeper = move |line: &&str| line.trim().is_empty() || line.len() - line.trim_start().len() > indent;
        rest.lines().skip(1).take_while(deeper).map(|line| line.trim().to_owned()).collect::<Vec<String>>()
    };
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("server.toml");
    let toml = after("server.toml: |");
    std::fs::write(&settings, toml.join("\n")).unwrap();
    let arguments = after("args:").iter().map(|line| line.trim_start_matches("- ").to_owned()).collect();
    assert_accepted("the manifest", &with_settings(arguments, "/etc/lookalike/server.toml", &settings));

    let number = |text: &str| -> u64 { text.trim().parse().unwrap() };
    let grace = toml.iter().find_map(|line| line.strip_prefix("grace = ")).map(number).unwrap();
    let killed = manifest.lines().find_map(|line| line.trim().strip_prefix("terminationGracePeriodSeconds: "));
    assert!(number(killed.unwrap()) > grace, "it would be killed while it says farewell");
    for probe in ["startupProbe:", "readinessProbe:", "livenessProbe:"] {
        assert!(after(probe).first().is_some_and(|line| line.starts_with("grpc: {port: 50051")), "{probe}");
    }
    assert!(server::SERVICES.contains(&"lookalike.v1.Augment"));
}
