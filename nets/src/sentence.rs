//! Errors of tensor operations, for people.

use candle_core::Error;

/// A tensor error in one sentence, without the backtrace that `RUST_BACKTRACE` adds to its text.
pub fn sentence(error: &Error) -> String {
    match error {
        Error::WithBacktrace { inner, .. } => sentence(inner),
        other => other.to_string(),
    }
}
