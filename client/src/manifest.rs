//! What the classes of a stream are, known before a batch is made: how large a recognizer's head must
//! be, and who is behind each of its outputs.

use crate::attempts::{Attempts, Failure};
use crate::contact::{ANSWER, request, within};
use crate::place::Origin;
use crate::spec::Difference;
use crate::{Error, Result, Spec, StreamSettings};
use command::Interrupt;
use command::human::{Table, count};
use proto::{limits, v1};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

/// What a manifest says of all classes together. `--json` prints it as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Manifest {
    /// The size of a head with a class for each: `identities + blended`.
    pub classes: u32,
    /// C, the dataset's identities: the size of a head that learns blended rows as mixtures of these.
    pub identities: u32,
    /// Blended identities.
    pub blended: u32,
    /// Identities that rows can show.
    pub identities_shown: u32,
    /// Blended identities that rows can show.
    pub blended_shown: u32,
    /// Digest of the dataset.
    pub dataset: String,
    /// Digest of the bundle that would make the first batch.
    pub bundle: String,
    /// Digest of the class centres, where the stream depends on who is near whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub centres: Option<String>,
    /// Version of the planning rules.
    pub plan_version: u32,
}

/// One class: identity i is class i, blended identity j is class C + j.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Class {
    /// Its number.
    pub class: u32,
    /// Whether rows can show it.
    pub shown: bool,
    /// Of an identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Of an identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<u32>,
    /// Of a blended identity, the heaviest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<Parent>,
}

/// An identity's part in a blended one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Parent {
    /// Its class.
    pub identity: u32,
    /// Those of a class sum to 1.
    pub weight: f32,
}

/// Reads all classes of the stream that the settings describe, in order, page by page; `each` says
/// whether it wants the next one.
///
/// # Errors
/// No server in time, or none that sends such a stream; [`Error::Stopped`] by `interrupt` or by `each`.
pub fn read(settings: &StreamSettings, interrupt: &Interrupt, each: impl FnMut(Class) -> bool) -> Result<Manifest> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Threads)?;
    let stop = CancellationToken::new();
    interrupt.on_request({
        let stop = stop.clone();
        move || stop.cancel()
    });
    runtime.block_on(stop.run_until_cancelled(pages(settings, each))).unwrap_or(Err(Error::Stopped))
}

async fn pages(settings: &StreamSettings, mut each: impl FnMut(Class) -> bool) -> Result<Manifest> {
    let urls = settings.servers.iter().map(ToString::to_string);
    let mut attempts = Attempts::new(urls, settings.patience.at_first);
    let (mut begun, mut next): (Option<Manifest>, u32) = (None, 0);
    loop {
        let (found, classes) = match ask(settings, attempts.server(), next, begun.as_ref()).await {
            Ok(page) => page,
            Err(failure) => {
                attempts.recover(failure, settings.silent).await?;
                continue;
            }
        };
        attempts.succeeded();
        let manifest = begun.get_or_insert(found);
        for class in classes {
            match (class.shown, class.class < manifest.identities) {
                (true, true) => manifest.identities_shown += 1,
                (true, false) => manifest.blended_shown += 1,
                (false, _) => {}
            }
            if !each(class) {
                return Err(Error::Stopped);
            }
            next += 1;
        }
        if next >= manifest.classes {
            return Ok(manifest.clone());
        }
    }
}

/// One page, which must belong to the pages before.
async fn ask(
    settings: &StreamSettings,
    server: usize,
    first_class: u32,
    begun: Option<&Manifest>,
) -> Result<(Manifest, Vec<Class>), Failure> {
    let Some(url) = settings.servers.get(server) else {
        return Err(Failure::Final("no server is named".to_owned()));
    };
    // The next page must be by the same centres.
    let centres = begun.and_then(|begun| begun.centres.as_deref());
    let v1::StreamRequest { spec, bundle, .. } = request(settings, None, centres, 0, 1);
    let asked = v1::ManifestRequest { spec, bundle, first_class, count: limits::MAX_MANIFEST };
    let mut client = url.connect(&settings.access, settings.connector.as_ref()).await?;
    let answer = within(ANSWER, client.get_manifest(asked)).await?.into_inner();
    let (manifest, classes) = checked(answer, settings, first_class).map_err(Failure::Lasting)?;
    if let Some(begun) = begun {
        let origin = |manifest: &Manifest| Origin {
            dataset: manifest.dataset.clone(),
            // Who a class is doesn't depend on the weights, which may change between two pages.
            bundle: String::new(),
            numerics: String::new(),
            plan_version: manifest.plan_version,
        };
        origin(begun).refuse(&origin(&manifest), &[]).map_err(Failure::Lasting)?;
        if begun.classes != manifest.classes {
            let (expected, found) = (begun.classes, manifest.classes);
            return Err(Failure::Lasting(format!("expected {expected} classes as the page before, found {found}")));
        }
    }
    Ok((manifest, classes))
}

