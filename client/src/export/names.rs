//! Names of classes as folders, and of rows as files. What a server calls its people is another
//! program's word: nothing of it leads out of a folder.

use std::collections::HashSet;
use std::io::{self, Write};

/// The longest name that is taken over, in bytes: file systems take 255, and a file of that name may
/// get an ending.
const LONGEST: usize = 200;

/// The folder of each class: an identity's own name where a folder can have it, a number elsewhere.
#[derive(Clone, Debug)]
pub struct ClassNames {
    identities: Vec<String>,
    classes: usize,
}

impl ClassNames {
    /// Of the dataset's identities, in class order, and the blended ones behind them.
    pub fn new(names: &[String], classes: usize) -> Self {
        let mut taken = HashSet::new();
        let name = |(class, name): (usize, &String)| {
            // Some file systems don't tell upper from lower case.
            if is_folder(name) && taken.insert(name.to_lowercase()) { name.clone() } else { numbered(IDENTITY, class) }
        };
        Self { identities: names.iter().enumerate().map(name).collect(), classes }
    }

    /// Those that [`ClassNames::write`] wrote.
    pub(super) fn read(names: Vec<String>) -> Self {
        let classes = names.len();
        Self { identities: names, classes }
    }

    /// The folder of a class.
    pub fn of(&self, class: u32) -> String {
        let class = class as usize;
        match self.identities.get(class) {
            Some(name) => name.clone(),
            None => numbered(BLENDED, class - self.identities.len()),
        }
    }

    /// Writes a line for each class, in order.
    pub(super) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        (0..self.classes as u32).try_for_each(|class| writeln!(to, "{}", self.of(class)))
    }
}

const IDENTITY: &str = "identity-";
const BLENDED: &str = "blended-";

fn numbered(kind: &str, number: usize) -> String {
    format!("{kind}{number:06}")
}

/// Whether a name is that of a folder, here and on other systems, and none of ours.
fn is_folder(name: &str) -> bool {
    let of_ours = [IDENTITY, BLENDED].iter().any(|kind| {
        name.to_lowercase().strip_prefix(kind).is_some_and(|number| number.bytes().all(|digit| digit.is_ascii_digit()))
    });
    let foreign = |letter: char| letter.is_control() || "/\\:*?\"<>|".contains(letter);
    let fits = !name.is_empty() && name.len() <= LONGEST && !name.starts_with(['.', ' ']) && !name.ends_with(['.', ' ']);
    fits && !name.contains(foreign) && !of_ours && !super::place::is_manifest(name)
}

/// The file of a row, without its ending: in the order of names, rows are in the order of the stream.
pub(super) fn key(index: u64, row: u32) -> String {
    format!("{index:012}-{row:04}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_its_folder_and_no_two_classes_share_one() {
        let names = ["ann", "../up", "", "a/b", ".hidden", "Ann", "blended-000001", "recipe.toml", "zoë"];
        let names = ClassNames::new(&names.map(str::to_owned), 11);
        let all: Vec<String> = (0..11).map(|class| names.of(class)).collect();
        let numbered = |class: usize| format!("identity-{class:06}");
        assert_eq!(all[0], "ann");
        assert_eq!(all[1..8], (1..8).map(numbered).collect::<Vec<_>>());
        assert_eq!(all[8..], ["zoë", "blended-000000", "blended-000001"]);
        let mut list = Vec::new();
        names.write(&mut list).unwrap();
        assert_eq!(String::from_utf8(list).unwrap().lines().collect::<Vec<_>>(), all);
    }

    #[test]
    fn files_sort_as_the_stream_runs() {
        let keys = [key(9, 63), key(10, 0), key(10, 1023), key(999_999_999_999, 0)];
        assert!(keys.is_sorted());
    }
}
