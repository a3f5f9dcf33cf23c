//! Making identity-disjoint folds of pairs for any data set.

use std::ops::Range;

use nets::chance::Chance;

use super::resolve::image_column;
use super::{NamedPair, PairList};
use crate::error::{Error, Result};
use crate::set::Dataset;

/// What pairs to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Folds; `None` takes 10, or as many as the identities allow.
    pub folds: Option<usize>,
    /// Same pairs a fold, and as many different ones; `None` takes 300, or as many as the
    /// poorest fold allows.
    pub pairs: Option<usize>,
}

impl Default for Request {
    /// LFW's protocol: 10 folds of 300 + 300 pairs, fewer where the set is too small.
    fn default() -> Self {
        Self { folds: None, pairs: None }
    }
}

const FOLDS: usize = 10;
const PAIRS: usize = 300;

/// Deals identities to folds and draws pairs inside each; a pure function of set and seed.
///
/// No identity occurs in two folds and no pair twice. Identities take turns, so that one with
/// many images doesn't rule its fold.
///
/// # Errors
/// When there are too few identities or images for the request; the message says what would do.
pub fn make(set: &Dataset, request: &Request, seed: u64) -> Result<PairList> {
    let (folds, identities) = deal(set, request.folds, seed)?;
    if let Some(name) = set.identities().iter().map(|one| &one.name).find(|name| name.contains(['\t', '\n'])) {
        return Err(Error::TooFew(format!("the identity {name:?} has a tab or line break in its name; rename it")));
    }
    let mut cells: Vec<[Vec<Cell>; 2]> = Vec::with_capacity(folds);
    for members in &identities {
        let range = |class: usize| {
            let identity = &set.identities()[class];
            identity.first_image..identity.first_image + identity.images
        };
        let same = members.iter().map(|&class| Cell::Same(range(class))).collect();
        let mut different = Vec::new();
        for (position, &one) in members.iter().enumerate() {
            different.extend(members[..position].iter().map(|&other| Cell::Different(range(other), range(one))));
        }
        cells.push([same, different]);
    }
    let possible = |cells: &[Cell]| cells.iter().map(Cell::count).sum::<u64>();
    let poorest = cells.iter().flatten().map(|cells| possible(cells)).min().unwrap_or(0);
    let count = request.pairs.unwrap_or(PAIRS.min(poorest as usize));
    if count == 0 || poorest < count as u64 {
        return Err(Error::TooFew(format!(
            "expected {count} same and {count} different pairs in each of {folds} folds, but one fold allows only \
             {poorest}; ask for fewer pairs or folds"
        )));
    }

    let mut list = PairList { folds: Vec::with_capacity(folds) };
    for (fold, [same, different]) in cells.iter().enumerate() {
        let mut images = take_turns(same, count, &Chance::new(seed, &format!("pairs/same/{fold}")));
        images.extend(take_turns(different, count, &Chance::new(seed, &format!("pairs/different/{fold}"))));
        let name = |image: usize| (set.identities()[set.image_identity(image)].name.clone(), image_column(set, image));
        list.folds
            .push(images.into_iter().map(|(a, b)| NamedPair { first: name(a), second: name(b), line: 0 }).collect());
    }
    Ok(list)
}

/// Classes of each fold. Identities with two images and more are dealt first, so that every fold
/// gets its share of them.
fn deal(set: &Dataset, folds: Option<usize>, seed: u64) -> Result<(usize, Vec<Vec<usize>>)> {
    let mut classes: Vec<usize> =
        (0..set.identities().len()).filter(|&class| set.identities()[class].images > 0).collect();
    Chance::new(seed, "pairs/deal").at(0, 0).shuffle(&mut classes);
    classes.sort_by_key(|&class| set.identities()[class].images < 2);
    let several = classes.iter().filter(|&&class| set.identities()[class].images >= 2).count();

    let most = (classes.len() / 2).min(several);
    let folds = folds.unwrap_or(FOLDS.min(most));
    if folds == 0 || folds > most {
        let ask = if most == 0 { "add images".to_owned() } else { format!("ask for at most {most} folds") };
        return Err(Error::TooFew(format!(
            "expected {} identities, {} of them with at least 2 images, for {} identity-disjoint folds, found {} and \
             {several}; {ask}",
            2 * folds.max(1),
            folds.max(1),
            folds.max(1),
            classes.len(),
        )));
    }
    let mut dealt = vec![Vec::new(); folds];
    for (position, class) in classes.into_iter().enumerate() {
        dealt[position % folds].push(class);
    }
    dealt.iter_mut().for_each(|members| members.sort_unstable());
    Ok((folds, dealt))
}

/// All pairs within one identity, or between two.
enum Cell {
    Same(Range<usize>),
    Different(Range<usize>, Range<usize>),
}

impl Cell {
    fn count(&self) -> u64 {
        match self {
            Self::Same(images) => (images.len() * images.len().saturating_sub(1) / 2) as u64,
            Self::Different(one, other) => (one.len() * other.len()) as u64,
        }
    }

    /// Pair number `number` of `count`.
    fn pair(&self, number: u64) -> (usize, usize) {
        let number = number as usize;
        match self {
            Self::Same(images) => {
                // Row `second` of the triangle holds `second` pairs.
                let mut second = 1;
                let mut left = number;
                while left >= second {
                    left -= second;
                    second += 1;
                }
                (images.start + left, images.start + second)
            }
            Self::Different(one, other) => (one.start + number / other.len(), other.start + number % other.len()),
        }
    }
}

/// `count` different pairs, one from each cell in turn; the cells must hold so many.
fn take_turns(cells: &[Cell], count: usize, chance: &Chance) -> Vec<(usize, usize)> {
    let mut order: Vec<usize> = (0..cells.len()).filter(|&cell| cells[cell].count() > 0).collect();
    chance.at(0, 0).shuffle(&mut order);
    let permutations: Vec<_> = order
        .iter()
        .map(|&cell| Chance::new(chance.at(1, cell as u64).next_u64(), "pairs/cell").permutation(cells[cell].count()))
        .collect();
    let mut pairs = Vec::with_capacity(count);
    let mut turn = 0;
    while pairs.len() < count {
        for (&cell, permutation) in order.iter().zip(&permutations) {
            if turn < cells[cell].count() && pairs.len() < count {
                pairs.push(cells[cell].pair(permutation.get(turn)));
            }
        }
        turn += 1;
    }
    pairs.sort_unstable();
    pairs
}
