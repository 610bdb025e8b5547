//! The log goes to stderr: JSON lines where a program collects them, plain lines for a person.
use std::io::IsTerminal as _;

use tracing::Level;

/// A serving process tells what it does, any other command only what is wrong.
pub fn start(serving: bool) {
    let level = if serving { Level::INFO } else { Level::WARN };
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(level).with_ansi(false);
    // A line that the disk has no room for is lost, and nothing else: told of on stderr, it would fail
    // again there and take the caller down.
    let log = log.log_internal_errors(false);
    // It can only be set once, and this is the one place.
    if serving && !std::io::stderr().is_terminal() {
        log.json().init();
    } else {
        log.with_target(false).without_time().init();
    }
}
