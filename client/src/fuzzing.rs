//! A door for the room `fuzz` alone: what a lying server sends, read without a socket, which would
//! cost a thousand times what the checks behind it do.

use crate::check;
use crate::place::bundle_at;
use crate::tables::{self, table_at};
use crate::{Received, StreamSettings};
use proto::v1::{self, stream_response::Message};

/// The batches of a stream's messages up to the first that is refused, and why that one is.
pub fn read(
    settings: &StreamSettings,
    messages: impl IntoIterator<Item = v1::StreamResponse>,
) -> (Vec<Received>, Result<(), String>) {
    let mut received = Vec::new();
    let outcome = read_into(&mut received, settings, &mut messages.into_iter());
    (received, outcome)
}

fn read_into(
    received: &mut Vec<Received>,
    settings: &StreamSettings,
    messages: &mut dyn Iterator<Item = v1::StreamResponse>,
) -> Result<(), String> {
    let mut next = settings.first;
    let Some(Message::Header(header)) = messages.next().and_then(|message| message.message) else {
        return Err("expected a header as the first message, found none".to_owned());
    };
    let mut described = check::header(header, settings, next)?;
    let mut takeovers = std::mem::take(&mut described.takeovers);
    let mut tables = std::mem::take(&mut described.tables);
    for message in messages {
        match message.message {
            Some(Message::Batch(batch)) => {
                let bundle = bundle_at(&described.origin.bundle, &takeovers, next).to_owned();
                received.push(check::batch(batch, next, &bundle, table_at(&tables, next), settings, &described)?);
                next += 1;
            }
            Some(Message::Takeover(announced)) => check::take_over(&mut takeovers, announced, next)?,
            Some(Message::Table(declared)) => {
                let declared = tables::read(&declared, described.identities)?;
                tables::take_effect(&mut tables, declared, next)?;
            }
            _ => return Err("expected a batch or a takeover, found another message".to_owned()),
        }
    }
    Ok(())
}
