//! TensorBoard's event files: records of `Event` messages, each framed by length and checksums.
//!
//! Only what a training needs is here: scalars, PNG pictures and the mark that a run was resumed.
//! The messages are the subset of `tensorflow/core/util/event.proto` and
//! `tensorflow/core/framework/summary.proto` that these use, by field number.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;

use crate::{Error, Result};

/// One record of an event file.
#[derive(Clone, PartialEq, Message)]
pub struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    pub wall_time: f64,
    /// Images seen.
    #[prost(int64, tag = "2")]
    pub step: i64,
    /// What happened.
    #[prost(oneof = "What", tags = "3, 5, 7")]
    pub what: Option<What>,
}

/// What an [`Event`] tells.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum What {
    /// The first record of a file: "brain.Event:2".
    #[prost(string, tag = "3")]
    FileVersion(String),
    /// Figures or pictures.
    #[prost(message, tag = "5")]
    Summary(Summary),
    /// A start or restart.
    #[prost(message, tag = "7")]
    SessionLog(SessionLog),
}

/// Figures or pictures of one step.
#[derive(Clone, PartialEq, Message)]
pub struct Summary {
    /// Each with its tag.
    #[prost(message, repeated, tag = "1")]
    pub value: Vec<Value>,
}

/// One figure or picture.
#[derive(Clone, PartialEq, Message)]
pub struct Value {
    /// The name of the curve or row of pictures; a slash groups.
    #[prost(string, tag = "1")]
    pub tag: String,
    /// Its content.
    #[prost(oneof = "Content", tags = "2, 4")]
    pub content: Option<Content>,
}

/// What a [`Value`] holds.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Content {
    /// A point of a curve.
    #[prost(float, tag = "2")]
    Scalar(f32),
    /// A picture.
    #[prost(message, tag = "4")]
    Image(Image),
}

/// An encoded picture.
#[derive(Clone, PartialEq, Message)]
pub struct Image {
    /// Pixels.
    #[prost(int32, tag = "1")]
    pub height: i32,
    /// Pixels.
    #[prost(int32, tag = "2")]
    pub width: i32,
    /// 3 for RGB.
    #[prost(int32, tag = "3")]
    pub colorspace: i32,
    /// PNG bytes.
    #[prost(bytes = "vec", tag = "4")]
    pub encoded: Vec<u8>,
}

/// A start or restart; readers drop earlier events from this step on.
#[derive(Clone, PartialEq, Message)]
pub struct SessionLog {
    /// 1: start.
    #[prost(int32, tag = "1")]
    pub status: i32,
}

const SESSION_START: i32 = 1;

/// Appends to one event file of its own; TensorBoard merges the files of a directory.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    file: File,
}

impl Writer {
    /// A new file in `directory`. Events that other files of the directory hold from `first_step`
    /// on are void, so that a resumed run draws one line and not two.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn create(directory: &Path, first_step: u64) -> Result<Self> {
        let (path, file) = new_file(directory)?;
        let mut writer = Self { path, file };
        writer.append(0, What::FileVersion("brain.Event:2".to_owned()))?;
        writer.append(first_step, What::SessionLog(SessionLog { status: SESSION_START }))?;
        Ok(writer)
    }

    /// The points of several curves at one step.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn scalars<'a>(&mut self, step: u64, figures: impl IntoIterator<Item = (&'a str, f64)>) -> Result<()> {
        let value = figures
            .into_iter()
            .map(|(tag, figure)| Value { tag: tag.to_owned(), content: Some(Content::Scalar(figure as f32)) })
            .collect();
        self.append(step, What::Summary(Summary { value }))
    }

    /// A picture as PNG bytes, `width` x `height` RGB pixels.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn image(&mut self, step: u64, tag: &str, width: u32, height: u32, png: Vec<u8>) -> Result<()> {
        let side = |length: u32| i32::try_from(length).unwrap_or(i32::MAX);
        let image = Image { height: side(height), width: side(width), colorspace: 3, encoded: png };
        let value = vec![Value { tag: tag.to_owned(), content: Some(Content::Image(image)) }];
        self.append(step, What::Summary(Summary { value }))
    }

    fn append(&mut self, step: u64, what: What) -> Result<()> {
        let event = Event { wall_time: now(), step: i64::try_from(step).unwrap_or(i64::MAX), what: Some(what) };
        // One write a record, so that a reader who looks in between finds whole records.
        self.file.write_all(&frame(&event.encode_to_vec())).map_err(Error::writing(&self.path))
    }
}

/// All events of a file; a last record that is cut short is left out, as TensorBoard does.
///
/// # Errors
/// [`Error::Read`], and [`Error::Damaged`] for a wrong checksum or message.
pub fn read(path: &Path) -> Result<Vec<Event>> {
    let bytes = std::fs::read(path).map_err(Error::reading(path))?;
    let damaged = |expected: &str, found: String| Error::Damaged {
        path: path.to_path_buf(),
        expected: expected.to_owned(),
        found,
    };
    let mut rest = bytes.as_slice();
    let mut events = Vec::new();
    while let Some(record) = next_record(&mut rest)
        .map_err(|at| damaged("matching checksums", format!("a mismatch in record {}: {at}", events.len())))?
    {
        events.push(Event::decode(record).map_err(|error| damaged("an event", error.to_string()))?);
    }
    Ok(events)
}

/// TFRecord framing: length (u64), its checksum, the record, its checksum; all little endian.
fn frame(record: &[u8]) -> Vec<u8> {
    let length = (record.len() as u64).to_le_bytes();
    let mut framed = Vec::with_capacity(record.len() + 16);
    framed.extend_from_slice(&length);
    framed.extend_from_slice(&masked_crc(&length).to_le_bytes());
    framed.extend_from_slice(record);
    framed.extend_from_slice(&masked_crc(record).to_le_bytes());
    framed
}

/// CRC-32C, rotated and shifted by a constant, as the format wants: a checksum of data that holds
/// checksums would be weak otherwise.
fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The next whole record, or which part of it has a wrong checksum.
fn next_record<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a [u8]>, &'static str> {
    let whole = *rest;
    let Some((length, after)) = whole.split_first_chunk::<8>() else {
        return Ok(None);
    };
    let Some((length_crc, after)) = after.split_first_chunk::<4>() else {
        return Ok(None);
    };
    if u32::from_le_bytes(*length_crc) != masked_crc(length) {
        return Err("its length");
    }
    let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
    let Some((record, after)) = after.split_at_checked(length) else {
        return Ok(None);
    };
    let Some((record_crc, after)) = after.split_first_chunk::<4>() else {
        return Ok(None);
    };
    if u32::from_le_bytes(*record_crc) != masked_crc(record) {
        return Err("its content");
    }
    *rest = after;
    Ok(Some(record))
}

/// TensorBoard reads the files of a directory in the order of their names, so names hold the time
/// and, for two starts within a second, a number.
fn new_file(directory: &Path) -> Result<(PathBuf, File)> {
    let seconds = now() as u64;
    let mut number = 0;
    loop {
        let path = directory.join(format!("events.out.tfevents.{seconds:010}.{number:03}"));
        match File::create_new(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(Error::writing(&path)(error)),
        }
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
