//! The wire contract between Lookalike's server and its trainers.
//!
//! The contract itself is written as a manual in `proto/lookalike/v1/augment.proto`; read that
//! first. Here are:
//!
//! - [`v1`]: the types, the client and the server stubs generated from it;
//! - [`limits`]: the numbers that both ends must agree on;
//! - [`digest`]: the canonical digest of a batch, computed by the server, checked by the client;
//! - [`buffers`]: memory of batches that is used again, at either end;
//! - [`rank_rows`]: which rows of a global batch belong to which rank;
//! - [`latent_row`]: where a row's latent comes from when it is made again.

pub mod buffers;
pub mod digest;
pub mod limits;

/// Generated from `lookalike/v1/augment.proto`.
#[allow(missing_docs, clippy::all, unreachable_pub)]
pub mod v1 {
    tonic::include_proto!("lookalike.v1");
}

/// The compiled contract, for gRPC server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// Stands for "no image" and "no latent" in the columns of [`v1::Provenance`].
pub const NONE: u32 = u32::MAX;

/// The row half of the latent counter of a row's try `retry`, the first being 0. Rows are fewer than the
/// step from one try to the next, so that no two tries of a batch share a counter.
///
/// ```
/// assert_eq!([0, 1, 2].map(|retry| proto::latent_row(5, retry)), [5, 65541, 131077]);
/// ```
pub fn latent_row(row: u32, retry: u32) -> u32 {
    const { assert!(limits::MAX_BATCH_SIZE <= 1 << 16) };
    row + (retry << 16)
}

/// Rows of a global batch of `batch_size` that belong to `rank` of `world_size`:
/// `floor(r * B / W)..floor((r + 1) * B / W)`. The ranks' rows in order are the batch, whatever the
/// world size.
///
/// ```
/// let parts: Vec<_> = (0..3).map(|rank| proto::rank_rows(8, rank, 3)).collect();
/// assert_eq!(parts, [0..2, 2..5, 5..8]);
/// ```
pub fn rank_rows(batch_size: u32, rank: u32, world_size: u32) -> std::ops::Range<u32> {
    let bound = |rank: u64| (rank * u64::from(batch_size) / u64::from(world_size.max(1))) as u32;
    bound(rank.into())..bound(u64::from(rank) + 1)
}
