//! Calls for those who run the server.

use super::{answer, reply};
use crate::{reload, served::Served};
use proto::v1::{self, admin_server::Admin};
use std::sync::Arc;
use tonic::{Request, Response, Status};
use tracing::Instrument;

/// Answers administrators. Who may ask is decided before a call comes here.
pub(crate) struct AdminService {
    served: Arc<Served>,
}

impl AdminService {
    pub(crate) fn new(served: Arc<Served>) -> Self {
        Self { served }
    }
}

#[tonic::async_trait]
impl Admin for AdminService {
    async fn reload(&self, request: Request<v1::ReloadRequest>) -> Result<Response<v1::ReloadResponse>, Status> {
        let expected = request.into_inner().bundle_digest;
        // A caller that leaves doesn't leave a swap half done: it goes on by itself.
        let served = self.served.clone();
        let reloading = tokio::spawn(async move { reload::reload(&served, &expected).await }.in_current_span());
        let answered = async {
            let ended = reloading.await;
            let reloaded = ended.map_err(|panic| crate::Error::Bug(format!("reloading ended early: {panic}")))??;
            let (bundle, changed) = (Some(reply::bundle(&reloaded.bundle)), reloaded.changed);
            Ok(v1::ReloadResponse { bundle, changed })
        };
        answer(&self.served, "lookalike.v1.Admin/Reload", answered).await
    }
}
