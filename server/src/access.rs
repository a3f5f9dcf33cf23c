//! Who may call what, how often, and under which name.
//!
//! A call's way before [`crate::service`] sees it, in [`gate`]:
//!
//! 1. [`request_id`]: a name for the call, in its log lines and in its answer;
//! 2. [`tokens`]: whose call it is, by its bearer token;
//! 3. [`rates`]: whether they have called too often of late;
//! 4. [`Access::admit`]: whether they may make this call.
//!
//! The rules. Health checks are open. With a file of tokens, every other call needs one of them: a
//! trainer's for everything but administration, an administrator's for everything. A token's name is
//! the trainer's name, so that nobody takes another one's share. Without such a file everybody who
//! reaches the server may stream, and only callers on the same machine may administer.

pub(crate) mod gate;
mod hurry;
mod measured;
mod rates;
mod request_id;
mod settings;
pub mod tokens;

pub use settings::AccessSettings;

use crate::{
    error::{Error, Result, quoted},
    listeners::connection::Address,
    watched::{Credentials, Files},
};
use rates::{Payer, Rates};
use std::sync::{Arc, PoisonError, RwLock};
use tokens::{Credential, Role, Tokens};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What a call asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Whether the server lives.
    Health,
    /// Administration.
    Admin,
    /// Streams, and everything else.
    Augment,
}

/// The rules that are in force.
pub(crate) struct Access {
    /// `None` where no token is asked for.
    tokens: Option<Arc<TokenFile>>,
    rates: Rates,
}

struct TokenFile {
    files: Files,
    tokens: RwLock<Arc<Tokens>>,
}

/// Who makes a call, as far as it is known.
#[derive(Clone, Default)]
pub(crate) struct Caller(Option<Arc<Credential>>);

impl Access {
    /// Reads what the settings name.
    ///
    /// # Errors
    /// [`Error::Credentials`] when the file of tokens can't be used.
    pub(crate) fn open(settings: &AccessSettings) -> Result<Self> {
        let open = |path: &std::path::PathBuf| -> Result<_> {
            let files = Files::new([path.clone()]);
            let tokens = read(&files, &Tokens::default())?;
            Ok(Arc::new(TokenFile { files, tokens: RwLock::new(Arc::new(tokens)) }))
        };
        Ok(Self {
            tokens: settings.tokens.as_ref().map(open).transpose()?,
            rates: Rates::new(f64::from(settings.max_call_rate)),
        })
    }

    /// The file of tokens, to be read again when it changes; `None` where calls need none.
    pub(crate) fn tokens(&self) -> Option<Arc<dyn Credentials>> {
        Some(self.tokens.clone()? as Arc<dyn Credentials>)
    }

    /// Whether calls need a token. Health checks never do, so they don't show who is at the other end.
    pub(crate) fn asks_tokens(&self) -> bool {
        self.tokens.is_some()
    }

    /// Lets a call through, or says why not. `authorization` is the header of that name.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`], [`Error::Forbidden`] and [`Error::TooOften`].
    pub(crate) fn admit(&self, kind: Kind, address: Address, authorization: Option<&[u8]>) -> Result<Caller> {
        if kind == Kind::Health {
            return Ok(Caller::default());
        }
        let caller = self.caller(authorization);
        // Guesses are counted too, by where they come from.
        let payer = match &caller {
            Ok(Caller(Some(credential))) => Payer::Name(credential.name.clone()),
            _ => Payer::from(address),
        };
        self.rates.pay(payer, Instant::now().into_std())?;
        let caller = caller?;
        match (kind, &caller.0) {
            (Kind::Admin, Some(credential)) if credential.role != Role::Admin => Err(Error::Forbidden(format!(
                "the token of `{}` is a trainer's; administration needs one of the role admin",
                credential.name
            ))),
            (Kind::Admin, None) if !address.is_local() => Err(Error::Forbidden(
                "without tokens, administration is left to callers on the server's own machine; start it with --tokens FILE"
                    .into(),
            )),
            _ => Ok(caller),
        }
    }

    /// Whose call it is. Where tokens are asked for, there is none without.
    fn caller(&self, authorization: Option<&[u8]>) -> Result<Caller> {
        let Some(file) = &self.tokens else { return Ok(Caller::default()) };
        let refuse = |reason: &str| Err(Error::Unauthenticated(reason.into()));
        let Some(header) = authorization else {
            return refuse("expected a token, found none; name its file with --token-file");
        };
        let scheme = header.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case(b"bearer "));
        let Some(token) = scheme.and_then(|_| header.get(7..)) else {
            return refuse("expected `Bearer` and a token as authorization, found something else");
        };
        let tokens = file.tokens.read().unwrap_or_else(PoisonError::into_inner).clone();
        match tokens.find(token) {
            Some(credential) => Ok(Caller(Some(credential))),
            None => refuse("the token is not one of this server's; ask those who run it for another one"),
        }
    }
}

impl Credentials for TokenFile {
    fn what(&self) -> &'static str {
        "tokens"
    }

    fn files(&self) -> &Files {
        &self.files
    }

    fn reread(&self) -> Result<()> {
        // Calls go on by the old ones while the disk is slow.
        let before = self.tokens.read().unwrap_or_else(PoisonError::into_inner).clone();
        let tokens = Arc::new(read(&self.files, &before)?);
        *self.tokens.write().unwrap_or_else(PoisonError::into_inner) = tokens;
        Ok(())
    }
}

fn read(files: &Files, before: &Tokens) -> Result<Tokens> {
    let contents = files.read()?;
    let text = contents.first().map(Vec::as_slice).unwrap_or_default();
    Tokens::parse(text, before).map_err(|reason| Error::Credentials(format!("--tokens: {reason}")))
}

