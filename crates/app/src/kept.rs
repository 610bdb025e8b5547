//! Small files of the home beside the journal: replaced whole or not at all, their owner's alone.
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Puts `text` on disk as the file of this name, in place of what stood there.
///
/// # Errors
/// The file that was there before stays.
pub fn replace(home: &Path, name: &str, text: &str) -> std::io::Result<()> {
    let partial = home.join(format!("{name}.new"));
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&partial, home.join(name))?;
    fs::File::open(home)?.sync_all()
}
