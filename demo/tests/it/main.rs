//! The demo as a newcomer runs it, only shorter.

use std::path::Path;
use std::process::Command;

/// Runs the demo for a few steps a recognizer; gives its standard output.
fn demo(out: &Path, more: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_demo"));
    let output = command.args(["--images", "64", "--quiet", "--out"]).arg(out).args(more).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for picture in ["stream.png", "accuracy.png"] {
        assert!(std::fs::read(out.join(picture)).unwrap().starts_with(b"\x89PNG"), "{picture}");
    }
    let metrics = std::fs::read_to_string(out.join("metrics.txt")).unwrap();
    assert!(metrics.contains("lookalike_images_total{"), "{metrics}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn machines_read_three_arms_and_where_the_metrics_were() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("out");
    let report: serde_json::Value = serde_json::from_str(&demo(&out, &["--json"])).unwrap();
    let arms: Vec<_> = report["arms"].as_array().unwrap().iter().map(|arm| arm["arm"].as_str().unwrap()).collect();
    assert_eq!(arms, ["real-only", "existing", "blended"]);
    assert!(report["arms"][1]["gain"]["mean"].is_number(), "{report}");
    assert!(report["metrics"].as_str().unwrap().starts_with("http://127.0.0.1:"), "{report}");
    assert_eq!(Path::new(report["directory"].as_str().unwrap()), out);
}

#[test]
fn people_read_a_table_and_where_the_metrics_were() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("out");
    let text = demo(&out, &[]);
    for expected in ["real only", "+ existing people", "+ blended people", "/metrics", "metrics.txt"] {
        assert!(text.contains(expected), "{expected} is not in {text}");
    }
    assert!(text.contains(&std::fs::read_to_string(out.join("verdict.txt")).unwrap()), "{text}");
}
