//! What a trainer tells of its waiting and of its losses.

use super::trainer;
use crate::{
    error::{Error, Result},
    losses::Reported,
    served::Served,
};
use proto::{limits, v1};

/// A checked report.
pub(in crate::service) struct Report {
    pub(in crate::service) trainer: String,
    /// In seconds.
    pub(in crate::service) waits: Vec<f32>,
    /// Digest of a spec, and losses by identity.
    pub(in crate::service) losses: Option<([u8; 32], Vec<Reported>)>,
}

/// What a trainer saw.
pub(in crate::service) fn report(served: &Served, request: v1::ReportRequest) -> Result<Report> {
    let (waits, max) = (&request.wait_seconds, limits::MAX_REPORTED_WAITS);
    if waits.len() > max {
        return Err(Error::Request(format!("expected at most {max} wait times, found {}", waits.len())));
    }
    if let Some(wait) = waits.iter().find(|wait| !(wait.is_finite() && **wait >= 0.0)) {
        return Err(Error::Request(format!("expected wait times that are finite and not negative, found {wait}")));
    }
    trainer(&request.trainer)?;
    let losses = losses(served, &request)?;
    Ok(Report { trainer: request.trainer, waits: request.wait_seconds, losses })
}

/// The spec and the losses of a report, if it has any.
fn losses(served: &Served, request: &v1::ReportRequest) -> Result<Option<([u8; 32], Vec<Reported>)>> {
    let v1::ReportRequest { spec_digest, identities, losses, rows, .. } = request;
    let (found, max) = (identities.len(), limits::MAX_BY_LOSS as usize);
    if (losses.len(), rows.len()) != (found, found) {
        let (losses, rows) = (losses.len(), rows.len());
        return Err(Error::Request(format!(
            "expected a loss and a number of rows for each of {found} identities, found {losses} and {rows}"
        )));
    }
    if spec_digest.is_empty() && found == 0 {
        return Ok(None);
    }
    let Ok(spec) = <[u8; 32]>::try_from(&spec_digest[..]) else {
        let found = spec_digest.len();
        return Err(Error::Request(format!("expected the 32 bytes of a spec's digest with losses, found {found}")));
    };
    if request.trainer.is_empty() {
        return Err(Error::Request("expected a trainer's name with losses, found none".into()));
    }
    if found > max {
        return Err(Error::Request(format!("expected losses of at most {max} identities, found {found}")));
    }
    let count = served.catalogue.identities();
    let reported = |nth: usize| {
        let Reported { identity, loss, rows } =
            Reported { identity: identities[nth], loss: losses[nth], rows: rows[nth] };
        if identity >= count {
            return Err(Error::OutOfRange(format!("expected losses of identities below {count}, found {identity}")));
        }
        if !(loss.is_finite() && loss >= 0.0) || rows == 0 {
            return Err(Error::Request(format!(
                "expected losses that are finite and not negative, over at least one row each, found {loss} over {rows}"
            )));
        }
        Ok(Reported { identity, loss, rows })
    };
    Ok(Some((spec, (0..found).map(reported).collect::<Result<_>>()?)))
}
