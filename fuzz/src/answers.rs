//! Everything that a server can tell a trainer, and what a trainer's checkpoint says of its stream.

use crate::scratch;
use crate::stand_ins::{IDENTITIES, IMAGE, StandIns};
use client::spec::Channels;
use client::{BundleChoice, Patience, Place, Recipe, Spec, StreamSettings, StreamSource};
use command::Interrupt;
use prost::Message;
use proto::{digest, v1};
use recognizer::BatchSource;
use server::{Config, Served, service::Service};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

/// Rows of the streams asked for.
const ROWS: u32 = 2;

/// What was asked for.
static ASKED: LazyLock<StreamSettings> = LazyLock::new(|| asked("http://127.0.0.1:1"));

fn asked(server: &str) -> StreamSettings {
    let mix = "real=0.5,existing=0.3,blended=0.2".parse().expect("a mix");
    let spec = Spec { channels: Some(Channels::Grey), ..Spec::new(7, ROWS, mix) };
    StreamSettings {
        patience: Patience::always(Duration::ZERO),
        first: 3,
        bundle: BundleChoice::Follow { from: None },
        ..StreamSettings::new(vec![server.parse().expect("an address")], spec)
    }
}

/// The messages of a stream, each behind its length in two bytes. Short pixels stand for a batch of
/// them. A first byte of 1 leaves digests as they are; else each batch gets the one that it has.
pub fn answers(input: &[u8]) -> bool {
    let Some((&kept, rest)) = input.split_first() else { return false };
    let mut rest = rest;
    let messages = std::iter::from_fn(|| {
        let (len, after) = rest.split_first_chunk()?;
        let (message, after) = after.split_at_checked(u16::from_le_bytes(*len).into())?;
        rest = after;
        let mut message = v1::StreamResponse::decode(message).ok()?;
        if let Some(v1::stream_response::Message::Batch(batch)) = &mut message.message {
            if let (1..16, Some(&shade)) = (batch.pixels.len(), batch.pixels.first()) {
                batch.pixels = vec![shade; ROWS as usize * IMAGE].into();
            }
            if kept != 1 {
                batch.digest = digest::batch(batch).to_vec().into();
            }
        }
        Some(message)
    });
    let (received, _refusal) = client::fuzzing::read(&ASKED, messages);
    for (nth, received) in received.iter().enumerate() {
        let batch = &received.batch;
        assert_eq!(batch.index, 3 + nth as u64);
        assert_eq!((batch.labels.len(), batch.sources.len()), (batch.rows, batch.rows));
        assert_eq!(batch.pixels.len(), batch.rows * IMAGE * batch.channels);
    }
    !received.is_empty()
}

/// A stream as the server of stand-ins sends it, and as none would: cut, and with a takeover.
pub fn seeds() -> Vec<Vec<u8>> {
    use v1::stream_response::Message as Of;
    let spec = v1::StreamSpec {
        blending: Some(v1::Blending {
            count: IDENTITIES,
            parents: 2,
            alpha: 1.0,
            max_weight: 0.8,
            seed: Some(7),
            max_similarity: 0.0,
            spread: 0.0,
        }),
        ..(&ASKED.spec).into()
    };
    let takeover = |first_index| v1::Takeover { first_index, bundle_digest: "c".into() };
    let header = v1::StreamHeader {
        spec: Some(spec),
        place: Some(v1::Place { first_index: 3, count: 0, rank: 0, world_size: 1 }),
        dataset_digest: "d".into(),
        bundle_digest: "b".into(),
        declared: vec![v1::Takeover { first_index: 3, bundle_digest: "b".into() }, takeover(4)],
        numerics: "fixture".into(),
        plan_version: 1,
        identities: IDENTITIES,
        classes: 2 * IDENTITIES,
        image: Some(v1::ImageShape { height: 128, width: 128, channels: 1 }),
        server_version: "0".into(),
        ..Default::default()
    };
    let batch = |index, bundle: &str| v1::Batch {
        index,
        rows: ROWS,
        first_row: 0,
        labels: vec![1, 7],
        sources: vec![v1::Source::Real.into(), v1::Source::Blended.into()],
        provenance: Some(v1::Provenance {
            images: vec![5, proto::NONE],
            parents: vec![1, 2],
            parent_weights: vec![0.75, 0.25],
            latent_rows: vec![proto::NONE, 1],
            ..Default::default()
        }),
        bundle_digest: bundle.into(),
        pixels: vec![7].into(),
        ..Default::default()
    };
    let streams = [
        vec![Of::Header(header.clone()), Of::Batch(batch(3, "b")), Of::Batch(batch(4, "c")), Of::Takeover(takeover(9))],
        vec![Of::Header(header.clone()), Of::Header(header.clone())],
        vec![Of::Takeover(takeover(9)), Of::Header(header)],
    ];
    let framed = |stream: Vec<Of>| {
        let mut bytes = vec![0];
        for message in stream {
            let message = v1::StreamResponse { message: Some(message) }.encode_to_vec();
            bytes.extend((message.len() as u16).to_le_bytes());
            bytes.extend(message);
        }
        bytes
    };
    streams.map(framed).into()
}

