//! What all trainings share.

use command::training::{Rhythm, Stride};

#[test]
fn each_milestone_is_due_once_and_all_are_due_at_the_end() {
    let stride = |step: u64| Stride { from: step * 48, to: (step + 1) * 48, end: 300 };
    let due = |every: u64| (0..7).filter(|&step| stride(step).passes(every)).collect::<Vec<_>>();
    assert_eq!(due(100), [2, 4, 6]);
    assert_eq!(due(1), [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(due(u64::MAX), [6]);
    assert_eq!(due(0), due(1));
}

#[test]
fn short_trainings_have_milestones_too() {
    let Rhythm { log, evaluate, checkpoint, keep } = Rhythm::over(5);
    assert_eq!((log, evaluate, checkpoint, keep), (1, 5_000, 1, 2));
}
