//! A Unix socket at a path.
//!
//! It is bound under another name, given its permissions and then renamed to its own: nobody can
//! connect before the permissions are right, and what a killed server left behind is replaced.

#![cfg(unix)]

use crate::error::{Error, Result};
use std::{
    io,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};
use tokio::net::{UnixListener, UnixStream};

/// A bound socket; its file goes with it.
pub(super) struct UnixSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Number of its file, so that only its own is removed.
    inode: u64,
}

impl UnixSocket {
    /// Listens at a path, for those whom the permissions `mode` allow to write.
    ///
    /// # Errors
    /// [`Error::BindUnix`] when another program listens there, when there is something else, or when the
    /// folder can't be written.
    pub(super) fn bind(path: &Path, mode: u32) -> Result<Self> {
        let fail = |reason: String| Error::BindUnix { path: path.to_owned(), reason };
        match std::fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(fail("there is a file that is no socket; remove it or choose another path".into()));
            }
            Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
                return Err(fail("another program listens there; stop it or choose another path".into()));
            }
            _ => {}
        }
        let mut beside = path.to_owned().into_os_string();
        beside.push(format!(".{}", std::process::id()));
        let beside = PathBuf::from(beside);
        // From an earlier process with this number.
        let _ = std::fs::remove_file(&beside);
        let put = || -> io::Result<Self> {
            let listener = UnixListener::bind(&beside)?;
            std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(mode))?;
            let inode = std::fs::symlink_metadata(&beside)?.ino();
            std::fs::rename(&beside, path)?;
            Ok(Self { listener, path: path.to_owned(), inode })
        };
        put().map_err(|error| {
            let _ = std::fs::remove_file(&beside);
            fail(command::error::reason(&error))
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) async fn accept(&self) -> io::Result<UnixStream> {
        Ok(self.listener.accept().await?.0)
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        let ours = std::fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode);
        if ours {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(path: &Path) -> Result<UnixSocket, String> {
        UnixSocket::bind(path, 0o600).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_socket_is_private_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("faces.sock");
        let socket = bind(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        drop(socket);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn what_a_killed_server_left_is_replaced_and_what_lives_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("faces.sock");
        // As after a kill: the file is there, and nobody listens.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let first = bind(&path).unwrap();
        let error = bind(&path).err().unwrap();
        assert!(error.ends_with("another program listens there; stop it or choose another path"), "{error}");
        // A newer server's file is not the older one's to remove.
        std::fs::remove_file(&path).unwrap();
        let second = bind(&path).unwrap();
        drop(first);
        assert!(path.exists());
        drop(second);
        std::fs::write(&path, "notes").unwrap();
        assert!(bind(&path).err().unwrap().contains("a file that is no socket"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "notes");
        assert!(bind(&folder.path().join("absent/faces.sock")).is_err());
    }
}
