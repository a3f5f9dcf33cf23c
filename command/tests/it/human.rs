//! Figures as people read them.

use std::time::Duration;

use command::human::{Table, bytes, count, duration, percent, rate};

#[test]
fn figures_read_well() {
    assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
    assert_eq!(
        [0, 1023, 1024, 1_048_524, 3_250_586, u64::MAX].map(bytes),
        ["0 B", "1023 B", "1.0 KiB", "1023.9 KiB", "3.1 MiB", "16384.0 PiB"]
    );
    let durations = [0.0, 0.8504, 14.24, 59.97, 845.0, 3599.7, 10_920.0, 187_300.0]
        .map(|seconds| duration(Duration::from_secs_f64(seconds)));
    assert_eq!(durations, ["0 ms", "850 ms", "14.2 s", "1 min 0 s", "14 min 5 s", "1 h 0 min", "3 h 2 min", "2 d 4 h"]);
    assert_eq!([0.432, 9.999, 43.14, 1240.4, f64::NAN].map(rate), ["0.43", "10.0", "43.1", "1,240", "?"]);
    assert_eq!(percent(0.2564), "25.6 %");
}

#[test]
fn a_table_prints_with_its_figures_to_the_right() {
    let mut table = Table::new(["training", "accuracy"]);
    table.row(["real only", "71.2"]).row(["+ blended", "9.0"]);
    let text = table.to_string();
    assert_eq!(text.lines().count(), 6);
    assert!(text.lines().nth(4).unwrap().ends_with("      9.0 │"), "{text}");
}
