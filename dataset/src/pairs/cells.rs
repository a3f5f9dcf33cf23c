//! Every pair that one fold could hold, told by number and never listed.
//!
//! A fold of `n` people has `n (n - 1) / 2` cells of different pairs: far too many to write down
//! for a large set, so a cell is only looked at in its turn.

use std::ops::Range;

use nets::chance::Chance;

/// Up to so many cells take their turns in a shuffled order, more in a permuted one that needs no
/// table.
const SHUFFLED: u64 = 1 << 20;

/// The people of one fold, as the index ranges of their images, and which pairs are meant.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cells<'a> {
    /// A cell for each person: two images of that one.
    Same(&'a [Range<usize>]),
    /// A cell for each two people: an image of either.
    Different(&'a [Range<usize>]),
}

impl Cells<'_> {
    /// How many cells there are.
    fn len(&self) -> u64 {
        match self {
            Self::Same(people) => people.len() as u64,
            Self::Different(people) => triangle_size(people.len() as u64),
        }
    }

    /// How many pairs there are in all cells.
    pub(super) fn pairs(&self) -> u64 {
        match self {
            Self::Same(people) => people.iter().map(|images| triangle_size(images.len() as u64)).sum(),
            Self::Different(people) => {
                // Every ordered pair of images, less those within one person, by two.
                let all: u64 = people.iter().map(|images| images.len() as u64).sum();
                let within: u64 = people.iter().map(|images| (images.len() as u64).pow(2)).sum();
                (all * all - within) / 2
            }
        }
    }

    /// How many pairs one cell holds.
    fn pairs_of(&self, cell: u64) -> u64 {
        match self {
            Self::Same(people) => triangle_size(people[cell as usize].len() as u64),
            Self::Different(people) => {
                let (one, other) = in_triangle(cell);
                people[one].len() as u64 * people[other].len() as u64
            }
        }
    }

    /// Images of pair `number` of a cell.
    fn pair(&self, cell: u64, number: u64) -> (usize, usize) {
        match self {
            Self::Same(people) => {
                let (first, second) = in_triangle(number);
                let start = people[cell as usize].start;
                (start + first, start + second)
            }
            Self::Different(people) => {
                let (one, other) = in_triangle(cell);
                let (one, other) = (&people[one], &people[other]);
                (one.start + number as usize / other.len(), other.start + number as usize % other.len())
            }
        }
    }

    /// `count` different pairs, one from each cell in turn, sorted; the cells must hold so many.
    pub(super) fn take_turns(&self, count: usize, chance: &Chance) -> Vec<(usize, usize)> {
        let mut pairs = Vec::with_capacity(count);
        let mut turn = 0;
        while pairs.len() < count {
            let left = count - pairs.len();
            let in_turn = self.order(chance).filter(|&cell| turn < self.pairs_of(cell));
            pairs.extend(in_turn.take(left).map(|cell| {
                let within = Chance::new(chance.at(1, cell).next_u64(), "pairs/cell");
                self.pair(cell, within.permutation(self.pairs_of(cell)).get(turn))
            }));
            turn += 1;
        }
        pairs.sort_unstable();
        pairs
    }

    /// The cells that hold pairs, in random order.
    fn order(&self, chance: &Chance) -> Box<dyn Iterator<Item = u64> + '_> {
        let cells = (0..self.len()).filter(|&cell| self.pairs_of(cell) > 0);
        if self.len() <= SHUFFLED {
            let mut order: Vec<u64> = cells.collect();
            chance.at(0, 0).shuffle(&mut order);
            return Box::new(order.into_iter());
        }
        let order = chance.permutation(self.len());
        Box::new((0..self.len()).map(move |position| order.get(position)).filter(|&cell| self.pairs_of(cell) > 0))
    }
}

/// Unordered pairs of `count` things.
fn triangle_size(count: u64) -> u64 {
    count * count.saturating_sub(1) / 2
}

/// Pair `number` of a triangle whose row `second` holds the pairs `(0, second)` to
/// `(second - 1, second)`.
fn in_triangle(number: u64) -> (usize, usize) {
    let second = (8 * number + 1).isqrt().div_ceil(2);
    ((number - triangle_size(second)) as usize, second as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_triangle_is_counted_row_by_row() {
        let pairs: Vec<_> = (0..6).map(in_triangle).collect();
        assert_eq!(pairs, [(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)]);
        for second in [1_000u64, 1 << 20, 1 << 30] {
            assert_eq!(in_triangle(triangle_size(second)), (0, second as usize));
            assert_eq!(in_triangle(triangle_size(second) - 1), (second as usize - 2, second as usize - 1));
        }
    }

    #[test]
    fn cells_hold_every_pair_once() {
        let people = [0..3, 3..4, 4..9];
        for (cells, expected) in [(Cells::Same(&people), 3 + 10), (Cells::Different(&people), 3 + 15 + 5)] {
            assert_eq!(cells.pairs(), expected);
            let mut all = cells.take_turns(expected as usize, &Chance::new(1, "test"));
            all.dedup();
            assert_eq!(all.len() as u64, expected);
        }
    }

    #[test]
    fn a_crowd_costs_no_more_than_the_pairs_asked_for() {
        // 20 billion cells of different pairs.
        let people: Vec<Range<usize>> = (0..200_000).map(|person| person * 2..person * 2 + 2).collect();
        let mut pairs = Cells::Different(&people).take_turns(300, &Chance::new(1, "test"));
        pairs.dedup();
        assert_eq!(pairs.len(), 300);
        assert!(pairs.iter().all(|(first, second)| first / 2 < second / 2 && *second < 400_000));
    }
}
