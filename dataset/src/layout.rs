//! Which file of a folder or tar belongs to which identity. Pure: it sees names, never contents.
//!
//! The rule is torchvision's, `identity/file`, with three kindnesses: folders around everything
//! are looked through, hidden files are passed over, and what lies deeper or higher is set aside
//! with a reason instead of becoming somebody's face.

use crate::report::{Reason, SetAside};
use crate::source::Listing;

/// One file as its source found it.
#[derive(Clone, Debug)]
pub(crate) struct Found<P> {
    /// Path below the source's root, parts separated by `/`.
    pub(crate) path: String,
    /// Where its bytes are.
    pub(crate) place: P,
}

/// One file in the place of an image: `identity/file`.
#[derive(Clone, Debug)]
pub(crate) struct Candidate<P> {
    pub(crate) identity: String,
    pub(crate) file: String,
    pub(crate) place: P,
}

/// What [`arrange`] made of the files.
#[derive(Debug)]
pub(crate) struct Arranged<P> {
    /// Sorted by the bytes of the identity's name, then of the file's.
    pub(crate) candidates: Vec<Candidate<P>>,
    pub(crate) pairs: Option<P>,
    pub(crate) set_aside: Vec<SetAside>,
    pub(crate) hidden: usize,
    /// Folders in the place of an identity, with images or without.
    pub(crate) folders: Vec<String>,
}

/// The set's own pairs, beside its identities.
pub(crate) const PAIRS: &str = "pairs.txt";
/// What is known of each drawn image, beside its identities; not for readers of images.
pub(crate) const CIRCUMSTANCES: &str = "circumstances.jsonl";
/// How aligned faces came to be, beside their identities.
pub(crate) const ALIGNMENT: &str = "alignment.jsonl";
/// What an exported part of a stream keeps beside its identities.
const MANIFEST: [&str; 3] = ["recipe.toml", "batches.jsonl", "classes.txt"];

/// Folders around the whole set that are looked through; `wrapper/wrapper/identity/file` needs two.
const DEEPEST: usize = 8;

/// Sorts files into identities.
pub(crate) fn arrange<P>(listing: Listing<P>) -> Arranged<P> {
    let Listing { mut files, mut folders, mut set_aside } = listing;
    let before = files.len();
    files.retain(|file| !is_hidden(&file.path));
    let hidden = before - files.len();
    // No further: a name in an archive can be a million folders deep, and each costs a pass.
    for _ in 0..DEEPEST {
        let Some(wrapper) = wrapper(&files) else { break };
        // What stands beside the wrapper keeps its name.
        let unwrap = |path: &mut String| {
            if path.starts_with(&wrapper) {
                path.drain(..wrapper.len());
            }
        };
        files.iter_mut().for_each(|file| unwrap(&mut file.path));
        set_aside.iter_mut().for_each(|aside| unwrap(&mut aside.path));
        folders.retain(|folder| *folder != wrapper[..wrapper.len() - 1]);
        folders.iter_mut().for_each(unwrap);
    }
    folders.retain(|folder| !folder.is_empty() && !folder.contains('/') && !is_hidden(folder));
    let mut arranged = Arranged { candidates: Vec::new(), pairs: None, set_aside, hidden, folders };
    for Found { path, place } in files {
        let reason = match path.split('/').count() {
            1 if path == PAIRS => {
                arranged.pairs = Some(place);
                continue;
            }
            1 if path == CIRCUMSTANCES || path == ALIGNMENT || MANIFEST.contains(&path.as_str()) => continue,
            1 if has_image_name(&path) => Reason::OutsideIdentity,
            1 => Reason::Foreign,
            2 => {
                let (identity, file) = path.split_once('/').unwrap_or_default();
                arranged.candidates.push(Candidate { identity: identity.into(), file: file.into(), place });
                continue;
            }
            _ if has_image_name(&path) => Reason::Nested,
            _ => Reason::Foreign,
        };
        arranged.set_aside.push(SetAside { path, reason });
    }
    arranged.candidates.sort_by(|a, b| (&a.identity, &a.file).cmp(&(&b.identity, &b.file)));
    arranged
}

/// Files that systems and tools leave behind, not people.
pub(crate) fn is_hidden(path: &str) -> bool {
    const LEFT_BEHIND: [&str; 8] =
        ["Thumbs.db", "thumbs.db", "ehthumbs.db", "desktop.ini", "__MACOSX", "@eaDir", "$RECYCLE.BIN", "lost+found"];
    path.split('/').any(|part| part.starts_with('.') || LEFT_BEHIND.contains(&part))
}

/// Whether a name claims to be a picture.
pub(crate) fn has_image_name(path: &str) -> bool {
    const ENDINGS: [&str; 12] =
        ["jpg", "jpeg", "jpe", "png", "webp", "gif", "bmp", "tif", "tiff", "heic", "avif", "ppm"];
    let ending = path.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map_or("", |(_, ending)| ending);
    ENDINGS.iter().any(|known| known.eq_ignore_ascii_case(ending))
}

/// The first path part and its slash, if that part is a folder around the whole set.
fn wrapper<P>(found: &[Found<P>]) -> Option<String> {
    let (first, _) = found.first()?.path.split_once('/')?;
    let mut deep = false;
    for file in found {
        let rest = file.path.strip_prefix(first)?.strip_prefix('/')?;
        // A picture directly inside makes the folder an identity, not a wrapper.
        if !rest.contains('/') && has_image_name(rest) {
            return None;
        }
        deep |= rest.contains('/');
    }
    deep.then(|| format!("{first}/"))
}
