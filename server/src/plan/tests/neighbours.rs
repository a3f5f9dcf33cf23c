//! Batches of people who look alike.

use super::*;
use crate::plan::neighbours::Neighbours;

/// Batches of P people with K rows each, in groups drawn among so many nearest.
fn near(counts: &[u32], [identities, images, neighbours, group]: [u32; 4]) -> Planner {
    let mut spec = spec(identities * images, [1.0, 1.0, 0.0]);
    spec.sampling = Sampling::Neighbours { identities, images, neighbours, group };
    planner(spec, counts)
}

/// Who leads its groups, as it finds out for itself.
fn leaders(counts: &[u32], [people, _, neighbours, group]: [u32; 4]) -> Neighbours {
    let catalogue = Arc::new(Catalogue::new(counts.iter().copied()));
    Neighbours::new(7, (people, group, neighbours), catalogue, centres(counts.len() as u64))
}

/// The others who have images, the nearest first.
fn sorted(counts: &[u32], of: u32) -> Vec<u32> {
    let centres = centres(counts.len() as u64);
    let own = centres.of(of).unwrap();
    let mut others: Vec<u32> = (0..counts.len() as u32).filter(|&i| i != of && counts[i as usize] > 0).collect();
    others.sort_by(|&a, &b| {
        let cosine = |identity| centres::cosine(own, centres.of(identity).unwrap());
        cosine(b).total_cmp(&cosine(a))
    });
    others
}

prop_compose! {
    /// People, some withheld, and a rule that suits them.
    fn worlds()(
        mut counts in prop::collection::vec(1u32..4, 8..24),
        withheld in 0usize..8,
        (p, k, group, more) in (2u32..7, 1u32..4, 2u32..5, 0u32..20),
    ) -> (Vec<u32>, [u32; 4]) {
        counts[withheld] = 0;
        // So many nearest that no group is ever short of them.
        let neighbours = (p - 1 + more).min(counts.len() as u32 - 2);
        (counts, [p, k, neighbours, group.min(p)])
    }
}

proptest! {
    #[test]
    fn people_of_a_batch_are_different_and_each_stands_near_the_first_of_its_group(
        (counts, rule) in worlds(), index: u32,
    ) {
        let index = u64::from(index);
        let [p, k, neighbours, _] = rule;
        let rows = near(&counts, rule).rows(index, 0..p * k);
        let counted = counts_of(rows.iter().map(|row| row.label));
        prop_assert_eq!(counted.len() as u32, p);
        prop_assert!(counted.values().all(|&rows| rows as u32 == k) && !counted.keys().any(|&i| counts[i as usize] == 0));
        let leaders = leaders(&counts, rule).anchors(index);
        prop_assert!(leaders.iter().all(|leader| counted.contains_key(leader)));
        let is_near = |person: u32| {
            leaders.iter().any(|&leader| person == leader || sorted(&counts, leader)[..neighbours as usize].contains(&person))
        };
        // Where one round ends and the next begins, somebody may lead twice, and leaves a place to anybody.
        let twice = leaders.len() - leaders.iter().collect::<BTreeSet<_>>().len();
        prop_assert!(counted.keys().filter(|&&person| !is_near(person)).count() <= twice);
    }

    #[test]
    fn everybody_leads_a_group_equally_often((counts, rule) in worlds()) {
        let leaders = leaders(&counts, rule);
        let present = counts.iter().filter(|&&count| count > 0).count();
        let led = counts_of((0..present as u64).flat_map(|index| leaders.anchors(index)));
        prop_assert_eq!(led.len(), present);
        prop_assert!(led.values().all(|&times| times == rule[0].div_ceil(rule[3]) as usize), "{led:?}");
    }

    #[test]
    fn the_nearest_are_those_with_the_largest_cosines((counts, rule) in worlds()) {
        let leaders = leaders(&counts, rule);
        for identity in (0..counts.len() as u32).filter(|&identity| counts[identity as usize] > 0) {
            let expected = &sorted(&counts, identity)[..rule[2] as usize];
            prop_assert_eq!(&leaders.nearest(identity)[..], expected);
            prop_assert_eq!(&leaders.nearest(identity)[..], expected, "found before");
        }
    }

    #[test]
    fn what_others_asked_for_before_changes_no_batch((counts, rule) in worlds(), indices: [u16; 4]) {
        let catalogue = Arc::new(Catalogue::new(counts.iter().copied()));
        let (shared, size) = (centres(counts.len() as u64), rule[0] * rule[1]);
        let with = |centres: &Arc<Centres>, seed| {
            let [identities, images, neighbours, group] = rule;
            let mut spec = spec(size, [1.0, 1.0, 0.0]);
            (spec.seed, spec.sampling) = (seed, Sampling::Neighbours { identities, images, neighbours, group });
            Planner::new(Arc::new(spec), catalogue.clone(), Some(centres.clone()))
        };
        let _ = indices.map(|index| with(&shared, 8).rows(index.into(), 0..size));
        for index in indices.map(u64::from) {
            prop_assert_eq!(with(&shared, 7).rows(index, 0..size), with(&centres(counts.len() as u64), 7).rows(index, 0..size));
        }
    }
}

#[test]
fn of_two_as_near_the_first_in_class_order_is_nearer() {
    let axes = (0..5).flat_map(|nth| (0..nets::FEATURE).map(move |n| if n == nth { 1.0 } else { 0.0 }));
    let catalogue = Arc::new(Catalogue::new([2; 5]));
    let leaders = Neighbours::new(1, (2, 2, 3), catalogue, Arc::new(Centres::new(axes.collect())));
    assert_eq!((&leaders.nearest(0)[..], &leaders.nearest(2)[..]), (&[1, 2, 3][..], &[0, 1, 3][..]));
}
