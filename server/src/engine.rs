//! The one owner of a device and its generators, on a thread of its own; of several devices, each has one.
//!
//! It takes a packed [`Tile`], computes it, hands the rows to whoever waits for them and takes the
//! next. Tiles have one fixed size, the last rows being padding: a row's numbers then come from
//! the same kernels at the same shapes, whoever shares the tile.
//!
//! A generator on a GPU only begins with a tile of images; the engine then takes the next, if it comes
//! soon, and begins with it too before it waits for the first. So the GPU always has its next work.
//!
//! A generator takes a seat beside the others between two tiles, on trial at first: should it fail or
//! panic then, it loses its seat, and nobody but its own askers notices. When one fails that was
//! accepted, the device is not to be trusted any more and the engine ends: rows that were promised
//! are dropped, which their askers notice, and so is everything that is still queued.

#[cfg(feature = "cuda")]
mod on_gpu;
pub mod weights;

use crate::{
    error::device_sentence,
    scheduler::{Computing, Gate, Tile, TileWork},
    telemetry::Telemetry,
    workers::{Work, Workers},
};
use bytes::Bytes;
use nets::{FEATURE, LATENT, pixels::IMAGE_SIZE};
use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};
use tokio::sync::mpsc;

/// Makes rows of fixed size, a tile at a time. The server's is a bundle on a device; tests have
/// simpler ones.
pub trait RowGenerator: Send {
    /// Channels of the images: 1 or 3.
    fn channels(&self) -> usize;

    /// C, the length of a label.
    fn classes(&self) -> usize;

    /// `rows` images of 128 x 128 x channels bytes from `latents (rows, 256)` and `labels (rows,
    /// classes)` with sum 1, some of whose numbers may be negative. A row depends on its own latent and label
    /// alone, and not on its position. They are handed on as they lie there, to all who get one of them.
    ///
    /// # Errors
    /// When the device fails. The engine then ends.
    fn generate(&mut self, rows: usize, latents: &[f32], labels: &[f32]) -> Result<Bytes, GeneratorError>;

    /// `rows` encodings, mean then log-variance of the latent (512 numbers), of images.
    ///
    /// # Errors
    /// As [`generate`](Self::generate).
    fn encode(&mut self, rows: usize, pixels: &[u8]) -> Result<Vec<f32>, GeneratorError>;

    /// `rows` features of the identity network (256 numbers, of length 1), of images.
    ///
    /// # Errors
    /// As [`generate`](Self::generate).
    fn embed(&mut self, rows: usize, pixels: &[u8]) -> Result<Vec<f32>, GeneratorError>;

    /// Begins with a tile of images, as [`generate`](Self::generate) has them, for
    /// [`finish`](Self::finish) to wait for: the next may be begun before. Gives whether it did; a generator
    /// that computes at once never does.
    ///
    /// # Errors
    /// As [`generate`](Self::generate).
    fn begin(&mut self, _rows: usize, _latents: &[f32], _labels: &[f32]) -> Result<bool, GeneratorError> {
        Ok(false)
    }

    /// The images of the tile that was begun first.
    ///
    /// # Errors
    /// As [`generate`](Self::generate).
    fn finish(&mut self) -> Result<Bytes, GeneratorError> {
        Err("no tile was begun: this is a bug".into())
    }

    /// Bytes that the weights take on the device, as far as they are known.
    fn weight_bytes(&self) -> usize {
        0
    }

    /// The trial is over: outputs needn't be looked at any more.
    fn accepted(&mut self) {}
}

/// A generator's seat at the engine; never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Seat(pub(crate) u64);

/// What an engine does between two tiles, in order.
pub(crate) enum Order {
    /// Computes a tile.
    Compute(Tile),
    /// Gives a generator its seat, on trial.
    Seat(Seat, Box<dyn RowGenerator>),
    /// Ends a generator's trial well.
    Accept(Seat),
    /// Drops a generator, if it is still there.
    Leave(Seat),
}

/// What a generator's failure says.
pub type GeneratorError = Box<dyn std::error::Error + Send + Sync>;

struct Seated {
    generator: Box<dyn RowGenerator>,
    on_trial: bool,
}

/// A tile that was begun.
struct Begun<'a> {
    tile: Tile,
    computing: Computing<'a>,
}

/// How long the next tile may take to come before the one that was begun is waited for: less than a GPU
/// takes for it.
const NEXT_TILE: Duration = Duration::from_millis(1);

