//! Copies a workspace and a config, for backups and their way back: directories, files with their
//! modes, and links as links, which are never followed.
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::path::Path;

/// How many files and links were copied into `to`, which is made for its owner alone where it is
/// missing. Sockets, pipes and devices are left out.
///
/// # Errors
/// The first file that cannot be copied.
pub fn copy(from: &Path, to: &Path) -> io::Result<u64> {
    let mut files = 0;
    let mut open = vec![(from.to_owned(), to.to_owned())];
    while let Some((from, to)) = open.pop() {
        if !to.is_dir() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&to)?;
        }
        for entry in fs::read_dir(&from)? {
            let entry = entry?;
            let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
            if kind.is_dir() {
                open.push((entry.path(), target));
            } else if kind.is_symlink() {
                symlink(fs::read_link(entry.path())?, target)?;
                files += 1;
            } else if kind.is_file() {
                copy_file(&entry.path(), &target)?;
                files += 1;
            }
        }
        fs::File::open(&to)?.sync_all()?;
    }
    Ok(files)
}

/// With its mode, and onto the disk.
///
/// # Errors
/// It cannot be read or written.
pub fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    fs::copy(from, to)?;
    fs::File::open(to)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_copied_and_not_followed() {
        let place = tempfile::tempdir().unwrap();
        let (from, to) = (place.path().join("from"), place.path().join("to"));
        fs::create_dir_all(from.join("a/b")).unwrap();
        fs::write(from.join("a/b/x"), "x").unwrap();
        fs::write(place.path().join("outside"), "secret").unwrap();
        symlink("../outside", from.join("out")).unwrap();
        symlink(".", from.join("a/loop")).unwrap();
        assert_eq!(copy(&from, &to).unwrap(), 3);
        assert_eq!(fs::read_to_string(to.join("a/b/x")).unwrap(), "x");
        assert_eq!(fs::read_link(to.join("out")).unwrap(), Path::new("../outside"));
        assert_eq!(fs::read_link(to.join("a/loop")).unwrap(), Path::new("."));
    }
}
