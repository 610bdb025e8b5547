//! Copies the workspace and the config beside a backup of the journal: directories and plain files. A
//! link is left out, since it may lead anywhere.
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// How many files were copied; `to` must not exist.
///
/// # Errors
/// The first file that cannot be copied.
pub fn copy(from: &Path, to: &Path) -> io::Result<u64> {
    let mut files = 0;
    let mut open: Vec<(PathBuf, PathBuf)> = vec![(from.to_owned(), to.to_owned())];
    while let Some((from, to)) = open.pop() {
        fs::create_dir(&to)?;
        for entry in fs::read_dir(&from)? {
            let entry = entry?;
            let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
            if kind.is_dir() {
                open.push((entry.path(), target));
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
    fn files_and_directories_are_copied_and_links_are_not() {
        let place = tempfile::tempdir().unwrap();
        let from = place.path().join("from");
        fs::create_dir_all(from.join("a/b")).unwrap();
        fs::write(from.join("a/b/c.txt"), "text").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", from.join("link")).unwrap();
        let to = place.path().join("to");
        assert_eq!(copy(&from, &to).unwrap(), 1);
        assert_eq!(fs::read_to_string(to.join("a/b/c.txt")).unwrap(), "text");
        assert!(!to.join("link").exists());
        assert!(copy(&from, &to).is_err(), "never into what is there");
    }
}
