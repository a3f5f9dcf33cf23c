//! Numbers that both ends must agree on.

/// Rows of the largest global batch.
pub const MAX_BATCH_SIZE: u32 = 1024;

/// Identities mixed into one blended identity, at least.
pub const MIN_PARENTS: u32 = 2;

/// Identities mixed into one blended identity, at most.
pub const MAX_PARENTS: u32 = 5;

/// Blended identities of one stream, at most. Classes then fit into 32 bits with room to spare.
pub const MAX_BLENDED: u32 = 1 << 24;

/// How far blended people may be led away from the average person: the largest `spread`.
pub const MAX_SPREAD: f64 = 2.0;

/// Images of one `Synthesize` request, at most.
pub const MAX_FACES: u32 = 256;

/// Images of one `Encode` request, at most: in colour they fit into the longest request.
pub const MAX_ENCODED: u32 = 128;

/// Further tries of a row that an identity filter may ask for, at most.
pub const MAX_RETRIES: u32 = 4;

/// Identities of a dataset, at most. The largest public collection of faces has four million.
pub const MAX_IDENTITIES: u32 = 1 << 22;

/// Identity names in one `GetInfo` response, at most.
pub const MAX_NAMES: u32 = 4096;

/// Letters of a trainer's name, at most.
pub const MAX_TRAINER_NAME: usize = 64;

/// Wait times in one report, at most.
pub const MAX_REPORTED_WAITS: usize = 1024;

/// The longest request a server accepts, in bytes: identity weights for a million people fit.
pub const MAX_REQUEST_BYTES: usize = 8 << 20;

/// The longest message either end accepts, in bytes. The largest batch (1024 rows of 128 x 128
/// colour pixels are 48 MiB) fits with its columns. tonic's and grpcio's own limit is 4 MiB.
pub const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// Entries of a table of bundles, at most: those to come and the one before them.
pub const MAX_TAKEOVERS: usize = 1024;

/// Points of the longest schedule of a mix.
pub const MAX_MIX_POINTS: usize = 64;

/// The largest index of a point of a schedule. What lies before the last point is walked through
/// when a stream is opened.
pub const MAX_MIX_INDEX: u64 = 1 << 22;

/// Nearest identities of an anchor, at most.
pub const MAX_NEIGHBOURS: u32 = 1024;

/// Identities among which neighbours are looked for, at most. To find one anchor's takes a sixth of a
/// microsecond for each.
pub const MAX_NEAR_IDENTITIES: u32 = 1 << 17;

/// Classes in one page of a manifest, at most.
pub const MAX_MANIFEST: u32 = 4096;

/// Identities of the largest dataset from which a stream may choose by loss. Each has two bytes in every
/// sampling table.
pub const MAX_BY_LOSS: u32 = 1 << 17;

/// Sampling tables of one stream, at most.
pub const MAX_TABLES: usize = 256;

/// Bytes of the weights of all sampling tables of one stream, at most: a trainer keeps them in its
/// checkpoints, and sends them in a request.
pub const MAX_TABLE_BYTES: usize = 4 << 20;

/// Sampling tables that a stream over so many identities may have: 209 of 10,000 identities.
pub fn max_tables(identities: u32) -> usize {
    (MAX_TABLE_BYTES / 2 / (identities as usize).max(1)).min(MAX_TABLES)
}

/// HTTP/2 flow-control window that a receiver of batches should open, in bytes, for the stream
/// and for the connection. The default of 64 KiB halves the throughput on loopback and does worse
/// on a long line. What is on its way is also what a steered stream can't take back, so not larger.
pub const WINDOW_BYTES: u32 = 8 << 20;

/// HTTP/2 frame size that a receiver of batches should allow, in bytes: the pixels of 64 rows of three
/// channels come in one frame, and need not be put together. Other calls of the connection wait behind one.
pub const FRAME_BYTES: u32 = 4 << 20;
