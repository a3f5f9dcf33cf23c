//! Gauges of what is so at the moment in which somebody asks for the page, and isn't counted before.

use super::registry::Registry;
use crate::served::Usage;
use metrics::Gauge;
use tokio::runtime::Handle;

/// The gauges.
#[derive(Debug)]
pub(super) struct Moment {
    queued_images: Gauge,
    shelf_bytes: Gauge,
    syntheses: Gauge,
    workers: Gauge,
    tasks: Gauge,
    queued_tasks: Gauge,
}

impl Moment {
    pub(super) fn new(r: &Registry) -> Self {
        let gauge = |name, help| r.gauge(name, help, &[]);
        Self {
            queued_images: gauge("lookalike_queued_images", "Rows that wait for a place in a tile"),
            shelf_bytes: gauge("lookalike_shelf_bytes", "Finished batches kept for others"),
            syntheses: gauge("lookalike_active_syntheses", "Synthesize calls being answered"),
            workers: gauge("lookalike_runtime_workers", "Threads that talk to the network"),
            tasks: gauge("lookalike_runtime_tasks", "Tasks of the runtime: connections, calls, streams, batches"),
            queued_tasks: gauge("lookalike_runtime_queued_tasks", "Tasks that wait for a thread to take them up"),
        }
    }

    /// What is in use now.
    pub(super) fn is(&self, usage: &Usage) {
        self.queued_images.set(usage.waiting_rows as f64);
        self.shelf_bytes.set(usage.shelf_bytes as f64);
        self.syntheses.set(usage.syntheses as f64);
        if let Ok(runtime) = Handle::try_current() {
            let runtime = runtime.metrics();
            self.workers.set(runtime.num_workers() as f64);
            self.tasks.set(runtime.num_alive_tasks() as f64);
            self.queued_tasks.set(runtime.global_queue_depth() as f64);
        }
    }
}
