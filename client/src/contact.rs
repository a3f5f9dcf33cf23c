//! The first talk with a server: what it says the stream is, and who is in it.

use crate::attempts::{Attempts, Failure};
use crate::check::{self, Description};
use crate::place::{self, Change, Place, Takeover, bundle_at, short};
use crate::servers::{Client, failure};
use crate::spec::Sampling;
use crate::tables::{self, TableChoice, TableTakeover};
use crate::{BundleChoice, Error, Result, StreamSettings};
use proto::v1;
use std::time::Duration;
use tonic::Status;

/// How long a server may take to say what it has: no generation is needed for that.
pub(crate) const ANSWER: Duration = Duration::from_secs(10);

/// A server that sends this stream.
#[derive(Debug)]
pub(crate) struct Contact {
    pub(crate) description: Description,
    /// Names of the dataset's identities, in class order.
    pub(crate) names: Vec<String>,
    /// Position of the server.
    pub(crate) server: usize,
}

/// Finds a server that sends this stream; with a place, one that goes on from there.
pub(crate) async fn contact(settings: &StreamSettings, place: Option<&Place>) -> Result<Contact> {
    let urls = settings.servers.iter().map(ToString::to_string);
    let mut attempts = Attempts::new(urls, settings.patience.at_first);
    loop {
        let failure = match ask(settings, attempts.server(), place).await {
            Ok(contact) => return Ok(contact),
            Err(failure) => failure,
        };
        attempts.recover(failure, settings.silent).await.map_err(|error| match error {
            Error::Refused(reasons) if place.is_some() => Error::OtherPlace(reasons.join("; ")),
            error => error,
        })?;
    }
}

async fn ask(settings: &StreamSettings, server: usize, place: Option<&Place>) -> Result<Contact, Failure> {
    let Some(url) = settings.servers.get(server) else {
        return Err(Failure::Final("no server is named".to_owned()));
    };
    let mut client = url.connect(&settings.access, settings.connector.as_ref()).await?;
    let first = place.map_or(settings.first, |place| place.next);
    let known = match place {
        Some(place) => Some(Known { bundle: &place.origin.bundle, takeovers: &place.takeovers, tables: &place.tables }),
        None => settings.bundle.first().map(|bundle| Known { bundle, takeovers: &[], tables: &[] }),
    };
    let centres = place.and_then(|place| place.spec.centres.as_deref());
    // A plan needs no generator, so nobody's batches are delayed by it.
    let request = request(settings, known, centres, first, 1);
    let mut stream = match within(ANSWER, client.plan(request)).await {
        Ok(stream) => stream.into_inner(),
        Err(failure) => {
            let expected = place.map(|place| place.origin_of_next().bundle);
            let failure = url.at_first(&settings.access, failure);
            return Err(explained(&mut client, failure, expected.as_deref()).await);
        }
    };
    let description = description(within(ANSWER, stream.message()).await?, settings, first)?;
    match place {
        Some(place) => {
            place.refuse_settings(&description.spec, settings).map_err(Failure::Final)?;
            place.origin_of_next().refuse(&description.origin, &settings.accepted).map_err(Failure::Lasting)?;
        }
        None if settings.accepted.contains(&Change::Bundle) => {}
        None => settings.bundle.refuse(first, &description.origin.bundle).map_err(Failure::Lasting)?,
    }
    let names = names(&mut client, &description).await?;
    Ok(Contact { description, names, server })
}

/// What a stream knows of its bundles and sampling tables from before.
#[derive(Clone, Copy)]
pub(crate) struct Known<'a> {
    pub(crate) bundle: &'a str,
    pub(crate) takeovers: &'a [Takeover],
    pub(crate) tables: &'a [TableTakeover],
}

