//! Asking work to end.

use std::sync::mpsc;

use command::Interrupt;

#[test]
fn clones_share_one_state_and_wake_whoever_sleeps() {
    let interrupt = Interrupt::new();
    let (early, woken) = mpsc::channel();
    let late = early.clone();
    interrupt.on_request(move || early.send("early").unwrap());
    assert!(!interrupt.requested());
    interrupt.clone().request();
    assert!(interrupt.requested());
    interrupt.on_request(move || late.send("late").unwrap());
    interrupt.request();
    assert_eq!(woken.iter().collect::<Vec<_>>(), ["early", "late"]);
}
