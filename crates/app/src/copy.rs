//! Copies a workspace with its links and modes, for backups and their way back.
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::path::Path;

/// Copies everything below `from` into the directory `to`, which is made for its owner alone.
/// Links are copied as links, never followed; sockets, pipes and devices are left out.
///
/// # Errors
/// The first file that could not be read or written.
pub fn tree(from: &Path, to: &Path) -> io::Result<u64> {
    let mut files = 0;
    let mut waiting = vec![(from.to_owned(), to.to_owned())];
    while let Some((from, to)) = waiting.pop() {
        make(&to)?;
        for entry in fs::read_dir(&from)? {
            let entry = entry?;
            let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
            if kind.is_dir() {
                waiting.push((entry.path(), target));
            } else if kind.is_symlink() {
                symlink(fs::read_link(entry.path())?, target)?;
                files += 1;
            } else if kind.is_file() {
                file(&entry.path(), &target)?;
                files += 1;
            }
        }
        fs::File::open(&to)?.sync_all()?;
    }
    Ok(files)
}

/// Copies one file and flushes it.
///
/// # Errors
/// It could not be read or written.
pub fn file(from: &Path, to: &Path) -> io::Result<()> {
    fs::copy(from, to)?;
    fs::File::open(to)?.sync_all()
}

fn make(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_copied_and_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        fs::create_dir_all(from.join("a/b")).unwrap();
        fs::write(from.join("a/b/x"), "x").unwrap();
        fs::write(directory.path().join("outside"), "secret").unwrap();
        symlink("../outside", from.join("out")).unwrap();
        symlink(".", from.join("a/loop")).unwrap();
        assert_eq!(tree(&from, &to).unwrap(), 3);
        assert_eq!(fs::read_to_string(to.join("a/b/x")).unwrap(), "x");
        assert_eq!(fs::read_link(to.join("out")).unwrap(), Path::new("../outside"));
        assert_eq!(fs::read_link(to.join("a/loop")).unwrap(), Path::new("."));
    }
}
