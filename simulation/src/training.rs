//! A trainer's life: it reads, steps, saves its place, stalls, dies, and goes on from where it saved.

use crate::ledger::{Ledger, RowKey, RowSeen};
use crate::network::{Host, Network, url};
use crate::stand_ins::{IMAGE, Weights};
use crate::world::{Choice, MOST_RANKS, Plan, World, millis};
use client::spec::{Latent, Spec};
use client::{BundleChoice, Change, Error, Patience, Place, Reader, Received, StreamSettings};
use nets::chance::Draws;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long a trainer waits for servers before it gives up; whoever looks after it starts it again.
const PATIENCE: Duration = Duration::from_secs(20);

/// A training: one trainer, or ranks that step together.
pub struct Training {
    /// Its place among the world's, and the name of its host.
    pub number: Host,
    plan: Plan,
    world: Arc<World>,
    ledger: Ledger,
    network: Network,
    draws: Draws,
    began: Instant,
    /// What its last checkpoint that was written holds, as text.
    saved: Option<String>,
    /// Who makes all batches, unless it follows.
    stays: Option<String>,
    /// Refusals since it last went on.
    refusals: u32,
    stalled: bool,
}

/// Why a run ended before its end.
enum Stop {
    Died,
    GaveUp(Error),
}

impl Training {
    /// A training that hasn't begun.
    pub fn new(number: Host, world: &Arc<World>, ledger: &Ledger, network: &Network) -> Self {
        Self {
            number,
            plan: world.trainings[number].clone(),
            world: world.clone(),
            ledger: ledger.clone(),
            network: network.clone(),
            draws: world.chance(&format!("training {number}")),
            began: Instant::now(),
            saved: None,
            stays: None,
            refusals: 0,
            stalled: false,
        }
    }

