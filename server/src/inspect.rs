//! `lookalike-server inspect`.

use clap::Args;
use command::{CommonArgs, human};
use dataset::{Dataset, OpenOptions};
use serde::Serialize;
use server::served::{architecture, compare_names, open_bundle};
use std::path::PathBuf;

/// What to look at.
#[derive(Args, Debug)]
pub(crate) struct InspectArgs {
    /// The bundle [default: the demo's, built in]
    #[arg(long, value_name = "FILE", help_heading = "Input")]
    weights: Option<PathBuf>,
    /// A dataset to compare it with: a folder per identity, a tar of one, or `demo`
    #[arg(long, value_name = "PATH", help_heading = "Input")]
    data: Option<String>,
}

/// What was found.
#[derive(Serialize)]
struct Findings {
    digest: String,
    architecture: String,
    identities: usize,
    first_names: Vec<String>,
    images_seen: u64,
    trained_on: String,
    dataset: Option<DatasetFindings>,
}

#[derive(Serialize)]
struct DatasetFindings {
    digest: String,
    identities: usize,
    images: usize,
    remarks: Vec<String>,
}

/// Prints what bundle and dataset hold; an error when they can't be served together.
pub(crate) fn run(args: &InspectArgs, common: &CommonArgs) -> Result<(), Box<dyn std::error::Error>> {
    let bundle = open_bundle(args.weights.as_deref(), &candle_core::Device::Cpu)?;
    let dataset = match &args.data {
        Some(path) => {
            let options = OpenOptions { channels: bundle.info.generator.channels, ..OpenOptions::default() };
            Some(Dataset::open(path, &options)?)
        }
        None => None,
    };
    let findings = Findings {
        digest: bundle.digest.clone(),
        architecture: architecture(&bundle.info),
        identities: bundle.info.names.len(),
        first_names: bundle.info.names.iter().take(5).cloned().collect(),
        images_seen: bundle.info.images_seen,
        trained_on: bundle.info.dataset_digest.clone(),
        dataset: dataset.as_ref().map(|dataset| DatasetFindings {
            digest: dataset.digest().to_owned(),
            identities: dataset.identities().len(),
            images: dataset.len(),
            remarks: dataset.report().lines(),
        }),
    };
    if common.json {
        println!("{}", serde_json::to_string_pretty(&findings)?);
    } else {
        print(&findings);
    }
    if let Some(dataset) = dataset {
        let names: Vec<String> = dataset.identities().iter().map(|identity| identity.name.clone()).collect();
        compare_names(&bundle.info.names, &names)?;
    }
    Ok(())
}

fn print(findings: &Findings) {
    println!("bundle       {}", findings.digest);
    println!("networks     {}", findings.architecture);
    println!("identities   {}: {} ...", findings.identities, findings.first_names.join(", "));
    println!("images seen  {}", human::count(findings.images_seen));
    println!("trained on   {}", findings.trained_on);
    if let Some(dataset) = &findings.dataset {
        println!("dataset      {}", dataset.digest);
        println!("             {} identities, {} images", dataset.identities, human::count(dataset.images as u64));
        for remark in &dataset.remarks {
            println!("             {remark}");
        }
    }
}
