//! Errors as gRPC statuses: one match each for the code, the metric's reason and the code's name.

use crate::{error::Error, plan::spec::SpecError};
use tonic::{Code, Status};

/// The status that a request's error is answered with. Its message is the error's sentence.
pub(super) fn status(error: &Error) -> Status {
    let code = match error {
        Error::Spec(SpecError::Invalid(_)) | Error::Request(_) => Code::InvalidArgument,
        Error::Spec(SpecError::Unsuited(_)) | Error::Expectation { .. } | Error::Refused(_) => Code::FailedPrecondition,
        Error::OutOfRange(_) => Code::OutOfRange,
        Error::Busy { .. } => Code::ResourceExhausted,
        Error::Reloading => Code::Aborted,
        Error::Image(_) => Code::DataLoss,
        Error::Engine(_) | Error::ShuttingDown => Code::Unavailable,
        // The rest can't reach a request, or is a bug.
        _ => Code::Internal,
    };
    Status::new(code, error.to_string())
}

/// Why a request was refused, as a metric's label.
pub(super) fn reason(error: &Error) -> &'static str {
    match error {
        Error::Spec(SpecError::Invalid(_)) | Error::Request(_) => "invalid",
        Error::Spec(SpecError::Unsuited(_)) => "unsuited",
        Error::Expectation { .. } => "mismatch",
        Error::OutOfRange(_) => "out_of_range",
        Error::Busy { .. } => "busy",
        Error::Refused(_) => "bundle",
        Error::Reloading => "reloading",
        Error::Image(_) => "lost_image",
        Error::Engine(_) => "engine",
        Error::ShuttingDown => "shutdown",
        _ => "internal",
    }
}

/// A code's name as gRPC's own metrics write it.
pub(crate) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::NotFound => "NOT_FOUND",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::Aborted => "ABORTED",
        Code::DataLoss => "DATA_LOSS",
        Code::Unavailable => "UNAVAILABLE",
        Code::Internal => "INTERNAL",
        _ => "UNKNOWN",
    }
}
