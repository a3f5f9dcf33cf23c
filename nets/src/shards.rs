//! A checkpoint in several files, for places that carry no large ones.
//!
//! The checkpoint's bytes are cut wherever a file is full, and in the checkpoint's place lies an index:
//!
//! ```json
//! {"lookalike-shards":1,"shards":[{"file":"a.shard-001-of-002","bytes":1000000,"blake3":"..."}, ...]}
//! ```
//!
//! Whoever reads the index reads the whole; nobody needs to know. Shards lie beside it.

use crate::checkpoint::CheckpointError;
use serde::{Deserialize, Serialize};
use std::path::{Component, Path};

/// How every index begins, and no other checkpoint.
const START: &[u8] = b"{\"lookalike-shards\":";
/// Version of the index; a reader refuses others.
const FORMAT: u64 = 1;

/// The index of shards, by name and content in their order.
///
/// # Panics
/// Never: the index is made of numbers and text, which have a JSON form.
pub fn index(shards: &[(String, &[u8])]) -> Vec<u8> {
    let describe = |(file, content): &(String, &[u8])| Shard {
        file: file.clone(),
        bytes: content.len() as u64,
        blake3: blake3::hash(content).to_hex().to_string(),
    };
    let index = Index { format: FORMAT, shards: shards.iter().map(describe).collect() };
    serde_json::to_vec(&index).expect("an index has a JSON form")
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Index {
    #[serde(rename = "lookalike-shards")]
    format: u64,
    shards: Vec<Shard>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shard {
    file: String,
    bytes: u64,
    blake3: String,
}

/// What was cut, if `bytes`, the content of the file at `path`, are an index; else they themselves. `read`
/// reads a file of at most so many bytes.
///
/// # Errors
/// A shard that is missing, of another checkpoint, or damaged; an index that names files elsewhere.
pub(crate) fn joined(
    bytes: Vec<u8>,
    path: &Path,
    most: u64,
    read: impl Fn(&Path, u64) -> std::io::Result<Vec<u8>>,
) -> Result<Vec<u8>, CheckpointError> {
    if !bytes.starts_with(START) {
        return Ok(bytes);
    }
    let origin = path.display().to_string();
    let malformed = |reason: String| CheckpointError::Malformed { origin: origin.clone(), reason };
    let index: Index = serde_json::from_slice(&bytes)
        .map_err(|error| malformed(format!("an unreadable index of shards ({error})")))?;
    if index.format != FORMAT {
        return Err(malformed(format!("an index of shards of format {}, not {FORMAT}", index.format)));
    }
    let total = index.shards.iter().try_fold(0u64, |sum, shard| sum.checked_add(shard.bytes));
    if total.is_none_or(|total| total > most) {
        return Err(malformed(format!("an index of shards of more than {most} bytes together")));
    }
    let mut whole = Vec::new();
    for (nth, shard) in index.shards.iter().enumerate() {
        let file = Path::new(&shard.file);
        if !matches!(file.components().collect::<Vec<_>>()[..], [Component::Normal(name)] if name == file.as_os_str()) {
            return Err(malformed(format!("an index with a shard `{}`, which names no file beside it", shard.file)));
        }
        let refuse = |found: String| CheckpointError::Shard {
            origin: origin.clone(),
            shard: format!("{} of {}, {}", nth + 1, index.shards.len(), shard.file),
            found,
        };
        let content = read(&path.with_file_name(file), shard.bytes).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => refuse("none".to_owned()),
            _ => refuse(error.to_string()),
        })?;
        if blake3::hash(&content).to_hex().as_str() != shard.blake3 {
            return Err(refuse("another checkpoint's, or a damaged one".to_owned()));
        }
        whole.extend(content);
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::bytes_of;

    /// Writes `content` in shards of at most 4 bytes.
    fn cut(folder: &Path, name: &str, content: &[u8]) -> anyhow::Result<std::path::PathBuf> {
        let shards: Vec<(String, &[u8])> =
            content.chunks(4).enumerate().map(|(nth, part)| (format!("{name}.shard-{nth}"), part)).collect();
        for (file, part) in &shards {
            std::fs::write(folder.join(file), part)?;
        }
        let path = folder.join(name);
        std::fs::write(&path, index(&shards))?;
        Ok(path)
    }

    fn refusal(path: &Path) -> String {
        bytes_of(path).expect_err("something is off").to_string()
    }

    #[test]
    fn what_was_cut_is_read_as_a_whole() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = cut(folder.path(), "a", b"ten bytes!")?;
        assert_eq!(bytes_of(&path)?, b"ten bytes!");
        std::fs::write(&path, b"no index")?;
        assert_eq!(bytes_of(&path)?, b"no index");
        Ok(())
    }

    #[test]
    fn a_missing_or_foreign_shard_is_named_in_one_sentence() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = cut(folder.path(), "a", b"ten bytes!")?;
        let second = folder.path().join("a.shard-1");
        let of = format!("{}: expected shard 2 of 3, a.shard-1, found ", path.display());
        let advice = "; bring all files of one checkpoint together, or take an older one";
        // As long as the right one, shorter, and longer.
        for other in [&b"ytes"[..], b"yt", b"bytes"] {
            std::fs::write(&second, other)?;
            let text = refusal(&path);
            assert!(text.starts_with(&of) && text.ends_with(advice), "{text}");
        }
        std::fs::write(&second, b"ytes")?;
        assert!(refusal(&path).contains("another checkpoint's"), "{}", refusal(&path));
        std::fs::remove_file(&second)?;
        assert_eq!(refusal(&path), format!("{of}none{advice}"));
        Ok(())
    }

    #[test]
    fn an_index_reads_nothing_elsewhere_and_is_whole() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("a");
        for file in ["../b", "/etc/hostname", "..", "", "b/c", "./b", "b/"] {
            std::fs::write(&path, index(&[(file.to_owned(), &b"1"[..])]))?;
            assert!(refusal(&path).contains("names no file beside it"), "{file}: {}", refusal(&path));
        }
        let whole = index(&[("b".to_owned(), &b"1"[..]), ("c".to_owned(), &b"1"[..])]);
        for (from, to, expected) in [
            ("shards\":1", "shards\":2", "of format 2, not 1"),
            ("\"bytes\":1", "\"bytes\":18446744073709551615", "bytes together"),
            ("}]}", "}]", "an unreadable index"),
        ] {
            std::fs::write(&path, String::from_utf8(whole.clone())?.replace(from, to))?;
            assert!(refusal(&path).contains(expected), "{}", refusal(&path));
        }
        Ok(())
    }
}
