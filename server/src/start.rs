//! `lookalike-server serve`.

use clap::Args;
use command::{CommonArgs, Interrupt, say};
use server::{Config, Served};
use std::{net::SocketAddr, sync::Arc};

/// Where to listen, and what to serve.
#[derive(Args, Debug)]
pub(crate) struct ServeArgs {
    /// Address for trainers; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:50051", value_parser = address, help_heading = "Serving")]
    listen: SocketAddr,
    /// Address of the Prometheus metrics, at /metrics
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9464", value_parser = address, help_heading = "Serving")]
    metrics: SocketAddr,
    #[command(flatten)]
    config: Config,
}

/// Serves until the first Ctrl-C or SIGTERM.
pub(crate) fn run(
    args: ServeArgs,
    common: &CommonArgs,
    interrupt: &Interrupt,
) -> Result<(), Box<dyn std::error::Error>> {
    if args.listen == args.metrics && args.listen.port() != 0 {
        let address = args.listen;
        return Err(format!("expected different addresses for --listen and --metrics, found {address} twice").into());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        // Bound before the dataset is opened, which may take minutes: a wrong address shows at once.
        let listener = server::bind(args.listen).await?;
        let metrics = server::bind(args.metrics).await?;
        let (address, metrics_address) = (listener.local_addr()?, metrics.local_addr()?);
        let shutdown = Arc::new(tokio::sync::Notify::new());
        let wake = shutdown.clone();
        interrupt.on_request(move || wake.notify_one());

        let config = args.config;
        let opening = tokio::task::spawn_blocking(move || Served::open(&config));
        let served = tokio::select! {
            opened = opening => Arc::new(opened??),
            () = shutdown.notified() => return Err("interrupted before anything was served".into()),
        };
        if common.json {
            let ready = serde_json::json!({
                "listen": address, "metrics": metrics_address, "serving": served.describe(),
            });
            println!("{ready}");
        } else {
            say(format!("serving {}", served.describe()));
            say(format!("trainers connect to http://{address}; metrics are at http://{metrics_address}/metrics"));
        }
        server::serve_opened(served, listener, metrics, shutdown.notified()).await?;
        say("stopped");
        Ok(())
    });
    // Without waiting for what can't be stopped in the middle: the opening of a large dataset.
    runtime.shutdown_background();
    outcome
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let expected = "expected an IP address and a port, as in 127.0.0.1:50051, or 0.0.0.0:50051 for every network";
    text.parse().map_err(|_| format!("{expected}, found `{text}`"))
}
