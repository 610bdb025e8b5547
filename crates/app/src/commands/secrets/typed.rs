//! A value that is typed at a terminal and does not appear on it.
use std::io::{self, Read as _, Write as _};

use backstay_secrets::SecretString;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// A terminal that echoes nothing and hands over each key, until this is dropped.
struct Hidden(Termios);

impl Hidden {
    fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut silent = before.clone();
        // Ctrl-C comes as a key: a signal would leave the terminal as it is now.
        silent.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        tcsetattr(io::stdin(), OptionalActions::Flush, &silent)?;
        Ok(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
        let _ = writeln!(io::stderr());
    }
}

/// Asks on stderr and reads one line.
///
/// # Errors
/// Ctrl-C, an end before the line's, or a terminal that cannot be silenced.
pub fn hidden(prompt: &str) -> io::Result<SecretString> {
    let _hidden = Hidden::begin()?;
    let mut stderr = io::stderr();
    let _ = write!(stderr, "{prompt}").and_then(|()| stderr.flush());
    let mut line = Vec::with_capacity(256);
    for byte in io::stdin().lock().bytes() {
        match byte? {
            b'\r' | b'\n' => {
                let line = String::from_utf8(line).map_err(|_| io::Error::other("it is not UTF-8"))?;
                return Ok(SecretString::from(line));
            }
            0x03 => return Err(io::Error::other("interrupted")),
            0x04 => return Err(io::Error::other("ended")),
            0x7f | 0x08 => drop(line.pop()),
            other => line.push(other),
        }
    }
    Err(io::Error::other("ended"))
}