/// A page that is what was asked for.
fn checked(page: v1::ManifestResponse, asked: &StreamSettings, first: u32) -> Result<(Manifest, Vec<Class>), String> {
    let spec = Spec::try_from(page.spec.ok_or("expected a spec in the manifest, found none")?)?;
    if let Some(Difference { setting, left, right }) = asked.spec.difference(&spec) {
        return Err(format!("expected {setting} {left} as asked for, found {right} in the manifest"));
    }
    let v1::ManifestResponse { identities, blended, classes, .. } = page;
    let fits = identities <= limits::MAX_IDENTITIES && blended <= limits::MAX_BLENDED;
    if !fits || classes != identities + blended || classes == 0 {
        return Err(format!(
            "expected the classes of {identities} identities and {blended} blended ones, found {classes}"
        ));
    }
    // A server may send less than a page of what takes it long.
    let most = limits::MAX_MANIFEST.min(classes.saturating_sub(first)) as usize;
    let found = page.entries.len();
    if !(most.min(1)..=most).contains(&found) {
        return Err(format!("expected 1 to {most} classes from {first} on, found {found}"));
    }
    let entries = (first..).zip(page.entries);
    let entries = entries.map(|(class, entry)| checked_class(class, entry, identities, spec.blending.parents as usize));
    let entries = entries.collect::<Result<_, _>>()?;
    let manifest = Manifest {
        classes,
        identities,
        blended,
        identities_shown: 0,
        blended_shown: 0,
        dataset: page.dataset_digest,
        bundle: page.bundle_digest,
        centres: spec.centres,
        plan_version: page.plan_version,
    };
    Ok((manifest, entries))
}

fn checked_class(class: u32, entry: v1::ManifestEntry, identities: u32, parents: usize) -> Result<Class, String> {
    const LONGEST_NAME: usize = 1024;
    let v1::ManifestEntry { shown, name, images, weights, .. } = entry;
    if entry.class != class {
        return Err(format!("expected class {class}, found {}", entry.class));
    }
    if name.len() > LONGEST_NAME {
        return Err(format!("class {class}: expected a name of at most {LONGEST_NAME} bytes, found {}", name.len()));
    }
    if class < identities {
        return Ok(Class { class, shown, name: Some(name), images: Some(images), parents: Vec::new() });
    }
    let whole = entry.parents.iter().all(|&parent| parent < identities) && weights.iter().all(|w| w.is_finite());
    if !whole || entry.parents.len() != parents || weights.len() != parents {
        return Err(format!("class {class}: expected {parents} parents with weights, found {:?}", entry.parents));
    }
    let parents =
        entry.parents.into_iter().zip(weights).map(|(identity, weight)| Parent { identity, weight }).collect();
    Ok(Class { class, shown, name: None, images: None, parents })
}

/// The form for people.
impl std::fmt::Display for Manifest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let of = |all: u32, shown: u32| format!("{}, of whom rows can show {}", count(all.into()), count(shown.into()));
        let mut table = Table::new(["head", &format!("{} classes", count(self.classes.into()))]);
        table
            .row(["with soft labels", &format!("{} classes", count(self.identities.into()))])
            .row(["identities", &of(self.identities, self.identities_shown)])
            .row(["blended", &of(self.blended, self.blended_shown)])
            .row(["dataset", &self.dataset])
            .row(["bundle", &self.bundle])
            .row(["plan version", &self.plan_version.to_string()]);
        table.fmt(f)
    }
}
