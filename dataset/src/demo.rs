//! Which drawn faces the demo trains and is judged on, so that server, recognizer and demo agree.

use crate::drawn::DrawnSet;
use crate::error::{Error, Result};
use std::collections::BTreeSet;

/// Seed of all demo faces.
pub const SEED: u64 = 1;

/// Identities that E, G, D and the recognizers train on: the set `demo`.
pub const TRAINING: DrawnSet = DrawnSet { first: 0, identities: 32, images: 20, seed: SEED };

/// Identities that nobody trains on, with pairs: the set `demo:held-out`.
pub const HELD_OUT: DrawnSet = DrawnSet { first: 1000, identities: 80, images: 8, seed: SEED };

/// Understands `demo`, `demo:held-out` and `demo:identities=32,images=20,seed=1,first=0`; `None`
/// when the text doesn't speak of drawn faces.
pub fn parse(text: &str) -> Option<Result<DrawnSet>> {
    let settings = match text {
        "demo" => return Some(Ok(TRAINING)),
        "demo:held-out" => return Some(Ok(HELD_OUT)),
        _ => text.strip_prefix("demo:")?,
    };
    Some(parse_settings(settings).map_err(Error::drawn(text)))
}

fn parse_settings(settings: &str) -> Result<DrawnSet, String> {
    let mut set = TRAINING;
    let mut given = BTreeSet::new();
    for setting in settings.split(',') {
        let (key, value) = setting.split_once('=').ok_or_else(|| format!("`{setting}` has no `=`"))?;
        let number: u64 = value.trim().parse().map_err(|_| format!("`{value}` is not a whole number"))?;
        let small = u32::try_from(number).map_err(|_| format!("{number} is too large"));
        if !given.insert(key.trim()) {
            return Err(format!("`{}` stands there twice", key.trim()));
        }
        match key.trim() {
            "seed" => set.seed = number,
            "first" => set.first = small?,
            "identities" => set.identities = small?,
            "images" => set.images = small?,
            other => return Err(format!("`{other}` is none of identities, images, seed, first")),
        }
    }
    set.check()?;
    Ok(set)
}
