//! The networks as a whole: against PyTorch, against the papers' tables, and the promises on which
//! streams and resumed runs rest.

mod bfloat16;
mod bits;
mod casting;
mod device;
mod formula;
mod invariants;
mod legacy;
mod mtcnn;
mod reference;
mod sizes;
mod versus_pytorch;
