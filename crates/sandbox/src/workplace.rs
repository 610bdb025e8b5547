//! A directory that the runtime and one command share: what one writes the other reads, and nobody else comes there.
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// How many things were made in the scratch; held while one comes or goes.
pub static MADE: Mutex<u64> = Mutex::new(0);

#[derive(Debug)]
pub struct Workplace {
    path: PathBuf,
}

impl Workplace {
    pub(crate) fn new(scratch: &Path) -> io::Result<Self> {
        let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        fs::create_dir_all(scratch)?;
        *made = made.saturating_add(1);
        let place = Self { path: scratch.canonicalize()?.join(made.to_string()) };
        fs::create_dir(&place.path)?;
        // A command may be another user, who gets this far only by being shown it.
        fs::set_permissions(scratch, Permissions::from_mode(0o711))?;
        fs::set_permissions(&place.path, Permissions::from_mode(0o777))?;
        Ok(place)
    }

    /// Real.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a directory in it, and those above it, in which a command may write.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn directory(&self, name: &str) -> io::Result<PathBuf> {
        let mut path = self.path.clone();
        for part in Path::new(name).components() {
            path.push(part);
            if let Err(error) = fs::create_dir(&path)
                && error.kind() != io::ErrorKind::AlreadyExists
            {
                return Err(error);
            }
            fs::set_permissions(&path, Permissions::from_mode(0o777))?;
        }
        Ok(path)
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        let _made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = fs::remove_dir_all(&self.path);
        // Where it was the only one.
        let _ = self.path.parent().map(fs::remove_dir);
    }
}
