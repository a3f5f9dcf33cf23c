//! The sampling tables of a stream that chooses identities by loss: what the place keeps of them, and
//! what is believed of a server that declares one.

use crate::place::short;
use proto::{digest, v1};
use serde::{Deserialize, Serialize};

/// From an index on, a sampling table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableTakeover {
    /// First batch that it shapes.
    pub first: u64,
    /// Its digest.
    pub table: String,
    /// The weights of all identities, in hexadecimal digits: two bytes each, the lower one first.
    pub weights: String,
}

/// Which sampling tables shape the batches of a stream that chooses identities by loss.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TableChoice {
    /// None at first, then those that the server makes of what the training loop reports, each from an
    /// index on that the server declares and the place keeps.
    #[default]
    Follow,
    /// These, from their indices on: what a stream that followed was.
    Replay(Vec<TableTakeover>),
}

impl TableChoice {
    /// What is known when a stream begins, or goes on with those that a place holds.
    pub(crate) fn known(&self, kept: Vec<TableTakeover>) -> Vec<TableTakeover> {
        match self {
            Self::Follow => kept,
            Self::Replay(tables) => tables.clone(),
        }
    }
}

/// Digest of the table that shapes a batch; empty where none does.
pub(crate) fn table_at(tables: &[TableTakeover], index: u64) -> &str {
    let after = tables.partition_point(|table| table.first <= index);
    after.checked_sub(1).and_then(|nth| tables.get(nth)).map_or("", |table| &table.table)
}

/// Those that shape batches of a range.
pub(crate) fn shaping(tables: &[TableTakeover], first: u64, end: u64) -> &[TableTakeover] {
    let past = tables.partition_point(|table| table.first <= first).saturating_sub(1);
    let known = tables.partition_point(|table| table.first < end);
    tables.get(past..known).unwrap_or_default()
}

/// The message that says what a stream knows of its tables when it asks for batch `first`.
pub(crate) fn message(tables: &[TableTakeover], first: u64, closed: bool) -> v1::Tables {
    let past = tables.partition_point(|table| table.first <= first).saturating_sub(1);
    let table = |table: &TableTakeover| v1::TableTakeover {
        first_index: table.first,
        table_digest: table.table.clone(),
        // One that isn't hexadecimal is no table: the server says so.
        weights: bytes(&table.weights).unwrap_or_default().into(),
    };
    v1::Tables { declared: tables[past..].iter().map(table).collect(), closed, past: past as u32 }
}

/// Reads a table that a server sent, of a dataset of so many identities.
pub(crate) fn read(wire: &v1::TableTakeover, identities: u32) -> Result<TableTakeover, String> {
    let (expected, found) = (2 * identities as usize, wire.weights.len());
    if found != expected {
        return Err(format!("expected a sampling table of {expected} bytes, found {found}"));
    }
    let weights: Vec<u16> = wire.weights.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    let digest = hexadecimal(&digest::table(&weights));
    if wire.table_digest != digest {
        let named = short(&wire.table_digest);
        return Err(format!("expected sampling table {named}, found one with digest {}", short(&digest)));
    }
    Ok(TableTakeover { first: wire.first_index, table: digest, weights: hexadecimal(&wire.weights) })
}

/// Adds a declared table to those known; batch `next` is the next one to come. One that is there already
/// may be declared again.
pub(crate) fn take_effect(tables: &mut Vec<TableTakeover>, declared: TableTakeover, next: u64) -> Result<(), String> {
    if tables.contains(&declared) {
        return Ok(());
    }
    let least = tables.last().map_or(next, |last| next.max(last.first.saturating_add(1)));
    if !(least..=crate::check::MAX_INDEX).contains(&declared.first) {
        let found = declared.first;
        return Err(format!(
            "expected a sampling table to take effect at batch {least} or later, found one for batch {found}"
        ));
    }
    let most = proto::limits::max_tables(declared.weights.len() as u32 / 4);
    if tables.len() >= most {
        return Err(format!("expected at most {most} sampling tables in a stream, found another"));
    }
    tables.push(declared);
    Ok(())
}

fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

fn bytes(digits: &str) -> Option<Vec<u8>> {
    let digit = |letter: u8| char::from(letter).to_digit(16).map(|digit| digit as u8);
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table(first_index: u64, weights: &[u8]) -> v1::TableTakeover {
        let numbers: Vec<u16> = weights.chunks(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
        let table_digest = hexadecimal(&digest::table(&numbers));
        v1::TableTakeover { first_index, table_digest, weights: weights.to_vec().into() }
    }

    proptest! {
        #[test]
        fn a_table_that_was_kept_is_sent_back_as_it_came(weights in prop::collection::vec(any::<[u8; 2]>(), 1..20)) {
            let sent = table(3, weights.as_flattened());
            let kept = read(&sent, weights.len() as u32).unwrap();
            let kept: TableTakeover = serde_json::from_str(&serde_json::to_string(&kept).unwrap()).unwrap();
            prop_assert_eq!(message(&[kept], 9, true), v1::Tables { declared: vec![sent], closed: true, past: 0 });
        }

        #[test]
        fn what_is_no_table_is_told_or_left_to_the_server(text: String) {
            let kept = TableTakeover { first: 0, table: String::new(), weights: text };
            message(&[kept], 0, false);
        }
    }

    #[test]
    fn a_table_with_another_digest_or_in_the_past_is_refused() {
        let good = table(5, &[0, 4, 1, 4]);
        assert!(read(&good, 3).unwrap_err().contains("of 6 bytes, found 4"));
        let forged = v1::TableTakeover { weights: vec![0, 4, 2, 4].into(), ..good.clone() };
        assert!(read(&forged, 2).unwrap_err().starts_with("expected sampling table "));
        let mut tables = Vec::new();
        let good = read(&good, 2).unwrap();
        let error = take_effect(&mut tables, good.clone(), 6).unwrap_err();
        assert!(error.contains("at batch 6 or later, found one for batch 5"), "{error}");
        take_effect(&mut tables, good.clone(), 5).unwrap();
        take_effect(&mut tables, good.clone(), 9).unwrap();
        let error = take_effect(&mut tables, TableTakeover { table: "t".into(), ..good.clone() }, 2).unwrap_err();
        assert!(error.contains("at batch 6 or later, found one for batch 5"), "{error}");
        assert_eq!((table_at(&tables, 4), table_at(&tables, 5)), ("", &*good.table));
    }

    #[test]
    fn what_is_past_is_counted_and_not_sent() {
        let tables: Vec<TableTakeover> =
            (1..5).map(|n| TableTakeover { first: 10 * n, table: n.to_string(), weights: "0004".into() }).collect();
        let asked = |first| {
            let message = message(&tables, first, false);
            (message.past, message.declared.iter().map(|table| table.first_index).collect::<Vec<_>>())
        };
        assert_eq!(asked(5), (0, vec![10, 20, 30, 40]));
        assert_eq!(asked(20), (1, vec![20, 30, 40]));
        assert_eq!(asked(99), (3, vec![40]));
        assert_eq!(message(&[], 7, false), v1::Tables::default());
    }
}
