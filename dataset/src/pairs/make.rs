//! Making identity-disjoint folds of pairs for any data set.

use std::ops::Range;

use nets::chance::Chance;

use super::cells::Cells;
use super::resolve::Names;
use super::{NamedPair, Pair, PairList, Pairs};
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
/// When there are too few identities or images for the request; the message says what would do. When
/// a name can't stand in a pairs file.
pub fn make(set: &Dataset, request: &Request, seed: u64) -> Result<PairList> {
    let (folds, identities) = deal(set, request.folds, seed)?;
    let people: Vec<Vec<Range<usize>>> = identities
        .iter()
        .map(|members| {
            let images = |&class: &usize| {
                let identity = &set.identities()[class];
                identity.first_image..identity.first_image + identity.images
            };
            members.iter().map(images).collect()
        })
        .collect();
    let kinds = |people: &[Range<usize>]| [Cells::Same(people).pairs(), Cells::Different(people).pairs()];
    let poorest = people.iter().flat_map(|people| kinds(people)).min().unwrap_or(0);
    let count = request.pairs.unwrap_or(PAIRS.min(poorest as usize));
    if count == 0 || poorest < count as u64 {
        return Err(Error::TooFew(format!(
            "expected {count} same and {count} different pairs in each of {folds} folds, but one fold allows only \
             {poorest}; ask for fewer pairs or folds"
        )));
    }

    let names = Names::new(set);
    let mut list = PairList { folds: Vec::with_capacity(folds) };
    let mut wanted = Pairs { folds: Vec::with_capacity(folds) };
    for (fold, people) in people.iter().enumerate() {
        let chance = |kind: &str| Chance::new(seed, &format!("pairs/{kind}/{fold}"));
        let same = Cells::Same(people).take_turns(count, &chance("same"));
        let different = Cells::Different(people).take_turns(count, &chance("different"));
        let pairs: Vec<Pair> = [(true, same), (false, different)]
            .into_iter()
            .flat_map(|(same, pairs)| pairs.into_iter().map(move |(first, second)| Pair { first, second, same }))
            .collect();
        let name =
            |pair: &Pair| Ok(NamedPair { first: names.name(pair.first)?, second: names.name(pair.second)?, line: 0 });
        list.folds.push(pairs.iter().map(name).collect::<Result<_>>()?);
        wanted.folds.push(pairs);
    }
    let read = Pairs::read(list.to_string().as_bytes(), set)?;
    assert!(read == wanted, "made pairs read back as other ones: this is a bug");
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
