//! Real images as a batch needs them: read and decoded, and out of memory the next time.

use crate::parts::{Figure, Result};
use dataset::{
    Dataset, OpenOptions,
    drawn::DrawnSet,
    write::{self, Encoding},
};
use server::{Workers, gallery::Gallery, plan::catalogue::Catalogue, telemetry::Telemetry};
use std::{sync::Arc, time::Instant};

/// Drawn faces as files.
const FACES: DrawnSet = DrawnSet { first: 0, identities: 32, images: 16, seed: 1 };

/// Images asked for at once, and how often all of them are.
const BATCH: usize = 64;
const WARM_ROUNDS: usize = 100;

pub(crate) fn measure() -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let kinds = [
        ("PNG images read and decoded by all cores", Encoding::Png),
        ("JPEG images read and decoded by all cores", Encoding::Jpeg(95)),
    ];
    let runtime = tokio::runtime::Runtime::new()?;
    for (what, encoding) in kinds {
        let folder = tempfile::tempdir()?;
        let place = folder.path().join("faces");
        write::folder(&FACES, &place, encoding, None, || true)?;
        let faces = Dataset::open(&place, &OpenOptions::default())?;
        let catalogue = Catalogue::new(faces.identities().iter().map(|identity| identity.images as u32));
        let telemetry = Arc::new(Telemetry::new("", "")?);
        let gallery = Gallery::new(Arc::new(faces), Arc::new(catalogue), 1 << 30, telemetry, &Workers::Threads);
        let numbers: Vec<u32> = (0..FACES.identities * FACES.images).collect();
        let all = async || -> Result<f64> {
            let began = Instant::now();
            for numbers in numbers.chunks(BATCH) {
                gallery.pictures(numbers).await?;
            }
            Ok(numbers.len() as f64 / began.elapsed().as_secs_f64())
        };
        figures.push((what, "images/s", runtime.block_on(all())?));
        if encoding == Encoding::Png {
            let warm = runtime.block_on(async {
                let mut rates = Vec::with_capacity(WARM_ROUNDS);
                for _ in 0..WARM_ROUNDS {
                    rates.push(all().await?);
                }
                rates.sort_by(f64::total_cmp);
                Result::Ok(rates[WARM_ROUNDS / 2])
            })?;
            figures.push(("images that were decoded before, found by one task", "images/s", warm));
        }
    }
    Ok(figures)
}
