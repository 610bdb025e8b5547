//! Why a command did not do what it was asked: stable words, each with an exit code and a page in the error reference.
use backstay_channels::Why;

use crate::exit::Exit;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// As the API says it.
    Answered(Why),
    Altered,
    AnothersHome,
    Busy,
    Config,
    Damaged,
    Exists,
    Fault,
    Foreign,
    Gone,
    Io,
    Left,
    Listen,
    LoginRefused,
    Newer,
    NoBackup,
    NoConfig,
    NoHome,
    NoTurn,
    NotABackup,
    NotAFile,
    NotRunning,
    Setup,
    Stdout,
    UnsafeFs,
    Usage,
}

impl Cause {
    /// All but the API's.
    #[cfg(test)]
    const OWN: [Self; 25] = [
        Self::Altered,
        Self::AnothersHome,
        Self::Busy,
        Self::Config,
        Self::Damaged,
        Self::Exists,
        Self::Fault,
        Self::Foreign,
        Self::Gone,
        Self::Io,
        Self::Left,
        Self::Listen,
        Self::LoginRefused,
        Self::Newer,
        Self::NoBackup,
        Self::NoConfig,
        Self::NoHome,
        Self::NoTurn,
        Self::NotABackup,
        Self::NotAFile,
        Self::NotRunning,
        Self::Setup,
        Self::Stdout,
        Self::UnsafeFs,
        Self::Usage,
    ];

    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Answered(why) => why.word(),
            Self::Altered => "altered",
            Self::AnothersHome => "anothers_home",
            Self::Busy => "busy",
            Self::Config => "config",
            Self::Damaged => "damaged",
            Self::Exists => "exists",
            Self::Fault => "fault",
            Self::Foreign => "foreign",
            Self::Gone => "gone",
            Self::Io => "io",
            Self::Left => "left",
            Self::Listen => "listen",
            Self::LoginRefused => "login_refused",
            Self::Newer => "newer",
            Self::NoBackup => "no_backup",
            Self::NoConfig => "no_config",
            Self::NoHome => "no_home",
            Self::NoTurn => "no_turn",
            Self::NotABackup => "not_a_backup",
            Self::NotAFile => "not_a_file",
            Self::NotRunning => "not_running",
            Self::Setup => "setup",
            Self::Stdout => "stdout",
            Self::UnsafeFs => "unsafe_fs",
            Self::Usage => "usage",
        }
    }

    #[must_use]
    pub fn exit(self) -> Exit {
        match self {
            Self::Answered(why) => Exit::of_status(why.status()),
            Self::Config | Self::Setup | Self::Usage => Exit::Usage,
            Self::AnothersHome
            | Self::Exists
            | Self::LoginRefused
            | Self::Newer
            | Self::NoConfig
            | Self::NotABackup
            | Self::UnsafeFs => Exit::Refused,
            Self::Left => Exit::Waiting,
            Self::NoBackup | Self::NoHome | Self::NoTurn => Exit::NotFound,
            Self::Busy => Exit::Busy,
            Self::Altered
            | Self::Damaged
            | Self::Fault
            | Self::Foreign
            | Self::Gone
            | Self::Io
            | Self::Listen
            | Self::NotAFile
            | Self::NotRunning
            | Self::Stdout => Exit::Fault,
        }
    }
}

impl From<Why> for Cause {
    fn from(why: Why) -> Self {
        Self::Answered(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_has_a_page_that_says_its_exit_code() {
        let pages = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors");
        for cause in Cause::OWN {
            let page = std::fs::read_to_string(pages.join(format!("{}.md", cause.word()))).unwrap_or_default();
            let says = format!("by the command line alone; exit code {}.", cause.exit().code());
            assert!(page.contains(&says), "docs/errors/{}.md: {says}", cause.word());
        }
    }
}