/// A stream from a server of stand-ins, which a place is gone on with.
static SOURCE: LazyLock<Mutex<StreamSource>> = LazyLock::new(|| {
    let (sender, address) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let config = Config { tile: Some(4), gallery: 1, shelf: 0, max_streams: 1024, ..Config::default() };
            let served = Arc::new(Served::new(&config, StandIns::default().parts()).expect("threads start"));
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            sender.send(listener.local_addr().expect("an address")).expect("somebody waits");
            let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
            let service = v1::augment_server::AugmentServer::new(Service::new(served));
            tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming).await
        })
    });
    let address = address.recv().expect("a server that listens");
    let settings = StreamSettings { bundle: BundleChoice::Stay, ..asked(&format!("http://{address}")) };
    Mutex::new(StreamSource::connect(settings, &Interrupt::new()).expect("a server that answers"))
});

/// The place that a checkpoint holds, in JSON. Where it is gone on from, the stream stands there.
pub fn place(input: &[u8]) -> bool {
    let Ok(place) = serde_json::from_slice::<serde_json::Value>(input) else { return false };
    let mut source = SOURCE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if source.resume(&place).is_err() {
        return false;
    }
    assert_eq!(source.place()["next"], place["next"], "the stream stands where it is gone on from");
    true
}

/// A place as a trainer wrote it, and one after a takeover.
pub fn places() -> Vec<Vec<u8>> {
    let source = SOURCE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let place = source.place();
    let mut later = place.clone();
    later["takeovers"] = serde_json::json!([{"first": 4, "bundle": place["bundle"]}]);
    later["next"] = 9.into();
    [place, later].map(|place| place.to_string().into_bytes()).into()
}

/// A recipe, in JSON or TOML as its first byte says. What was accepted is written in both forms and read
/// back as the same.
pub fn recipe(input: &[u8]) -> bool {
    let folder = scratch::folder();
    let forms = ["recipe.toml", "recipe.json"].map(|name| folder.path().join(name));
    let form = &forms[usize::from(input.first() == Some(&b'{'))];
    std::fs::write(form, input).expect("a file can be written");
    let Ok(recipe) = Recipe::read(form) else { return false };
    for form in &forms {
        recipe.write(form).expect("what was read can be written");
        let again = Recipe::read(form).expect("what was written can be read");
        assert_eq!(format!("{again:?}"), format!("{recipe:?}"));
    }
    assert!(recipe.settings(ASKED.clone()).end.is_some_and(|end| end > recipe.range.first));
    true
}

/// A recipe in both forms, of a stream that another bundle takes over in.
pub fn recipes() -> Vec<Vec<u8>> {
    let later = places().swap_remove(1);
    let place: Place = serde_json::from_slice(&later).expect("a place");
    let folder = scratch::folder();
    let written = |name: &str| {
        let form = folder.path().join(name);
        Recipe::of(&place, 3, 6, "0".repeat(64)).write(&form).expect("a file can be written");
        std::fs::read(&form).expect("it is there")
    };
    vec![written("recipe.toml"), written("recipe.json")]
}
