//! What is told of the weights: which are held, and how changing them went.

use super::registry::Registry;
use crate::{bundles::Loaded, reload::Figures};
use metrics::{Counter, Gauge, Histogram};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The metrics of bundles.
#[derive(Debug)]
pub(crate) struct BundleMetrics {
    swapped: Counter,
    unchanged: Counter,
    refused: Counter,
    swap: Histogram,
    loaded: Gauge,
    similarity: Gauge,
    diversity: Gauge,
    held: Gauge,
    /// The page's lines about the bundles held. They come and go, which the registry's series don't.
    info: Mutex<String>,
}

/// How a reload ended.
pub(crate) enum Swap {
    /// Another bundle is served, after so long.
    Swapped(Duration),
    /// The bundle that was found is the one in use.
    Unchanged,
    /// The bundle that was found isn't served.
    Refused,
}

impl BundleMetrics {
    pub(super) fn new(r: &Registry) -> Self {
        let swaps = |outcome| {
            r.counter("lookalike_bundle_swaps_total", "Looks at new weights, by outcome", &[("outcome", outcome)])
        };
        Self {
            swapped: swaps("swapped"),
            unchanged: swaps("unchanged"),
            refused: swaps("refused"),
            swap: r.histogram("lookalike_bundle_swap_seconds", "From reading new weights to serving them", &[]),
            loaded: r.gauge(
                "lookalike_bundle_loaded_timestamp_seconds",
                "When the newest weights came into use, since 1970",
                &[],
            ),
            similarity: r.gauge(
                "lookalike_bundle_similarity",
                "Cosine of the last tried weights' images to the right people's centres",
                &[],
            ),
            diversity: r.gauge(
                "lookalike_bundle_diversity",
                "1 - cosine between the last tried weights' images of one person",
                &[],
            ),
            held: r.gauge("lookalike_bundles", "Sets of weights held", &[]),
            info: Mutex::default(),
        }
    }

    /// A reload ended.
    pub(crate) fn swap(&self, outcome: Swap) {
        match outcome {
            Swap::Swapped(duration) => {
                self.swapped.increment(1);
                self.swap.record(duration);
            }
            Swap::Unchanged => self.unchanged.increment(1),
            Swap::Refused => self.refused.increment(1),
        }
    }

    /// New weights were tried.
    pub(crate) fn tried(&self, figures: &Figures) {
        self.similarity.set(figures.similarity);
        self.diversity.set(figures.diversity);
    }

    /// These are held now, the newest first.
    pub(crate) fn held(&self, bundles: &[Arc<Loaded>]) {
        self.held.set(bundles.len() as f64);
        let line = |(nth, bundle): (usize, &Arc<Loaded>)| {
            let state = if nth == 0 { "newest" } else { "kept" };
            // Digests and architectures hold nothing that would have to be escaped.
            let (digest, name) = (bundle.digest(), &bundle.facts.architecture);
            format!(
                "lookalike_bundle_info{{digest=\"{digest}\",name=\"{name}\",precision=\"f32\",state=\"{state}\"}} 1\n"
            )
        };
        let lines: String = bundles.iter().enumerate().map(line).collect();
        let page =
            format!("# HELP lookalike_bundle_info The weights held\n# TYPE lookalike_bundle_info gauge\n{lines}\n");
        let mut info = self.info.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = |page: &str| page.lines().nth(2).map(str::to_owned);
        if newest(&info) != newest(&page) {
            let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
            self.loaded.set(since_1970);
        }
        *info = page;
    }

    pub(super) fn render(&self) -> String {
        self.info.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
