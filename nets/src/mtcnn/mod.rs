//! MTCNN (Zhang, Zhang, Li and Qiao, "Joint Face Detection and Alignment Using Multitask Cascaded
//! Convolutional Networks", 2016): from a photograph to its faces, each a box, a probability and five
//! landmarks.
//!
//! A photograph passes through these files in order:
//!
//! - `resample`: a part of it in another size, as means over windows;
//! - `networks`: P-Net looks at every place of an image pyramid, R-Net and O-Net at what is left;
//! - `boxes`: candidates, their regression and non-maximum suppression;
//! - `cascade`: the three stages, [`Mtcnn::detect`].
//!
//! Beside them `layers` has the two ops that no other network uses, and `weights` reads the published
//! weights. Everything is as the Python package `facenet-pytorch` 2.6.0 computes it, in its order and in
//! its number type, so that its landmarks are ours to a fraction of a pixel (`nets/reference/mtcnn`).

mod boxes;
mod cascade;
mod layers;
mod networks;
mod resample;
mod weights;

pub use boxes::{Overlap, suppress};
pub use cascade::{DetectorSettings, Face};
pub use networks::{ONet, PNet, RNet};
pub use resample::{Raster, Region, resample};
pub use weights::import;

use candle_core::{Device, Result};
use candle_nn::VarBuilder;
use std::path::{Path, PathBuf};

/// Why there is no detector, or no detection.
#[derive(Debug, thiserror::Error)]
pub enum MtcnnError {
    /// The path could not be read at all.
    #[error("cannot read {}", path.display())]
    Read {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There are no weights at the path.
    #[error(
        "expected the wheel of facenet-pytorch 2.6.0, or a folder with pnet.pt, rnet.pt and onet.pt, found {found} at \
         {}; `pip download --no-deps facenet-pytorch==2.6.0` fetches the wheel",
        path.display()
    )]
    NoWeights {
        /// As given.
        path: PathBuf,
        /// What is there instead.
        found: String,
    },
    /// A file is no whole file of tensors.
    #[error(transparent)]
    File(#[from] crate::legacy::LegacyError),
    /// The tensors of a file are not those of its network.
    #[error("{origin}: expected the weights of MTCNN's {network}, found {reason}")]
    Network {
        /// Which file.
        origin: String,
        /// P-Net, R-Net or O-Net.
        network: &'static str,
        /// What is off.
        reason: String,
    },
    /// A tensor operation failed.
    #[error("the face detector failed: {}", crate::sentence(.0))]
    Compute(#[from] candle_core::Error),
}

/// The three networks of the cascade.
pub struct Mtcnn {
    pnet: PNet,
    rnet: RNet,
    onet: ONet,
    device: Device,
}

impl Mtcnn {
    /// Makes or loads the weights below `vb`: `pnet`, `rnet` and `onet`.
    pub fn new(vb: VarBuilder) -> Result<Self> {
        Ok(Self {
            pnet: PNet::new(vb.pp("pnet"))?,
            rnet: RNet::new(vb.pp("rnet"))?,
            onet: ONet::new(vb.pp("onet"))?,
            device: vb.device().clone(),
        })
    }

    /// The published networks, and the digest of their weights: from the wheel of `facenet-pytorch`
    /// 2.6.0 itself, or a folder that holds `pnet.pt`, `rnet.pt` and `onet.pt`, the unpacked wheel too.
    ///
    /// # Errors
    /// When there is no such thing at the path, or a file is not whole or not of its network.
    pub fn open(path: &Path, device: &Device) -> std::result::Result<(Self, String), MtcnnError> {
        let tensors = weights::read(path)?;
        let digest = crate::checkpoint::digest_of(&tensors)?;
        let parameters = crate::Parameters::new(0, candle_core::DType::F32, device);
        let mtcnn = Self::new(parameters.var_builder())?;
        parameters.load(&tensors)?;
        Ok((mtcnn, digest))
    }
}
