//! The log goes to stderr: JSON lines where a program collects them, plain lines for a person. No secret of the
//! home goes with it.
use std::io::{self, IsTerminal as _, Write};
use std::sync::OnceLock;

use backstay_secrets::{Taken, Vault};
use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Whose values are taken out, once a home is open.
static VAULT: OnceLock<Vault> = OnceLock::new();

/// Takes the values of this home out of all that is logged from here on, and logs where they were taken out of what
/// comes in.
pub fn guard(vault: &Vault) {
    vault.tell(|secret, forms| tracing::info!(secret, forms, "a secret's value was taken out of a text"));
    // One process opens one home.
    let _ = VAULT.set(vault.clone());
}

/// Stderr; each write is one whole line.
struct Guarded;

impl Write for Guarded {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match VAULT.get() {
            Some(vault) => {
                let mut taken = Taken::new();
                io::stderr().write_all(&vault.redactor().clean_bytes(line, &mut taken))?;
                // A line about it would be one more line from here.
                vault.count(&taken);
            }
            None => io::stderr().write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// A serving process tells what it does, any other command only what is wrong.
pub fn start(serving: bool) {
    let level = if serving { Level::INFO } else { Level::WARN };
    // What servers of tools say is no word of this program's, and may hold anything.
    let ours = Targets::new().with_default(level).with_target("rmcp", LevelFilter::OFF);
    let log = tracing_subscriber::fmt().with_writer(|| Guarded).with_max_level(level).with_ansi(false);
    // A line that the disk has no room for is lost, and nothing else: told of on stderr, it would fail
    // again there and take the caller down.
    let log = log.log_internal_errors(false);
    // It can only be set once, and this is the one place.
    if serving && !std::io::stderr().is_terminal() {
        log.json().finish().with(ours).init();
    } else {
        log.with_target(false).without_time().finish().with(ours).init();
    }
}
