//! The file of tokens: one a line, `ROLE NAME blake3:HASH`. Empty lines and those that begin with `#`
//! are left out. A file without any line at all is one that is just being written, and is refused; who
//! wants to let nobody in writes so, behind a `#`.
//!
//! It holds hashes alone, so that who reads it can't call. That a hash without salt and without toil
//! is enough, and that comparing it is no help in guessing, rests on the tokens' being random: 256
//! bits, as [`Fresh`] makes them. A name may have several tokens, so that one can be replaced by
//! another without a moment in which neither is good.

use proto::limits::MAX_TRAINER_NAME;
use std::{
    collections::{HashMap, HashSet},
    fmt,
    str::FromStr,
    sync::Arc,
};
use tokio_util::sync::CancellationToken;

/// Tokens of one file, at most.
const MAX_TOKENS: usize = 10_000;

/// The longest token that is looked at.
const MAX_TOKEN_BYTES: usize = 512;

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// Streams.
    Trainer,
    /// Everything.
    Admin,
}

impl FromStr for Role {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "trainer" => Ok(Self::Trainer),
            "admin" => Ok(Self::Admin),
            _ => Err(()),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Trainer => "trainer",
            Self::Admin => "admin",
        })
    }
}

/// A token of the file.
pub(crate) struct Credential {
    pub(super) role: Role,
    /// Its holder's, and the trainer's.
    pub(super) name: String,
    /// Compared in constant time.
    hash: blake3::Hash,
    /// Cancelled when it leaves the file.
    pub(super) withdrawn: CancellationToken,
}

/// The tokens of one file.
#[derive(Default)]
pub(crate) struct Tokens(Vec<Arc<Credential>>);

impl Tokens {
    /// Reads a file. Tokens that were there before stay the same, and those that are gone are withdrawn.
    ///
    /// # Errors
    /// The first line that is wrong, without its content, which may be a secret in the wrong place; no
    /// line at all.
    pub(crate) fn parse(text: &[u8], before: &Self) -> Result<Self, String> {
        if text.trim_ascii().is_empty() {
            return Err("expected a line for each token, found an empty file; to let nobody in, write a line that begins with #".into());
        }
        let known: HashMap<_, _> = before.0.iter().map(|token| (token.hash, token)).collect();
        let (mut tokens, mut seen): (Vec<Arc<Credential>>, HashSet<_>) = Default::default();
        for (number, line) in text.split(|&byte| byte == b'\n').enumerate() {
            let wrong = |what: &str| format!("line {}: {what}", number + 1);
            let Ok(line) = std::str::from_utf8(line) else { return Err(wrong("expected text, found other bytes")) };
            let mut words = line.split_whitespace();
            let (role, name, hash) = match (words.next(), words.next(), words.next(), words.next()) {
                (None, ..) => continue,
                (Some(word), ..) if word.starts_with('#') => continue,
                (Some(role), Some(name), Some(hash), None) => (role, name, hash),
                _ => return Err(wrong("expected a role, a name and a hash, found another number of words")),
            };
            let role = role.parse().map_err(|()| wrong("expected the role trainer or admin"))?;
            let name = trainer_name(name).map_err(|expected| wrong(&expected))?;
            let hash = hash.strip_prefix("blake3:").and_then(|hex| blake3::Hash::from_hex(hex).ok());
            let Some(hash) = hash else { return Err(wrong("expected blake3: and 64 hexadecimal digits as the hash")) };
            if !seen.insert(hash) {
                return Err(wrong("expected each token once, found one that is in a line above"));
            }
            if tokens.len() == MAX_TOKENS {
                return Err(wrong(&format!("expected at most {MAX_TOKENS} tokens, found more")));
            }
            let known = known.get(&hash).filter(|token| (token.role, &token.name) == (role, &name));
            let fresh = || Arc::new(Credential { role, name, hash, withdrawn: CancellationToken::new() });
            tokens.push(known.map_or_else(fresh, |&token| token.clone()));
        }
        let stay: HashSet<_> = tokens.iter().map(Arc::as_ptr).collect();
        before.0.iter().filter(|token| !stay.contains(&Arc::as_ptr(token))).for_each(|gone| gone.withdrawn.cancel());
        Ok(Self(tokens))
    }

