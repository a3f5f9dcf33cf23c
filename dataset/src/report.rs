//! What was found beside the usable images, and why it was set aside.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::decode::Flaw;

/// Why one file is no image of the set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Reason {
    /// In the place of an image, but not usable as one.
    Flawed(Flaw),
    /// No image, and its name doesn't claim to be one.
    Foreign,
    /// An image beside the identity folders instead of inside one.
    OutsideIdentity,
    /// An image deeper than `identity/file`.
    Nested,
    /// A link that leads nowhere, in a circle, or (in a tar) outside.
    Link,
    /// A device, socket, or an archive entry without plain data.
    Special,
    /// Names travel to other machines as UTF-8; this one can't.
    NotUtf8,
    /// The system doesn't let it be read.
    Unreadable(String),
    /// What is made of it would have the name of what is made of another file.
    Namesake {
        /// That other one.
        first: String,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flawed(flaw) => flaw.fmt(f),
            Self::Foreign => f.write_str("it is not an image"),
            Self::OutsideIdentity => f.write_str("it lies beside the identity folders; move it into one"),
            Self::Nested => f.write_str("it lies deeper than identity/file; open the folder that holds the identities"),
            Self::Link => f.write_str("the link leads nowhere or in a circle"),
            Self::NotUtf8 => f.write_str("its name is not UTF-8; rename it"),
            Self::Special => f.write_str("it is not a plain file"),
            Self::Unreadable(why) => write!(f, "it can't be read: {why}"),
            Self::Namesake { first } => write!(f, "its face would have the name of that of {first}; rename one"),
        }
    }
}

/// One file that was set aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SetAside {
    /// Path inside the data set.
    pub path: String,
    /// Why.
    pub reason: Reason,
}

/// What opening a data set found besides its images.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Files that are not used, sorted by path.
    pub set_aside: Vec<SetAside>,
    /// Hidden files and what systems leave behind; passed over without a look.
    pub hidden: usize,
    /// Identities with one image: usable for training, but in no same pair and no held-out part.
    pub single_image: Vec<String>,
    /// Folders that hold no usable image and so are no identities.
    pub without_images: Vec<String>,
    /// How many of the images are stored in colour.
    pub colour_images: usize,
}

impl Report {
    /// Counts by reason, one line each: `12 x the file is cut short (first: anna/3.jpg)`.
    pub fn lines(&self) -> Vec<String> {
        let mut kinds: BTreeMap<String, (usize, &str)> = BTreeMap::new();
        for SetAside { path, reason } in &self.set_aside {
            kinds.entry(reason.to_string()).or_insert((0, path)).0 += 1;
        }
        let mut lines: Vec<String> =
            kinds.iter().map(|(reason, (count, first))| format!("{count} x {reason} (first: {first})")).collect();
        if self.hidden > 0 {
            lines.push(format!("{} hidden files passed over", self.hidden));
        }
        if let Some(first) = self.without_images.first() {
            lines.push(format!("{} folders without a usable image (first: {first})", self.without_images.len()));
        }
        if let Some(first) = self.single_image.first() {
            lines.push(format!("{} identities with one image (first: {first})", self.single_image.len()));
        }
        lines
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.lines().as_slice() {
            [] => f.write_str("nothing set aside"),
            lines => f.write_str(&lines.join("; ")),
        }
    }
}