/// The message that asks for a stream. What a stream insists on is compared with the header, and
/// not by the server: here it's known how to accept a change. But the bundle must be named, as a server
/// may hold several.
pub(crate) fn request(
    settings: &StreamSettings,
    known: Option<Known<'_>>,
    centres: Option<&str>,
    first_index: u64,
    count: u64,
) -> v1::StreamRequest {
    use v1::bundle_policy::Policy;
    let accepted = settings.accepted.contains(&Change::Bundle);
    let follow = |known: Option<Known<'_>>, closed| {
        Policy::Follow(v1::Follow {
            declared: known.map(|known| declared(known, first_index)).unwrap_or_default(),
            closed,
        })
    };
    let policy = match (&settings.bundle, known) {
        (BundleChoice::Pin(digest), _) => Some(Policy::Pin(digest.clone())),
        (BundleChoice::Replay(bundle, takeovers), _) => {
            Some(follow(Some(Known { bundle, takeovers, tables: &[] }), true))
        }
        // What took over before an accepted change needn't be held any more.
        (BundleChoice::Follow { .. }, known) => Some(follow(known.filter(|_| !accepted), false)),
        (BundleChoice::Stay, Some(known)) if !accepted => {
            Some(Policy::Pin(bundle_at(known.bundle, known.takeovers, first_index).to_owned()))
        }
        (BundleChoice::Stay, _) => None,
    };
    let mut spec = v1::StreamSpec::from(&settings.spec);
    if let Some(centres) = centres.filter(|_| settings.spec.centres.is_none()) {
        centres.clone_into(&mut spec.centres_digest);
    }
    v1::StreamRequest {
        spec: Some(spec),
        place: Some(v1::Place { first_index, count, rank: settings.rank, world_size: settings.world_size }),
        bundle: policy.map(|policy| v1::BundlePolicy { policy: Some(policy) }),
        expected: None,
        tables: matches!(settings.spec.sampling, Sampling::ByLoss(_)).then(|| match (&settings.tables, known) {
            (TableChoice::Replay(tables), _) => tables::message(tables, first_index, true),
            (TableChoice::Follow, known) => {
                tables::message(known.map_or(&[], |known| known.tables), first_index, false)
            }
        }),
        trainer: settings.trainer.clone(),
    }
}

/// The table of bundles from the one on that makes batch `first`.
fn declared(known: Known<'_>, first: u64) -> Vec<v1::Takeover> {
    let entry =
        |takeover: &Takeover| v1::Takeover { first_index: takeover.first, bundle_digest: takeover.bundle.clone() };
    let past = known.takeovers.partition_point(|takeover| takeover.first <= first);
    let begin = bundle_at(known.bundle, known.takeovers, first).to_owned();
    let begin_index = past.checked_sub(1).map_or(0, |nth| known.takeovers[nth].first);
    let begin = v1::Takeover { first_index: begin_index, bundle_digest: begin };
    std::iter::once(begin).chain(known.takeovers[past..].iter().map(entry)).collect()
}

/// Says how to go on where a server doesn't hold the bundle that a stream is made by any more.
pub(crate) async fn explained(client: &mut Client, failure: Failure, expected: Option<&str>) -> Failure {
    let (Failure::Lasting(_), Some(expected)) = (&failure, expected) else { return failure };
    let Ok(info) = within(ANSWER, client.get_info(v1::GetInfoRequest::default())).await else { return failure };
    let info = info.into_inner();
    if info.bundles.is_empty() || info.bundles.iter().any(|bundle| bundle.digest == expected) {
        return failure;
    }
    let found = info.bundle.unwrap_or_default().digest;
    Failure::Lasting(place::changed(Change::Bundle, "bundle", &short(expected), &short(&found)))
}

/// Reads the first message of a stream, which must be its header.
pub(crate) fn description(
    message: Option<v1::StreamResponse>,
    settings: &StreamSettings,
    first: u64,
) -> Result<Description, Failure> {
    match message.and_then(|message| message.message) {
        Some(v1::stream_response::Message::Header(header)) => {
            check::header(header, settings, first).map_err(Failure::Lasting)
        }
        _ => Err(Failure::Lasting("expected a header as the first message, found none".to_owned())),
    }
}

/// Waits for an answer, but not for ever.
pub(crate) async fn within<T>(limit: Duration, answer: impl Future<Output = Result<T, Status>>) -> Result<T, Failure> {
    match tokio::time::timeout(limit, answer).await {
        Ok(answer) => answer.map_err(|status| failure(&status)),
        Err(_) => Err(Failure::Passing(format!("no answer within {}", command::human::duration(limit)))),
    }
}

async fn names(client: &mut Client, description: &Description) -> Result<Vec<String>, Failure> {
    // `check` has bounded the identities; this bounds what each of them may take.
    const LONGEST_NAME: usize = 1024;
    let mut names = Vec::new();
    while names.len() < description.identities as usize {
        let first_identity = names.len() as u32;
        let page = v1::GetInfoRequest { first_identity, names: proto::limits::MAX_NAMES };
        let info = within(ANSWER, client.get_info(page)).await?.into_inner();
        if info.dataset_digest != description.origin.dataset || info.names.is_empty() {
            // Restarted with another dataset in between, or broken; asking again tells.
            return Err(Failure::Passing("its names are not those of the stream's dataset".to_owned()));
        }
        if let Some(name) = info.names.iter().find(|name| name.len() > LONGEST_NAME) {
            let found = name.len();
            return Err(Failure::Lasting(format!(
                "expected names of at most {LONGEST_NAME} bytes, found one of {found}"
            )));
        }
        names.extend(info.names);
    }
    names.truncate(description.identities as usize);
    Ok(names)
}
