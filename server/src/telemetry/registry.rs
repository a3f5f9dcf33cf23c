//! The metrics of one server in a registry of their own: two servers in one process count apart,
//! and nothing is global.

use crate::error::{Error, Result};
use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusRecorder};

/// Names and values of a metric's labels.
pub(super) type Labels<'a> = &'a [(&'static str, &'a str)];

/// Hands out the handles by which metrics are counted, and shows what they counted.
#[derive(Debug)]
pub(super) struct Registry {
    recorder: PrometheusRecorder,
}

impl Registry {
    /// An empty registry, in which every histogram measures seconds but those that `buckets` names
    /// together with their bounds.
    pub(super) fn new(seconds: &[f64], buckets: &[(&str, &[f64])]) -> Result<Self> {
        let bug = |error: BuildError| Error::Bug(format!("metrics: {error}"));
        // A histogram without bounds would be shown as a summary, which can't be added up over
        // servers; so there are bounds for all.
        let mut builder = PrometheusBuilder::new().set_buckets(seconds).map_err(bug)?;
        for (name, bounds) in buckets {
            builder = builder.set_buckets_for_metric(Matcher::Full((*name).to_owned()), bounds).map_err(bug)?;
        }
        Ok(Self { recorder: builder.build_recorder() })
    }

    /// A counter, whose name ends in `_total`; the same one for the same name and labels.
    pub(super) fn counter(&self, name: &'static str, help: &'static str, labels: Labels<'_>) -> Counter {
        self.recorder.describe_counter(name.into(), None, help.into());
        self.recorder.register_counter(&key(name, labels), &METADATA)
    }

    /// A gauge; the same one for the same name and labels.
    pub(super) fn gauge(&self, name: &'static str, help: &'static str, labels: Labels<'_>) -> Gauge {
        self.recorder.describe_gauge(name.into(), None, help.into());
        self.recorder.register_gauge(&key(name, labels), &METADATA)
    }

    /// A histogram; the same one for the same name and labels.
    pub(super) fn histogram(&self, name: &'static str, help: &'static str, labels: Labels<'_>) -> Histogram {
        self.recorder.describe_histogram(name.into(), None, help.into());
        self.recorder.register_histogram(&key(name, labels), &METADATA)
    }

    /// Everything in Prometheus's text format, and `further` families in the same, in alphabetical order:
    /// the recorder's own changes from one time to the next.
    pub(super) fn render(&self, further: &str) -> String {
        let page = self.recorder.handle().render() + further;
        let mut families: Vec<Vec<&str>> =
            page.split_terminator("\n\n").map(|family| family.lines().collect()).collect();
        for family in &mut families {
            // Buckets are in the order of their bounds already.
            if !family.iter().any(|line| line.starts_with("# TYPE") && line.ends_with(" histogram")) {
                family.sort_unstable();
            }
        }
        families.sort_unstable();
        families.into_iter().map(|family| family.join("\n") + "\n\n").collect()
    }

    /// Sorts what histograms collected into their buckets. Until then every observation is kept.
    pub(super) fn upkeep(&self) {
        self.recorder.handle().run_upkeep();
    }
}

/// Where and how loud: of no use to Prometheus.
const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, None);

fn key(name: &'static str, labels: Labels<'_>) -> Key {
    let labels: Vec<Label> = labels.iter().map(|(name, value)| Label::new(*name, (*value).to_owned())).collect();
    Key::from_parts(name, labels)
}
