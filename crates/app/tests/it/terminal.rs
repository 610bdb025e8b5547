//! A person at a terminal: the binary in the foreground of a pseudo-terminal, keys that are typed,
//! words that are waited for.
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::place::Place;

/// How long words may take to be shown: a test that waits longer says what was shown instead.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Terminal {
    keys: File,
    words: Receiver<Vec<u8>>,
    child: Child,
    /// Everything that was shown, and how much of it has been waited for.
    shown: String,
    seen: usize,
}

impl Terminal {
    /// `setsid` makes the terminal the one whose Ctrl-C reaches the binary.
    pub fn open(place: &Place, arguments: &[&str], columns: u16) -> Self {
        let keys = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&keys).unwrap();
        unlockpt(&keys).unwrap();
        let name = ptsname(&keys, Vec::new()).unwrap().into_string().unwrap();
        tcsetwinsize(&keys, Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let side = || OpenOptions::new().read(true).write(true).open(&name).unwrap();
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait", env!("CARGO_BIN_EXE_backstay")]).args(arguments).env_clear();
        command.env("HOME", place.path("")).env("BACKSTAY_HOME", place.home()).env("NO_COLOR", "1");
        let child = command.stdin(side()).stdout(side()).stderr(side()).spawn().unwrap();
        let keys = File::from(keys);
        let (sender, words) = channel();
        let mut screen = keys.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // Reading fails once nobody has the other side open.
            while let Ok(count @ 1..) = screen.read(&mut bytes) {
                if sender.send(bytes[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { keys, words, child, shown: String::new(), seen: 0 }
    }

    pub fn key_in(&mut self, text: &str) {
        self.keys.write_all(text.as_bytes()).unwrap();
    }

    /// Reads until `text` is shown after what was waited for before, and returns all that was
    /// shown up to its end.
    pub fn wait_for(&mut self, text: &str) -> String {
        loop {
            if let Some(at) = self.shown[self.seen..].find(text) {
                let end = self.seen + at + text.len();
                let before = self.shown[self.seen..end].to_owned();
                self.seen = end;
                return before;
            }
            assert!(self.read(), "`{text}` was not shown:\n{}", self.shown);
        }
    }

    /// Everything else that is shown, and the exit code.
    pub fn end(mut self) -> (String, i32) {
        while self.read() {}
        (self.shown[self.seen..].to_owned(), self.child.wait().unwrap().code().unwrap())
    }

    /// False at the end, and where nothing comes any more.
    fn read(&mut self) -> bool {
        let Ok(bytes) = self.words.recv_timeout(PATIENCE) else { return false };
        self.shown.push_str(&String::from_utf8_lossy(&bytes));
        true
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