/// Runs engine `number` until no more orders come. Returns why, when an accepted generator failed.
pub(crate) async fn run(
    number: usize,
    mut orders: mpsc::Receiver<Order>,
    gate: &Gate,
    telemetry: &Telemetry,
    workers: &Workers,
) -> Result<(), String> {
    let mut seats = BTreeMap::<Seat, Seated>::new();
    let mut begun: Option<Begun> = None;
    let failed = |reason: &String| {
        tracing::error!(reason, "the generator failed");
        gate.close(reason);
    };
    // One tile is told for each time that it says so: orders about seats leave that as it is.
    let mut is_ready = false;
    loop {
        if !std::mem::replace(&mut is_ready, true) {
            gate.engine_is_ready(number);
        }
        let order = match &begun {
            None => orders.recv().await,
            Some(_) => match tokio::time::timeout(NEXT_TILE, orders.recv()).await {
                Ok(order) => order,
                Err(_) => {
                    finish(&mut seats, begun.take(), telemetry).inspect_err(failed)?;
                    continue;
                }
            },
        };
        is_ready = !matches!(order, Some(Order::Compute(_)));
        if let Some(Order::Compute(tile)) = &order
            && begin(&mut seats, tile).inspect_err(failed)?
        {
            finish(&mut seats, begun.take(), telemetry).inspect_err(failed)?;
            if let Some(Order::Compute(tile)) = order {
                begun = Some(Begun { tile, computing: gate.computing(number) });
            }
            continue;
        }
        // Whatever else is asked for comes after what was begun.
        finish(&mut seats, begun.take(), telemetry).inspect_err(failed)?;
        match order {
            None => return Ok(()),
            Some(Order::Compute(tile)) => {
                if let Some(pace) = workers.pace(Work::Tile) {
                    tokio::time::sleep(pace).await;
                }
                let computing = gate.computing(number);
                compute(&mut seats, tile, telemetry).inspect_err(failed)?;
                drop(computing);
            }
            Some(Order::Seat(seat, generator)) => {
                seats.insert(seat, Seated { generator, on_trial: true });
            }
            Some(Order::Accept(seat)) => {
                if let Some(seated) = seats.get_mut(&seat) {
                    seated.on_trial = false;
                    seated.generator.accepted();
                }
            }
            Some(Order::Leave(seat)) => drop(seats.remove(&seat)),
        }
        let held = gate.holding(number, seats.values().map(|seated| seated.generator.weight_bytes()).sum());
        telemetry.weights_on_device(held);
    }
}

/// Begins with a tile, where its generator does that and was accepted. Returns why the engine must end,
/// if so.
fn begin(seats: &mut BTreeMap<Seat, Seated>, tile: &Tile) -> Result<bool, String> {
    let (TileWork::Generate { latents, labels }, Some(seated)) = (&tile.work, seats.get_mut(&tile.kind().seat)) else {
        return Ok(false);
    };
    if seated.on_trial {
        return Ok(false);
    }
    match catch_unwind(AssertUnwindSafe(|| seated.generator.begin(tile.rows, latents, labels))) {
        Ok(begun) => begun.map_err(|error| device_sentence(&error)),
        Err(panic) => Err(panic_text(&*panic)),
    }
}

/// Waits for a tile that was begun, if any, and delivers it. Returns why the engine must end, if so.
fn finish(seats: &mut BTreeMap<Seat, Seated>, begun: Option<Begun>, telemetry: &Telemetry) -> Result<(), String> {
    let Some(Begun { tile, computing }) = begun else { return Ok(()) };
    let Some(seated) = seats.get_mut(&tile.kind().seat) else {
        return Err("the weights of a tile that was begun are gone: this is a bug".to_owned());
    };
    let expected = tile.rows * IMAGE_SIZE * IMAGE_SIZE * seated.generator.channels();
    let pixels = match catch_unwind(AssertUnwindSafe(|| seated.generator.finish())) {
        Ok(Ok(pixels)) if pixels.len() == expected => pixels,
        Ok(Ok(pixels)) => return Err(wrong_size(expected, tile.rows, pixels.len())),
        Ok(Err(error)) => return Err(device_sentence(&error)),
        Err(panic) => return Err(panic_text(&*panic)),
    };
    drop(computing);
    telemetry.tile_computed(tile.filled());
    tile.deliver(&Computed::Pixels(pixels));
    Ok(())
}

fn wrong_size(expected: usize, rows: usize, found: usize) -> String {
    format!("expected {expected} values for {rows} rows, found {found}")
}

/// Computes a tile and delivers it. Returns why the engine must end, if so.
fn compute(seats: &mut BTreeMap<Seat, Seated>, tile: Tile, telemetry: &Telemetry) -> Result<(), String> {
    let seat = tile.kind().seat;
    let Some(seated) = seats.get_mut(&seat) else {
        tile.refuse("these weights are gone");
        return Ok(());
    };
    // What a generator holds is not used again after a panic, so a broken state can't leak.
    let reason = match catch_unwind(AssertUnwindSafe(|| rows(&mut *seated.generator, &tile))) {
        Ok(Ok(rows)) => {
            telemetry.tile_computed(tile.filled());
            tile.deliver(&rows);
            return Ok(());
        }
        Ok(Err(error)) => device_sentence(&error),
        Err(panic) => panic_text(&*panic),
    };
    if !seated.on_trial {
        return Err(reason);
    }
    seats.remove(&seat);
    tile.refuse(&reason);
    Ok(())
}

/// The rows that a tile's computation gives.
pub(crate) enum Computed {
    /// Images, a row after the other, shared by all who get one of them.
    Pixels(Bytes),
    /// Encodings or features, a row after the other.
    Vectors(Vec<f32>),
}

fn rows(generator: &mut dyn RowGenerator, tile: &Tile) -> Result<Computed, GeneratorError> {
    let image = IMAGE_SIZE * IMAGE_SIZE * generator.channels();
    let (computed, found, expected) = match &tile.work {
        TileWork::Generate { latents, labels } => {
            let pixels = generator.generate(tile.rows, latents, labels)?;
            let found = pixels.len();
            (Computed::Pixels(pixels), found, tile.rows * image)
        }
        TileWork::Encode { pixels } => {
            let encodings = generator.encode(tile.rows, pixels)?;
            let found = encodings.len();
            (Computed::Vectors(encodings), found, tile.rows * 2 * LATENT)
        }
        TileWork::Embed { pixels } => {
            let features = generator.embed(tile.rows, pixels)?;
            let found = features.len();
            (Computed::Vectors(features), found, tile.rows * FEATURE)
        }
    };
    if found != expected {
        return Err(wrong_size(expected, tile.rows, found).into());
    }
    Ok(computed)
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    format!("it panicked: {}", text.unwrap_or("without a message"))
}