    /// The token that somebody shows. All are compared, whichever it is.
    pub(crate) fn find(&self, token: &[u8]) -> Option<Arc<Credential>> {
        if token.len() > MAX_TOKEN_BYTES {
            return None;
        }
        let shown = blake3::hash(token);
        self.0.iter().fold(None, |found, token| if token.hash == shown { Some(token.clone()) } else { found })
    }
}

/// A token that was just made.
pub struct Fresh {
    /// To be kept by its holder, and by nobody else.
    pub token: String,
    /// To be added to the server's file.
    pub line: String,
}

impl Fresh {
    /// A random one.
    ///
    /// # Errors
    /// A name that no trainer can have, or no randomness.
    pub fn new(role: Role, name: &str) -> Result<Self, String> {
        let name = trainer_name(name)?;
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(|error| format!("the system gives no random numbers: {error}"))?;
        let token = format!("lookalike_{}", blake3::Hash::from_bytes(random).to_hex());
        let line = format!("{role} {name} blake3:{}", blake3::hash(token.as_bytes()).to_hex());
        Ok(Self { token, line })
    }
}

/// The name of a trainer or an administrator, if it can be one.
///
/// # Errors
/// What it may be.
pub fn trainer_name(name: &str) -> Result<String, String> {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || ".-_".contains(letter);
    if !name.is_empty() && name.len() <= MAX_TRAINER_NAME && name.chars().all(fits) {
        return Ok(name.to_owned());
    }
    Err(format!("expected a name of 1 to {MAX_TRAINER_NAME} letters, digits, ., - and _"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Tokens, String> {
        Tokens::parse(text.as_bytes(), &Tokens::default())
    }

    #[test]
    fn a_fresh_token_is_found_by_its_line_and_no_other_is() {
        let [first, second] = ["one", "two"].map(|name| Fresh::new(Role::Trainer, name).unwrap());
        assert_ne!(first.token, second.token);
        assert!(!first.line.contains(&first.token[10..]));
        let tokens = parse(&format!("# Trainers.\n\n{}\n  {}  \r\n", first.line, second.line)).unwrap();
        let name = |token: &str| tokens.find(token.as_bytes()).map(|found| found.name.clone());
        assert_eq!((name(&first.token), name(&second.token)), (Some("one".into()), Some("two".into())));
        for wrong in ["", &first.token[1..], &first.token.to_uppercase(), &"x".repeat(1000)] {
            assert_eq!(name(wrong), None);
        }
        assert!(Fresh::new(Role::Admin, "a b").is_err() && Fresh::new(Role::Admin, "").is_err());
    }

    #[test]
    fn wrong_lines_are_named_by_number_and_never_repeated() {
        let hash = format!("blake3:{}", "ab".repeat(32));
        let good = format!("trainer one {hash}");
        assert!(parse(" \n").err().unwrap().contains("found an empty file") && parse("# nobody").is_ok());
        for (line, expected) in [
            ("trainer one", "another number of words"),
            ("trainer one hunter2 more", "another number of words"),
            (&format!("boss one {hash}"), "expected the role trainer or admin"),
            (&format!("trainer a/b {hash}"), "expected a name"),
            ("trainer one hunter2", "expected blake3: and 64"),
            (&format!("admin one {hash}"), "found one that is in a line above"),
        ] {
            let error = parse(&format!("{good}\n{line}")).err().unwrap();
            assert!(error.starts_with("line 2: ") && error.contains(expected), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn one_name_may_have_two_tokens() {
        let [old, new] = [0, 1].map(|_| Fresh::new(Role::Trainer, "one").unwrap());
        let both = parse(&format!("{}\n{}", old.line, new.line)).unwrap();
        assert!(both.find(old.token.as_bytes()).is_some() && both.find(new.token.as_bytes()).is_some());
    }
}
