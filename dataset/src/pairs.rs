//! Verification pairs in the form of Labeled Faces in the Wild (Huang et al. 2007).
//!
//! ```text
//! 10       300                              folds, same (and different) pairs of each
//! Aaron_Peirsol  1  2                       same: images 1 and 2 of one identity
//! AJ_Cook  1  Marsha_Thomason  1            different: image 1 of each
//! ```
//!
//! Columns are parted by tabs. A number `n` means the file `<identity>_<n, four digits>`; a data
//! set with other names has its file names there instead of numbers.

mod cells;
mod make;
mod resolve;

use std::fmt;

pub use make::{Request, make};

use crate::error::{Error, Result};
use crate::set::Dataset;

/// One comparison between two images, given by their indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Image index.
    pub first: usize,
    /// Image index.
    pub second: usize,
    /// Whether both show the same person.
    pub same: bool,
}

/// Pairs of a data set, fold by fold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pairs {
    /// Each fold holds as many same as different pairs, the same ones first.
    pub folds: Vec<Vec<Pair>>,
}

impl Pairs {
    /// The set's own pairs: its `pairs.txt`, or those that belong to drawn faces.
    ///
    /// # Errors
    /// When there are none, the file can't be understood, or it names absent images.
    pub fn of(set: &Dataset) -> Result<Self> {
        if let Some(file) = set.pairs_file() {
            return Self::read(file, set);
        }
        match set.drawn() {
            Some(drawn) => make(set, &Request::default(), drawn.seed)?.resolve(set),
            None => Err(Error::NoPairs { path: set.path().into() }),
        }
    }

    /// The pairs of a file's contents.
    ///
    /// # Errors
    /// When the file can't be understood or names absent images.
    pub fn read(file: &[u8], set: &Dataset) -> Result<Self> {
        PairList::parse(file)?.resolve(set)
    }

    /// How many pairs there are in all folds.
    pub fn len(&self) -> usize {
        self.folds.iter().map(Vec::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Indices of all images that occur, sorted, each once.
    pub fn images(&self) -> Vec<usize> {
        let mut images: Vec<usize> = self.folds.iter().flatten().flat_map(|pair| [pair.first, pair.second]).collect();
        images.sort_unstable();
        images.dedup();
        images
    }

    /// Whether no identity occurs in two folds, as the protocol wants it.
    pub fn folds_are_disjoint(&self, set: &Dataset) -> bool {
        let mut fold_of = vec![None; set.identities().len()];
        self.folds.iter().enumerate().all(|(fold, pairs)| {
            pairs
                .iter()
                .flat_map(|pair| [pair.first, pair.second])
                .all(|image| *fold_of[set.image_identity(image)].get_or_insert(fold) == fold)
        })
    }
}

/// Pairs by name, as a file lists them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairList {
    /// Each fold holds as many same as different pairs, the same ones first.
    pub folds: Vec<Vec<NamedPair>>,
}

/// One comparison by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedPair {
    /// Identity, and number or file name, of the first image.
    pub first: (String, String),
    /// Identity, and number or file name, of the second image.
    pub second: (String, String),
    /// Line in the file, counted from 1; 0 when it comes from no file.
    pub line: usize,
}

impl NamedPair {
    /// Whether both images belong to one identity.
    pub fn is_same(&self) -> bool {
        self.first.0 == self.second.0
    }
}

impl PairList {
    /// Reads a pairs file. A header of one number means one fold, as in LFW's development files.
    ///
    /// # Errors
    /// When a line is not what the header announces; the error names the line.
    pub fn parse(file: &[u8]) -> Result<Self> {
        let syntax = |line: usize, why: String| Error::PairsSyntax { line, why };
        let text = std::str::from_utf8(file).map_err(|_| Error::PairsFile { why: "expected UTF-8 text".into() })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut lines = text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, columns(line)))
            .filter(|(_, columns)| !columns.is_empty());

        let (line, header) = lines.next().ok_or_else(|| syntax(1, "expected a header, found nothing".into()))?;
        let numbers: Option<Vec<usize>> = header.iter().map(|column| column.parse().ok()).collect();
        let (folds, count) = match numbers.as_deref() {
            Some(&[count]) => (1, count),
            Some(&[folds, count]) => (folds, count),
            _ => return Err(syntax(line, "expected a header of folds and pairs, like `10\t300`".into())),
        };
        if folds == 0 || count == 0 {
            return Err(syntax(line, format!("expected at least one fold and pair, found {folds} and {count}")));
        }

        // Nothing is reserved by the header's numbers: they are only somebody's claim.
        let mut list = Self { folds: Vec::new() };
        for fold in 1..=folds {
            let mut pairs = Vec::new();
            for kind in ["same", "different"] {
                for found in 0..count {
                    let (line, columns) = lines.next().ok_or_else(|| {
                        let why = format!("fold {fold} ends after {found} of {count} {kind} pairs");
                        syntax(text.lines().count(), why)
                    })?;
                    pairs.push(named_pair(kind, &columns, line).map_err(|why| syntax(line, why))?);
                }
            }
            list.folds.push(pairs);
        }
        match lines.next() {
            Some((line, _)) => {
                Err(syntax(line, format!("expected the end after {folds} folds of {count} + {count} pairs")))
            }
            None => Ok(list),
        }
    }
}

/// Tabs part columns, so that names may hold spaces; a line without tabs is parted by spaces.
fn columns(line: &str) -> Vec<&str> {
    let line = line.trim_end_matches(['\r', ' ', '\t']);
    let columns: Vec<&str> =
        if line.contains('\t') { line.split('\t').map(str::trim).collect() } else { line.split_whitespace().collect() };
    columns.into_iter().filter(|column| !column.is_empty()).collect()
}

fn named_pair(kind: &str, columns: &[&str], line: usize) -> Result<NamedPair, String> {
    let image = |name: &str, file: &str| (name.to_owned(), file.to_owned());
    match (kind, columns) {
        ("same", [name, first, second]) => {
            Ok(NamedPair { first: image(name, first), second: image(name, second), line })
        }
        ("different", [one, _, other, _]) if one == other => {
            Err(format!("expected two different identities, found {one} twice"))
        }
        ("different", [one, first, other, second]) => {
            Ok(NamedPair { first: image(one, first), second: image(other, second), line })
        }
        ("same", _) => Err(format!("expected a same pair (name, image, image), found {} columns", columns.len())),
        _ => Err(format!("expected a different pair (name, image, name, image), found {} columns", columns.len())),
    }
}

impl fmt::Display for PairList {
    /// The file's contents.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\t{}", self.folds.len(), self.folds.first().map_or(0, Vec::len) / 2)?;
        for pair in self.folds.iter().flatten() {
            let NamedPair { first: (one, first), second: (other, second), .. } = pair;
            match pair.is_same() {
                true => writeln!(f, "{one}\t{first}\t{second}")?,
                false => writeln!(f, "{one}\t{first}\t{other}\t{second}")?,
            }
        }
        Ok(())
    }
}
