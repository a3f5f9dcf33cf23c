//! From the names of a pairs file to the images of a data set, and back.

use std::collections::HashMap;

use super::{NamedPair, Pair, PairList, Pairs};
use crate::error::{Error, Result};
use crate::set::Dataset;

impl PairList {
    /// Looks every name up.
    ///
    /// # Errors
    /// When an identity or image is absent, a name could mean two files, or a pair is one image
    /// twice.
    pub fn resolve(&self, set: &Dataset) -> Result<Pairs> {
        let names = Names::new(set);
        let pair = |named: &NamedPair| {
            let find = |(identity, image): &(String, String)| {
                names.find(identity, image).map_err(|why| Error::PairsAbsent { line: named.line, why })
            };
            let pair = Pair { first: find(&named.first)?, second: find(&named.second)?, same: named.is_same() };
            if pair.first == pair.second {
                let why = format!("expected two images, found {} twice", set.image_path(pair.first));
                return Err(Error::PairsSyntax { line: named.line, why });
            }
            Ok(pair)
        };
        let folds = self.folds.iter().map(|fold| fold.iter().map(pair).collect()).collect::<Result<_>>()?;
        Ok(Pairs { folds })
    }
}

/// Files of one identity by everything they may be called.
pub(super) struct Names<'a> {
    set: &'a Dataset,
    /// (identity, name) to image; `None` where two files share the name.
    by_file: HashMap<(usize, &'a str), usize>,
    by_stem: HashMap<(usize, &'a str), Option<usize>>,
    by_number: HashMap<(usize, u64), Option<usize>>,
}

impl<'a> Names<'a> {
    pub(super) fn new(set: &'a Dataset) -> Self {
        let mut names = Self { set, by_file: HashMap::new(), by_stem: HashMap::new(), by_number: HashMap::new() };
        for image in 0..set.len() {
            let class = set.image_identity(image);
            let (identity, file) = set.image_path(image).split_once('/').unwrap_or_default();
            names.by_file.insert((class, file), image);
            names.by_stem.entry((class, stem(file))).and_modify(|known| *known = None).or_insert(Some(image));
            if let Some(number) = lfw_number(identity, stem(file)) {
                names.by_number.entry((class, number)).and_modify(|known| *known = None).or_insert(Some(image));
            }
        }
        names
    }

    /// What a pairs file says for an image: its identity, and its number, if the file is named as
    /// in LFW and no other has that number, else its file name.
    ///
    /// # Errors
    /// When one of the two would not read back.
    pub(super) fn name(&self, image: usize) -> Result<(String, String)> {
        let (identity, file) = self.set.image_path(image).split_once('/').unwrap_or_default();
        let column = lfw_number(identity, stem(file))
            .filter(|number| format!("{identity}_{number:04}") == stem(file))
            .map(|number| number.to_string())
            .filter(|number| self.find(identity, number) == Ok(image))
            .unwrap_or_else(|| file.to_owned());
        let reads_back = |name: &str| name.trim() == name && !name.contains(['\t', '\n']);
        match [identity, column.as_str()].iter().find(|name| !reads_back(name)) {
            Some(&name) => Err(Error::PairsName { name: name.into() }),
            None => Ok((identity.into(), column)),
        }
    }

    fn find(&self, identity: &str, image: &str) -> Result<usize, String> {
        let class = self
            .set
            .identities()
            .binary_search_by(|known| known.name.as_str().cmp(identity))
            .map_err(|_| format!("the data set has no identity {identity}"))?;
        if let Some(&found) = self.by_file.get(&(class, image)) {
            return Ok(found);
        }
        let number = image.parse().ok().and_then(|number| self.by_number.get(&(class, number)));
        match number.or_else(|| self.by_stem.get(&(class, image))) {
            Some(Some(found)) => Ok(*found),
            Some(None) => Err(format!("two files of {identity} are called {image}")),
            None => Err(format!("identity {identity} has no image {image}")),
        }
    }
}

fn stem(file: &str) -> &str {
    file.rsplit_once('.').map_or(file, |(stem, _)| stem)
}

/// The number in `<identity>_<number>` or in a stem that is nothing but a number.
fn lfw_number(identity: &str, stem: &str) -> Option<u64> {
    let digits = stem.strip_prefix(identity).and_then(|rest| rest.strip_prefix('_')).unwrap_or(stem);
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}
