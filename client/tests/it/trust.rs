//! A server that doesn't keep the contract is refused before its batch reaches a training step.

use crate::between::{Between, Change};
use crate::fixture::*;
use client::StreamSettings;
use proto::v1::stream_response::Message;
use recognizer::BatchSource;

/// The refusal of a stream whose messages are changed.
fn refusal(change: Change) -> String {
    let server = Running::ordinary();
    let between = Between::start(&server, change);
    let error = match try_connect(settings(&[between.url()], 7)) {
        Ok(mut source) => std::iter::repeat_with(|| source.next_received()).find_map(Result::err).unwrap(),
        Err(error) => error,
    };
    let begin = format!("the server at {} can't send this stream: ", between.url());
    error.to_string().strip_prefix(&begin).unwrap_or_else(|| panic!("{error}")).to_owned()
}

/// Changes batch 1 and its digest, so that only the change itself can give it away.
macro_rules! batch {
    ($change:expr) => {
        refusal(|message| {
            if let Message::Batch(batch) = message
                && batch.index == 1
            {
                let change: fn(&mut proto::v1::Batch) = $change;
                change(batch);
                batch.digest = proto::digest::batch(batch).to_vec().into();
            }
        })
    };
}

macro_rules! header {
    ($change:expr) => {
        refusal(|message| {
            if let Message::Header(header) = message {
                let change: fn(&mut proto::v1::StreamHeader) = $change;
                change(header);
            }
        })
    };
}

#[test]
fn a_changed_byte_is_noticed() {
    let flipped = refusal(|message| {
        if let Message::Batch(batch) = message
            && batch.index == 1
        {
            let mut pixels = batch.pixels.to_vec();
            pixels[4321] ^= 1;
            batch.pixels = pixels.into();
        }
    });
    assert_eq!(flipped, "batch 1: its content doesn't have the digest it came with");
}

#[test]
fn a_batch_that_is_lost_doubled_or_misshapen_is_noticed() {
    assert_eq!(batch!(|batch| batch.index = 2), "expected batch 1, found 2");
    assert_eq!(batch!(|batch| batch.index = 0), "expected batch 1, found 0");
    assert_eq!(batch!(|batch| batch.rows = 7), "batch 1: expected rows 8, found 7");
    assert_eq!(batch!(|batch| batch.first_row = 1), "batch 1: expected first row 0, found 1");
    let short = batch!(|batch| batch.pixels = batch.pixels.slice(..100));
    assert_eq!(short, "batch 1: expected bytes of pixels: 131072, found 100");
    assert_eq!(batch!(|batch| batch.labels.truncate(3)), "batch 1: expected labels: 8, found 3");
}

#[test]
fn a_list_of_replaced_rows_that_is_longer_than_the_batch_is_noticed() {
    let replaced = batch!(|batch| batch.provenance.as_mut().unwrap().replaced_rows = vec![0; 9]);
    assert_eq!(replaced, "batch 1: expected at most 8 replaced rows in the provenance, found 9");
}

#[test]
fn a_label_or_source_beyond_the_stream_is_noticed() {
    let label = batch!(|batch| {
        let real = batch.sources.iter().position(|&source| source == 1).unwrap();
        batch.labels[real] = 6;
    });
    assert_eq!(label, "batch 1: expected labels of 0 to 6 for Real rows, found 6");
    let blended = batch!(|batch| {
        let blended = batch.sources.iter().position(|&source| source == 3).unwrap();
        batch.labels[blended] = 12;
    });
    assert_eq!(blended, "batch 1: expected labels of 6 to 12 for Blended rows, found 12");
    let source = batch!(|batch| batch.sources[0] = 9);
    assert_eq!(source, "batch 1: expected a source that the contract names, found number 9");
    assert_eq!(
        batch!(|batch| batch.bundle_digest = "b1".into()),
        "batch 1: expected one of bundle b0, found one of b1"
    );
}

#[test]
fn a_header_that_is_not_of_the_stream_asked_for_is_noticed() {
    assert_eq!(
        header!(|header| header.spec.as_mut().unwrap().seed = 8),
        "expected seed 7 as asked for, found 8 in the header"
    );
    assert_eq!(
        header!(|header| header.classes = 6),
        "expected the classes of 6 identities and 6 blended ones, found 6"
    );
    assert_eq!(
        header!(|header| (header.identities, header.classes) = (u32::MAX - 6, u32::MAX)),
        "expected at most 4194304 identities, found 4294967289"
    );
    assert_eq!(
        header!(|header| header.image.as_mut().unwrap().width = 64),
        "expected images of 128 x 128 x 1, found 128 x 64 x 1"
    );
    assert_eq!(
        header!(|header| header.place.as_mut().unwrap().first_index = 5),
        "expected batch 0 for rank 0 of 1, found batch 5 for rank 0 of 1 in the header"
    );
}

#[test]
fn an_honest_server_takes_over_from_one_that_is_not() {
    let server = Running::ordinary();
    let liar = Between::start(&server, |message| {
        if let Message::Batch(batch) = message
            && batch.index == 3
        {
            batch.labels.rotate_left(1);
        }
    });
    let mut source = try_connect(StreamSettings::clone(&settings(&[liar.url(), server.url()], 7))).unwrap();
    assert_eq!(read(&mut source, 6), read(&mut connect(&[server.url()]), 6));
}

#[test]
fn a_server_with_other_planning_rules_goes_on_from_no_place_of_the_old_ones() {
    let server = Running::ordinary();
    let upgraded = Between::start(&server, |message| {
        if let Message::Header(header) = message {
            header.plan_version += 1;
        }
    });
    let mut source = connect(&[server.url()]);
    read(&mut source, 3);
    let place = source.place();
    let version = place["plan_version"].as_u64().unwrap();
    // It sends its own streams, and says what is the matter with the old one.
    let mut resumed = connect(&[upgraded.url()]);
    let error = resumed.resume(&place).unwrap_err().to_string();
    let expected = format!("expected plan version {version} as the stream began with, found {}", version + 1);
    assert!(error.ends_with(&format!("{expected}; serve that one, or go on with --accept plan")), "{error}");
    // A server of the old rules is asked instead, if one is left.
    let mut both = connect(&[upgraded.url(), server.url()]);
    both.resume(&place).unwrap();
    assert_eq!(read(&mut both, 2)[1].index, 4);
    let accepting = StreamSettings { accepted: vec![client::Change::Plan], ..settings(&[upgraded.url()], 7) };
    let mut accepted = try_connect(accepting).unwrap();
    accepted.resume(&place).unwrap();
    assert_eq!(read(&mut accepted, 1)[0].index, 3);
}
