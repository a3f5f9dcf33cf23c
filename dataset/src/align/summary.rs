//! What a run came to, for people and for machines.

use serde::Serialize;

use super::{Outcome, Record};
use crate::report::SetAside;

/// Names in a line at most; `alignment.jsonl` has all.
const NAMED: usize = 3;

/// What became of the photographs of a folder, by this run and earlier ones.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Files whose names are a picture's.
    pub photographs: usize,
    /// Those whose face was written.
    pub aligned: usize,
    /// Those that an earlier run had done.
    pub done_before: usize,
    /// Those that are still to be done, as the run was stopped.
    pub left: usize,
    /// Aligned ones with more than one face that is probable enough.
    pub several_faces: Vec<String>,
    /// Those without one.
    pub no_face: Vec<String>,
    /// Those that are no whole JPEG or PNG within the bounds, and why.
    pub unreadable: Vec<Unreadable>,
    /// What lies in the folder and is no photograph, and why.
    pub set_aside: Vec<SetAside>,
    /// Files whose names are no picture's.
    pub other_files: usize,
    /// Photographs of an earlier run that are no longer there; their faces were left as they are.
    pub vanished: usize,
    /// All of them, sorted by path.
    #[serde(skip)]
    pub records: Vec<Record>,
}

/// A file that was set aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unreadable {
    /// Below the folder of photographs.
    pub path: String,
    /// Why.
    pub reason: String,
}

impl Summary {
    pub(super) fn new(
        records: Vec<Record>,
        set_aside: Vec<SetAside>,
        other_files: usize,
        vanished: usize,
        done_before: usize,
        left: usize,
    ) -> Self {
        let mut summary = Self {
            photographs: records.len() + left,
            aligned: 0,
            done_before,
            left,
            several_faces: Vec::new(),
            no_face: Vec::new(),
            unreadable: Vec::new(),
            set_aside,
            other_files,
            vanished,
            records: Vec::new(),
        };
        for record in &records {
            match &record.outcome {
                Outcome::Aligned(face) => {
                    summary.aligned += 1;
                    if face.good > 1 {
                        summary.several_faces.push(record.path.clone());
                    }
                }
                Outcome::NoFace { .. } => summary.no_face.push(record.path.clone()),
                Outcome::Unreadable { reason } => {
                    summary.unreadable.push(Unreadable { path: record.path.clone(), reason: reason.clone() });
                }
            }
        }
        summary.records = records;
        summary
    }

    /// What deserves a look, one line each: `2 without a face: anna/3.jpg, bob/1.jpg`.
    pub fn lines(&self) -> Vec<String> {
        let named = |count: usize, names: &mut dyn Iterator<Item = String>| {
            let shown: Vec<String> = names.take(NAMED).collect();
            let more = if count > NAMED { ", ..." } else { "" };
            format!("{}{more}", shown.join(", "))
        };
        let mut lines = Vec::new();
        if !self.several_faces.is_empty() {
            let names = named(self.several_faces.len(), &mut self.several_faces.iter().cloned());
            lines.push(format!("{} with several faces, of which one was taken: {names}", self.several_faces.len()));
        }
        if !self.no_face.is_empty() {
            let names = named(self.no_face.len(), &mut self.no_face.iter().cloned());
            lines.push(format!("{} without a face: {names}", self.no_face.len()));
        }
        let reasons = self.unreadable.iter().map(|Unreadable { path, reason }| (reason.clone(), path.clone()));
        let reasons = reasons.chain(self.set_aside.iter().map(|aside| (aside.reason.to_string(), aside.path.clone())));
        let mut by_reason: Vec<(String, Vec<String>)> = Vec::new();
        for (reason, path) in reasons {
            match by_reason.iter_mut().find(|(known, _)| *known == reason) {
                Some((_, paths)) => paths.push(path),
                None => by_reason.push((reason, vec![path])),
            }
        }
        for (reason, paths) in by_reason {
            let names = named(paths.len(), &mut paths.iter().cloned());
            lines.push(format!("{} set aside, {reason}: {names}", paths.len()));
        }
        if self.other_files > 0 {
            lines.push(format!("{} files passed over, whose names are no picture's", self.other_files));
        }
        if self.vanished > 0 {
            lines.push(format!("{} photographs are no longer there; their faces were left", self.vanished));
        }
        lines
    }
}