    /// From its beginning to its last batch, through all lives.
    pub async fn live(mut self) {
        tokio::time::sleep_until(self.began + self.plan.begins).await;
        let mut deaths = self.plan.deaths.clone();
        deaths.sort();
        let mut deaths = deaths.into_iter();
        let mut death = deaths.next();
        loop {
            let until = death.map(|at| self.began + at);
            let dies = async {
                match until {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            let ended = tokio::select! {
                biased;
                () = dies => Err(Stop::Died),
                ended = self.run() => ended.map_err(Stop::GaveUp),
            };
            let number = self.number;
            match ended {
                Ok(()) => break,
                Err(Stop::Died) => {
                    self.ledger.event("trainer died", format!("training {number}"));
                    self.network.cut_host(number);
                    death = deaths.next();
                    tokio::time::sleep(millis(&mut self.draws, 10, 3000)).await;
                    if self.plan.resizes && self.draws.chance(0.5) {
                        self.resize();
                    }
                }
                Err(Stop::GaveUp(error)) => {
                    self.ledger.event("trainer gave up", format!("training {number}: {error}"));
                    self.judge(&error);
                    tokio::time::sleep(millis(&mut self.draws, 500, 3000)).await;
                }
            }
        }
        self.ledger.event("training finished", format!("training {}", self.number));
    }

    /// One life: from the last checkpoint to the end.
    async fn run(&mut self) -> Result<(), Error> {
        let saved: Option<Place> =
            self.saved.as_ref().map(|text| serde_json::from_str(text).expect("a place is read as it was written"));
        let mut index = saved.as_ref().map_or(0, |place| place.next);
        if index >= self.plan.batches {
            return Ok(());
        }
        if saved.is_none() {
            // From the beginning, as if for the first time.
            self.stays = None;
        }
        let accepts = self.refusals >= 2;
        let mut readers = Vec::new();
        let mut pinned = None;
        for rank in 0..self.plan.world_size {
            let settings = self.settings(rank, accepts, pinned.clone(), saved.as_ref());
            let reader = self.open(settings, saved.as_ref()).await?;
            // Ranks have one bundle, or begin with one: the first one's, which all are told.
            let alike = self.plan.bundle != Choice::Follow || saved.is_none();
            if self.plan.world_size > 1 && alike && pinned.is_none() {
                pinned = Some(bundle_at(&reader.place(), index).to_owned());
                let settings = self.settings(rank, accepts, pinned.clone(), saved.as_ref());
                readers.push(self.open(settings, saved.as_ref()).await?);
                continue;
            }
            readers.push(reader);
        }
        self.refusals = 0;
        if accepts {
            self.stays = None;
            self.ledger.event("other bundle accepted", format!("training {}", self.number));
        }
        if index > 0 {
            let (number, ranks) = (self.number, self.plan.world_size);
            self.ledger.event("trainer resumed", format!("training {number} at batch {index} with {ranks} ranks"));
        }
        while index < self.plan.batches {
            self.stall(index).await;
            self.step(&mut readers, index, accepts).await?;
            index += 1;
            let step = millis(&mut self.draws, 0, self.plan.step.as_millis() as u64);
            tokio::time::sleep(step).await;
            if index.is_multiple_of(self.plan.checkpoint_every) {
                self.save(readers[0].place());
            }
        }
        Ok(())
    }

    async fn open(&self, settings: StreamSettings, saved: Option<&Place>) -> Result<Reader, Error> {
        let mut reader = Reader::connect(settings).await?;
        if let Some(place) = saved {
            reader.resume(place.clone()).await?;
        }
        Ok(reader)
    }

    fn settings(&self, rank: u32, accepts: bool, pinned: Option<String>, saved: Option<&Place>) -> StreamSettings {
        let plan = &self.plan;
        let mut accepted = Vec::new();
        if accepts {
            accepted.push(Change::Bundle);
        }
        if saved.is_some_and(|place| (place.rank, place.world_size) != (rank, plan.world_size)) {
            accepted.push(Change::World);
        }
        let bundle = match (plan.bundle, pinned) {
            (Choice::Follow, from) => BundleChoice::Follow { from },
            (_, Some(pinned)) => BundleChoice::Pin(pinned),
            (Choice::Pin, None) if !accepts && self.stays.is_none() => BundleChoice::Pin(self.world.first.digest()),
            _ => BundleChoice::Stay,
        };
        StreamSettings {
            rank,
            world_size: plan.world_size,
            end: Some(plan.batches),
            bundle,
            lease: plan.lease,
            trainer: plan.name.clone(),
            accepted,
            prefetch: plan.prefetch,
            patience: Patience::always(PATIENCE),
            connector: Some(self.network.way(self.number)),
            silent: true,
            ..StreamSettings::new(plan.servers.iter().map(|&replica| url(replica)).collect(), plan.spec.clone())
        }
    }

    /// All ranks take one batch.
    async fn step(&mut self, readers: &mut [Reader], index: u64, accepts: bool) -> Result<(), Error> {
        let (number, ledger) = (self.number, self.ledger.clone());
        let mut bundle: Option<String> = None;
        for (rank, reader) in readers.iter_mut().enumerate() {
            let received = reader.next().await?;
            let found = received.batch.index;
            ledger.check(found == index, || format!("training {number} expects batch {index} and gets {found}"));
            let place = reader.place();
            ledger.check(place.next == index + 1, || format!("the place after batch {index} is {}", place.next));
            let declared = bundle_at(&place, index);
            ledger.check(received.bundle == declared, || {
                format!("training {number}: batch {index} is by {}, and declared was {declared}", received.bundle)
            });
            let good = (0..8).any(|n| Weights::Good(n).digest() == received.bundle);
            ledger.check(good, || {
                format!("training {number}: batch {index} is by {}, which was refused", received.bundle)
            });
            let first = bundle.get_or_insert_with(|| received.bundle.clone());
            // Whoever accepts other weights accepts that they differ between ranks.
            ledger.check(*first == received.bundle || accepts, || {
                let (other, by) = (&first[..6], &received.bundle[..6]);
                format!(
                    "training {number}: batch {index} is by {other} for rank 0 and by {by} for rank {rank}: {:?}",
                    place.takeovers
                )
            });
            if self.plan.bundle != Choice::Follow && !accepts {
                let stays = self.stays.get_or_insert_with(|| received.bundle.clone());
                ledger.check(*stays == received.bundle, || {
                    format!("training {number}: batch {index} has another bundle")
                });
            }
            self.record(rank as u32, &received);
        }
        let bundle = bundle.unwrap_or_default();
        ledger.event("batch", format!("{index} of training {number} by {}", &bundle[..6]));
        Ok(())
    }

    /// Writes down a rank's rows.
    fn record(&self, rank: u32, received: &Received) {
        record(&self.ledger, &self.plan.spec, rank, self.plan.world_size, received);
    }

    async fn stall(&mut self, index: u64) {
        let stall = self.plan.stalls.iter().find(|(at, _)| *at == index);
        if let Some(&(_, time)) = stall.filter(|_| !self.stalled) {
            self.stalled = true;
            self.ledger.event("trainer stalled", format!("training {} for {time:?}", self.number));
            tokio::time::sleep(time).await;
        }
    }

    fn save(&mut self, place: Place) {
        if self.draws.chance(self.plan.full_disk) {
            self.ledger.event("disk full", format!("training {} keeps its older checkpoint", self.number));
            return;
        }
        self.saved = Some(serde_json::to_string(&place).expect("a place has a text"));
    }

    fn resize(&mut self) {
        let ranks = 1 + self.draws.below(MOST_RANKS.into()) as u32;
        // Ranks that follow need one server and a name of their own.
        if self.plan.bundle == Choice::Follow && self.plan.servers.len() > 1 {
            return;
        }
        self.plan.name = format!("world-{}", self.number);
        self.plan.world_size = ranks.min(self.plan.spec.batch_size);
        self.ledger.event("world resized", format!("training {} to {}", self.number, self.plan.world_size));
    }

    /// Whether there was a reason to give up.
    fn judge(&mut self, error: &Error) {
        let text = error.to_string();
        let known = match error {
            Error::Unreachable { .. } => true,
            Error::Full { .. } => true,
            Error::Refused(_) | Error::OtherPlace(_) => {
                if text.contains("bundle") {
                    self.refusals += 1;
                }
                text.contains("bundle") || text.contains("a real image was lost")
            }
            _ => false,
        };
        let known = known && !text.contains("this is a bug") && !self.world.moments.is_empty();
        self.ledger.check(known || self.has_little_room(error), || {
            format!("training {} gave up without a reason: {text}", self.number)
        });
    }

    fn has_little_room(&self, error: &Error) -> bool {
        matches!(error, Error::Full { .. }) && self.world.is_tight()
    }
}

/// Names a stream.
pub fn stream(spec: &Spec) -> u64 {
    let text = serde_json::to_vec(spec).expect("a spec has a text");
    let hash = blake3::hash(&text);
    u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("eight bytes"))
}

/// Who makes a batch, as a place tells it.
pub fn bundle_at(place: &Place, index: u64) -> &str {
    let last = place.takeovers.iter().rev().find(|takeover| takeover.first <= index);
    last.map_or(&place.origin.bundle, |takeover| &takeover.bundle)
}

/// Writes down the rows that came, each by itself, so that it doesn't matter which rank it came to.
pub fn record(ledger: &Ledger, spec: &Spec, rank: u32, world_size: u32, received: &Received) {
    let rows = proto::rank_rows(spec.batch_size, rank, world_size);
    let (batch, provenance) = (&received.batch, &received.provenance);
    let complete = batch.rows == rows.len() && batch.pixels.len() == rows.len() * IMAGE;
    ledger.check(complete, || format!("batch {} is torn", batch.index));
    let stream = stream(spec);
    let parents = spec.blending.parents as usize;
    let mut blended = 0;
    for (nth, row) in rows.enumerate() {
        let pixels = &batch.pixels[nth * IMAGE..][..IMAGE];
        let source = batch.sources[nth];
        let mut hash = blake3::Hasher::new();
        hash.update(&batch.labels[nth].to_le_bytes());
        hash.update(format!("{source:?}").as_bytes());
        hash.update(&provenance.images[nth].to_le_bytes());
        hash.update(&provenance.latent_rows[nth].to_le_bytes());
        hash.update(&[provenance.replaced_rows.contains(&(nth as u32)) as u8]);
        if source == recognizer::Source::Blended {
            let range = blended * parents..(blended + 1) * parents;
            blended += 1;
            for (parent, weight) in provenance.parents[range.clone()].iter().zip(&provenance.parent_weights[range]) {
                hash.update(&parent.to_le_bytes());
                hash.update(&weight.to_bits().to_le_bytes());
            }
        }
        hash.update(pixels);
        let prior = matches!(spec.latent, Latent::Prior { .. }) && source != recognizer::Source::Real;
        let face = prior.then(|| short(blake3::hash(pixels)));
        let key = RowKey { stream, bundle: received.bundle.clone(), index: batch.index, row };
        ledger.row(key, RowSeen { digest: short(hash.finalize()), face });
    }
}

fn short(hash: blake3::Hash) -> [u8; 16] {
    hash.as_bytes()[..16].try_into().expect("sixteen bytes")
}
