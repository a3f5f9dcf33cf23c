//! What is counted for each trainer.

use super::{Mode, registry::Registry};
use crate::plan::Source;
use metrics::{Counter, Gauge, Histogram};
use std::{sync::Arc, time::Duration};

/// The metrics that carry one trainer's label. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Trainer(Arc<Handles>);

#[derive(Debug)]
struct Handles {
    batches_made: Counter,
    batches_shared: Counter,
    images: [(Source, Counter); 3],
    sent_bytes: Counter,
    send_blocked: Histogram,
    wait: Histogram,
    reported: Counter,
    tables: Counter,
    pending: Gauge,
    active: Gauge,
}

impl Trainer {
    /// All metrics of a trainer at zero, or those it has already.
    pub(super) fn new(registry: &Registry, name: &str) -> Self {
        let r = registry;
        let trainer = &[("trainer", name)];
        let batches = |mode| {
            let labels = &[("trainer", name), ("mode", mode)];
            r.counter("lookalike_batches_total", "Batches handed to the transport", labels)
        };
        let images = |source, label| {
            let labels = &[("trainer", name), ("source", label)];
            (source, r.counter("lookalike_images_total", "Rows handed to the transport", labels))
        };
        Self(Arc::new(Handles {
            batches_made: batches("made"),
            batches_shared: batches("shared"),
            images: [
                images(Source::Real, "real"),
                images(Source::Existing, "existing"),
                images(Source::Blended, "blended"),
            ],
            sent_bytes: r.counter("lookalike_sent_bytes_total", "Pixel bytes handed to the transport", trainer),
            send_blocked: r.histogram(
                "lookalike_send_blocked_seconds",
                "Wait of a finished batch for a slow trainer",
                trainer,
            ),
            wait: r.histogram(
                "lookalike_trainer_wait_seconds",
                "Wait of a trainer for a batch, as it reports",
                trainer,
            ),
            reported: r.counter(
                "lookalike_reported_identities_total",
                "Identities whose losses a trainer reported, counted in every report",
                trainer,
            ),
            tables: r.counter("lookalike_tables_total", "Sampling tables announced to streams", trainer),
            pending: r.gauge("lookalike_pending_batches", "Batches in the making or waiting to be sent", trainer),
            active: r.gauge("lookalike_active_streams", "Streams being sent", trainer),
        }))
    }

    /// A batch was handed to the transport.
    pub(crate) fn sent(&self, mode: Mode, sources: &[Source], bytes: usize) {
        match mode {
            Mode::Made => self.0.batches_made.increment(1),
            Mode::Shared => self.0.batches_shared.increment(1),
        }
        self.0.sent_bytes.increment(bytes as u64);
        for (source, images) in &self.0.images {
            images.increment(sources.iter().filter(|row| *row == source).count() as u64);
        }
    }

    /// A finished batch waited so long for this trainer.
    pub(crate) fn send_blocked(&self, wait: Duration) {
        self.0.send_blocked.record(wait);
    }

    /// The trainer reports that it waited so long for a batch.
    pub(crate) fn waited(&self, seconds: f64) {
        self.0.wait.record(seconds);
    }

    /// Losses of so many identities were taken up.
    pub(crate) fn reported(&self, identities: usize) {
        self.0.reported.increment(identities as u64);
    }

    /// A sampling table was announced.
    pub(crate) fn table(&self) {
        self.0.tables.increment(1);
    }

    /// Counts a batch in the making for as long as the answer lives.
    pub(crate) fn pending(&self) -> Raised {
        Raised::new(self.0.pending.clone())
    }

    /// Counts a stream for as long as the answer lives.
    pub(crate) fn active(&self) -> Raised {
        Raised::new(self.0.active.clone())
    }
}

/// A gauge raised by one for as long as this lives, however it ends.
#[derive(Debug)]
pub(crate) struct Raised(Gauge);

impl Raised {
    pub(super) fn new(gauge: Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
