//! Somebody between trainer and server who changes what is said.

use crate::fixture::Running;
use proto::v1::augment_client::AugmentClient;
use proto::v1::augment_server::{Augment, AugmentServer};
use proto::v1::stream_response::Message;
use proto::{limits, v1};
use std::net::SocketAddr;
use std::pin::Pin;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_stream::{Stream, StreamExt};
use tonic::transport::Channel;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// Changes a message on its way, or leaves it alone.
pub(crate) type Change = fn(&mut Message);

/// Passes everything on to a server but for a change.
pub(crate) struct Between {
    pub(crate) address: SocketAddr,
    _runtime: Runtime,
}

impl Between {
    pub(crate) fn start(server: &Running, change: Change) -> Self {
        Self::start_with(server, change, None)
    }

    /// Changes nothing, but breaks each stream of batches where it would end.
    pub(crate) fn breaking_ends(server: &Running) -> Self {
        Self::start_with(server, |_| (), Some(Status::unavailable("broken at its end")))
    }

    fn start_with(server: &Running, change: Change, end: Option<Status>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let url = server.url();
        let address = runtime.block_on(async {
            let channel = Channel::from_shared(url).unwrap().connect().await.unwrap();
            let server = AugmentClient::new(channel).max_decoding_message_size(limits::MAX_MESSAGE_BYTES);
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let service = AugmentServer::new(Passing { server, change, end });
            let serving = tonic::transport::Server::builder().add_service(service);
            tokio::spawn(serving.serve_with_incoming(TcpIncoming::from(listener)));
            address
        });
        Self { address, _runtime: runtime }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

struct Passing {
    server: AugmentClient<Channel>,
    change: Change,
    /// What a stream of batches ends with instead of well.
    end: Option<Status>,
}

type Messages = Pin<Box<dyn Stream<Item = Result<v1::StreamResponse, Status>> + Send>>;

impl Passing {
    fn changed(&self, stream: tonic::Streaming<v1::StreamResponse>) -> Response<Messages> {
        let change = self.change;
        Response::new(Box::pin(stream.map(move |message| {
            message.map(|mut message| {
                message.message.as_mut().map(change);
                message
            })
        })))
    }
}

#[tonic::async_trait]
impl Augment for Passing {
    type StreamBatchesStream = Messages;
    type PlanStream = Messages;
    type VerifyStream = Messages;

    async fn get_info(&self, request: Request<v1::GetInfoRequest>) -> Result<Response<v1::GetInfoResponse>, Status> {
        self.server.clone().get_info(request).await
    }

    async fn stream_batches(&self, request: Request<v1::StreamRequest>) -> Result<Response<Messages>, Status> {
        let stream = self.changed(self.server.clone().stream_batches(request).await?.into_inner()).into_inner();
        let end = self.end.clone();
        Ok(Response::new(Box::pin(stream.chain(tokio_stream::iter(end.map(Err))))))
    }

    async fn plan(&self, request: Request<v1::StreamRequest>) -> Result<Response<Messages>, Status> {
        Ok(self.changed(self.server.clone().plan(request).await?.into_inner()))
    }

    async fn verify(&self, request: Request<v1::StreamRequest>) -> Result<Response<Messages>, Status> {
        Ok(self.changed(self.server.clone().verify(request).await?.into_inner()))
    }

    async fn synthesize(
        &self,
        request: Request<v1::SynthesizeRequest>,
    ) -> Result<Response<v1::SynthesizeResponse>, Status> {
        self.server.clone().synthesize(request).await
    }

    async fn encode(&self, request: Request<v1::EncodeRequest>) -> Result<Response<v1::EncodeResponse>, Status> {
        self.server.clone().encode(request).await
    }

    async fn get_manifest(
        &self,
        request: Request<v1::ManifestRequest>,
    ) -> Result<Response<v1::ManifestResponse>, Status> {
        self.server.clone().get_manifest(request).await
    }

    async fn report(&self, request: Request<v1::ReportRequest>) -> Result<Response<v1::ReportResponse>, Status> {
        self.server.clone().report(request).await
    }
}
