//! What must hold of any file of rules that an operator might write: the laws that the loop of `words` holds made-up
//! files to, and those that it keeps. They are read by the real binary, in a home of its own.
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

/// Pieces that rules are made of besides those that are kept.
pub const PIECES: [&str; 69] = [
    "[[agents.main.rules]]\n",
    "[[rules]]\n",
    "ask = { role = \"owner\", channels = \"cli\" }\n",
    "mode = \"terminate\"\n",
    "[agents.main.rules]\n",
    "name = \"r\"\n",
    "verdict = \"deny\"\n",
    "verdict = \"ask\"\n",
    "verdict = \"allow\"\n",
    "verdict = \"alow\"\n",
    "match = { tool = \"write_file\" }\n",
    "match = {}\n",
    "match = [",
    "unless = { path = { under = \"workspace/out\" } }\n",
    "path = { glob = \"**/x/*\" }",
    "path = \"../x\"",
    "class = [\"read\", \"write\"]",
    "class = { not_in = [\"send\"] }",
    "bytes_out = { gte = 5, lt = 9 }",
    "clock = { between = [\"08:00\", \"18:00\"], tz = \"Europe/Zurich\" }",
    "weekday = [\"mon\"]",
    "role = \"owner\"",
    "host = { subdomain_of = \"a.example\" }",
    "label.conf = \"secret\"",
    "\"label.integrity\" = \"untrusted\"",
    "program = { intersects = [\"git\"] }",
    "ask = { role = [\"owner\"], expires = \"5m\" }\n",
    "until = 2026-12-31\n",
    "until = \"2026-12-31\"\n",
    "reason = \"why\"\n",
    "matches = [{ tool = \"write_file\", path = \"workspace/a\" }]\n",
    "does_not_match = [{}]\n",
    "limit = [{ count = true, per = [\"home\"], window = \"1h\", max = 3, over = \"deny\" }]\n",
    "limit = [{ sum = \"bytes_out\", window = \"24h\", max = 1, over = \"ask\" }]\n",
    "priority = 1\n",
    "= ",
    ", ",
    "{ ",
    " }",
    "[",
    "]",
    "\"",
    "'",
    "\"\"\"",
    "\n",
    "\\",
    "\\u0000",
    "#",
    "true",
    "-1",
    "9223372036854775807",
    "1e400",
    "0x",
    "1979-05-27T07:32:00Z",
    ".",
    "..",
    "/",
    "**",
    "*",
    "[a-",
    "\u{202e}",
    "\u{e9}",
    "tool",
    "path",
    "glob",
    "under",
    "lt",
    "nan",
    "not_in",
];

/// What two files must differ in to be worth keeping both: the mistakes that are found.
pub type Shape = u64;

/// A home whose config has a place for rules.
pub struct Reader {
    binary: PathBuf,
    home: TempDir,
    before: String,
}

impl Reader {
    /// # Errors
    /// The home could not be made.
    pub fn new(binary: &Path) -> std::io::Result<Self> {
        let home = tempfile::tempdir()?;
        let at = home.path().join("home");
        let made = Command::new(binary).arg("--home").arg(&at).arg("init").output()?;
        if !made.status.success() {
            return Err(std::io::Error::other(String::from_utf8_lossy(&made.stderr).into_owned()));
        }
        let before = std::fs::read_to_string(at.join("backstay.toml"))?;
        Ok(Self { binary: binary.to_owned(), home, before })
    }

    /// # Errors
    /// The law that the file breaks.
    pub fn check(&self, rules: &str) -> Result<Shape, String> {
        let home = self.home.path().join("home");
        let text = format!("{}\n{rules}", self.before);
        std::fs::write(home.join("backstay.toml"), &text).map_err(|error| error.to_string())?;
        let mut command = Command::new(&self.binary);
        let read = command.arg("--home").arg(&home).args(["config", "check", "--json"]).output();
        let read = read.map_err(|error| error.to_string())?;
        let said: Value = serde_json::from_slice(&read.stdout).unwrap_or_default();
        let mistakes = said.get("mistakes").and_then(Value::as_array).cloned().unwrap_or_default();
        match read.status.code() {
            Some(0) if mistakes.is_empty() => Ok(0),
            Some(2) if !mistakes.is_empty() => self.places(&text, &mistakes),
            _ => Err(format!("{}: {}", read.status, String::from_utf8_lossy(&read.stderr))),
        }
    }

    fn places(&self, text: &str, mistakes: &[Value]) -> Result<Shape, String> {
        let lines = u64::try_from(text.split('\n').count()).unwrap_or(u64::MAX);
        let mut shape = 0u64;
        for mistake in mistakes {
            let line = mistake.get("line").and_then(Value::as_u64).unwrap_or_default();
            if !(1..=lines).contains(&line) {
                return Err(format!("no such place: {mistake}"));
            }
            let code = mistake.get("code").and_then(Value::as_str).unwrap_or_default();
            if code.is_empty() || mistake.get("message").and_then(Value::as_str).is_none_or(str::is_empty) {
                return Err(format!("it says nothing: {mistake}"));
            }
            shape |=
                1 << (code.bytes().fold(0u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte))) % 64);
        }
        Ok(shape)
    }
}