impl Caller {
    /// Of a request that came through the gate.
    pub(crate) fn of(extensions: &tonic::Extensions) -> Self {
        extensions.get().cloned().unwrap_or_default()
    }

    /// The name under which a caller's work is done: its token's, or without one what it says.
    ///
    /// # Errors
    /// [`Error::Forbidden`] when it says another name than its token's.
    pub(crate) fn trainer<'a>(&'a self, said: &'a str) -> Result<&'a str> {
        match &self.0 {
            None => Ok(said),
            Some(credential) if said.is_empty() || said == credential.name => Ok(&credential.name),
            Some(credential) => Err(Error::Forbidden(format!(
                "expected the trainer's name `{}`, as its token has it, or none; found `{}`",
                credential.name,
                quoted(said)
            ))),
        }
    }

    /// Its token's name.
    pub(crate) fn name(&self) -> Option<&str> {
        self.0.as_ref().map(|credential| credential.name.as_str())
    }

    /// Cancelled when its token is withdrawn.
    pub(crate) fn withdrawn(&self) -> Option<CancellationToken> {
        self.0.as_ref().map(|credential| credential.withdrawn.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: Address = Address::Unix;

    fn remote() -> Address {
        Address::Tcp("192.0.2.7:1".parse().unwrap())
    }

    fn access(lines: &str) -> (Access, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        std::fs::write(&path, lines).unwrap();
        let settings = AccessSettings { tokens: Some(path), ..AccessSettings::default() };
        (Access::open(&settings).unwrap(), folder)
    }

    fn line(role: &str, name: &str, token: &str) -> String {
        format!("{role} {name} blake3:{}\n", blake3::hash(token.as_bytes()).to_hex())
    }

    #[test]
    fn without_tokens_all_may_stream_and_only_neighbours_administer() {
        let open = Access::open(&AccessSettings::default()).unwrap();
        for address in [LOCAL, remote(), Address::Tcp("[::ffff:127.0.0.1]:1".parse().unwrap())] {
            assert!(open.admit(Kind::Augment, address, None).is_ok());
            assert!(open.admit(Kind::Health, address, None).is_ok());
            assert_eq!(open.admit(Kind::Admin, address, None).is_ok(), address.is_local());
        }
        assert!(!remote().is_local());
    }

    #[test]
    fn with_tokens_each_role_may_do_its_own_and_nobody_else_anything() {
        let (access, _folder) = access(&(line("trainer", "one", "t") + &line("admin", "boss", "a")));
        let admit = |kind, header: Option<&str>| {
            access.admit(kind, LOCAL, header.map(str::as_bytes)).map(|caller| caller.name().unwrap_or("").to_owned())
        };
        assert_eq!(admit(Kind::Augment, Some("Bearer t")).unwrap(), "one");
        assert_eq!(admit(Kind::Augment, Some("bearer a")).unwrap(), "boss");
        assert_eq!(admit(Kind::Admin, Some("Bearer a")).unwrap(), "boss");
        assert_eq!(admit(Kind::Health, None).unwrap(), "");
        assert!(matches!(admit(Kind::Admin, Some("Bearer t")), Err(Error::Forbidden(_))));
        for wrong in [None, Some(""), Some("Bearer"), Some("Bearer "), Some("Basic t"), Some("Bearer T"), Some("t")] {
            for kind in [Kind::Augment, Kind::Admin] {
                assert!(matches!(admit(kind, wrong), Err(Error::Unauthenticated(_))), "{wrong:?}");
            }
        }
    }

    #[test]
    fn a_token_speaks_for_its_own_name_alone() {
        let (access, _folder) = access(&line("trainer", "one", "t"));
        let caller = access.admit(Kind::Augment, LOCAL, Some(b"Bearer t")).unwrap();
        assert_eq!(caller.trainer("").unwrap(), "one");
        assert_eq!(caller.trainer("one").unwrap(), "one");
        let error = caller.trainer("other").unwrap_err().to_string();
        assert_eq!(error, "expected the trainer's name `one`, as its token has it, or none; found `other`");
        assert_eq!(Caller::default().trainer("other").unwrap(), "other");
    }

    #[test]
    fn a_broken_file_leaves_the_old_tokens_and_a_good_one_withdraws_them() {
        let (access, folder) = access(&(line("trainer", "one", "t") + &line("trainer", "two", "u")));
        let (path, tokens) = (folder.path().join("tokens"), access.tokens().unwrap());
        let admit = |header: &str| access.admit(Kind::Augment, LOCAL, Some(header.as_bytes()));
        let [one, two] = ["Bearer t", "Bearer u"].map(|header| admit(header).unwrap());
        for broken in ["trainer one secret", "boss one blake3:00", "\u{fffd}"] {
            std::fs::write(&path, broken).unwrap();
            let error = tokens.reread().unwrap_err().to_string();
            assert!(error.starts_with("--tokens: line 1: expected"), "{error}");
            assert!(!error.contains("secret"), "{error}");
            assert!(admit("Bearer t").is_ok());
        }
        std::fs::remove_file(&path).unwrap();
        assert!(tokens.reread().unwrap_err().to_string().starts_with("cannot read"));
        assert!(admit("Bearer t").is_ok());
        std::fs::write(&path, line("trainer", "two", "u")).unwrap();
        tokens.reread().unwrap();
        assert!(admit("Bearer t").is_err() && admit("Bearer u").is_ok());
        let withdrawn = |caller: &Caller| caller.withdrawn().unwrap().is_cancelled();
        assert!(withdrawn(&one) && !withdrawn(&two));
    }
}
