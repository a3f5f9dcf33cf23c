//! Errors as gRPC statuses: one match each for the code, the metric's reason and the code's name.

use crate::{error::Error, plan::spec::SpecError};
use tonic::{Code, Status, metadata::MetadataValue};
use tonic_types::{ErrorDetails, StatusExt};

/// Tells clients of gRPC's own retrying when to ask again [unit: milliseconds].
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// The status that a request's error is answered with. Its message is the error's sentence. When a
/// limit was reached, it says when to ask again, as `google.rpc.RetryInfo` and as gRPC's pushback.
pub(super) fn status(error: &Error) -> Status {
    let code = match error {
        Error::Spec(SpecError::Invalid(_)) | Error::Request(_) => Code::InvalidArgument,
        Error::Spec(SpecError::Unsuited(_)) | Error::Expectation { .. } | Error::Refused(_) | Error::Unread(_) => {
            Code::FailedPrecondition
        }
        Error::OutOfRange(_) => Code::OutOfRange,
        Error::Busy { .. } | Error::TooOften { .. } => Code::ResourceExhausted,
        Error::Unauthenticated(_) => Code::Unauthenticated,
        Error::Forbidden(_) => Code::PermissionDenied,
        Error::Reloading => Code::Aborted,
        Error::Image(_) => Code::DataLoss,
        Error::Engine(_) | Error::Lease(_) | Error::ShuttingDown => Code::Unavailable,
        // The rest can't reach a request, or is a bug.
        _ => Code::Internal,
    };
    let Some(delay) = error.retry_after() else { return Status::new(code, error.to_string()) };
    let details = ErrorDetails::with_retry_info(Some(delay));
    let mut status = Status::with_error_details(code, error.to_string(), details);
    // Rounded up, so that who waits so long has waited long enough.
    let milliseconds = delay.as_micros().div_ceil(1000) as u64;
    status.metadata_mut().insert(PUSHBACK, MetadataValue::from(milliseconds));
    status
}

/// Every [`reason`]. They are shown from the beginning on: the first of its kind is an increase only for who
/// has seen none before.
pub(crate) const REASONS: [&str; 15] = [
    "invalid",
    "unsuited",
    "mismatch",
    "out_of_range",
    "busy",
    "rate",
    "unauthenticated",
    "forbidden",
    "bundle",
    "reloading",
    "lost_image",
    "engine",
    "lease",
    "shutdown",
    "internal",
];

/// Why a request was refused, as a metric's label.
pub(super) fn reason(error: &Error) -> &'static str {
    match error {
        Error::Spec(SpecError::Invalid(_)) | Error::Request(_) => "invalid",
        Error::Spec(SpecError::Unsuited(_)) => "unsuited",
        Error::Expectation { .. } => "mismatch",
        Error::OutOfRange(_) => "out_of_range",
        Error::Busy { .. } => "busy",
        Error::TooOften { .. } => "rate",
        Error::Unauthenticated(_) => "unauthenticated",
        Error::Forbidden(_) => "forbidden",
        Error::Refused(_) | Error::Unread(_) => "bundle",
        Error::Reloading => "reloading",
        Error::Image(_) => "lost_image",
        Error::Engine(_) => "engine",
        Error::Lease(_) => "lease",
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
        Code::Unauthenticated => "UNAUTHENTICATED",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::NotFound => "NOT_FOUND",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::Aborted => "ABORTED",
        Code::DataLoss => "DATA_LOSS",
        Code::Unavailable => "UNAVAILABLE",
        Code::Internal => "INTERNAL",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Unknown => "UNKNOWN",
    }
}
