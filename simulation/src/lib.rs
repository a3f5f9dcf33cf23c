//! The whole of Lookalike in virtual time: real servers and real readers over pipes in memory, with
//! everything that goes wrong in a data centre, from a seed.
//!
//! One seed is one world, and plays the same way every time: one thread, one runtime whose clock
//! stands still while anybody has something to do. A day of stalls passes in milliseconds.
//!
//! In order:
//!
//! 1. [`world`]: what a seed means: replicas, trainings, limits, and faults with their moments;
//! 2. [`stand_ins`]: a dataset and bundles that cost nothing, and their faults;
//! 3. [`network`]: pipes that have latency, are cut in mid-frame, and lose their way;
//! 4. [`replica`]: a server's life: started, killed, drained, broken, started again;
//! 5. [`training`]: a trainer's life: reads, stalls, saves its place, dies, goes on;
//! 6. [`faults`]: what happens to all of them; [`liar`]: clients that don't keep to the contract;
//! 7. [`ledger`]: what was seen, held against every promise;
//! 8. [`play`](mod@play): a seed, from its first moment to the last check; [`contest`]: who gets how
//!    much while nothing goes wrong.
//!
//! Promises, checked in every world: a row of a batch is one function of (spec, bundle, index, row),
//! whoever makes it, the same as a quiet server's; a trainer gets every batch once and in order;
//! ranks have one bundle for a batch and their rows are its rows; limits hold at every moment; a new
//! bundle that is refused changes nothing; whoever isn't stalled comes to the end soon after the last
//! fault; and when all have left, nothing is held any more.
//!
//! A seed that fails is played again by `simulate --seed N`, which tells the whole story.

pub mod contest;
pub mod faults;
pub mod ledger;
pub mod liar;
pub mod network;
pub mod play;
pub mod replica;
pub mod stand_ins;
pub mod training;
pub mod world;

pub use ledger::{Failure, Story};
pub use play::play;
