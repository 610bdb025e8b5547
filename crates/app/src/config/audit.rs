//! `[audit]`: a place and a key, both out of reach of what they testify to.
use std::path::PathBuf;

use super::check::Checker;
use super::mistake::{Code, quoted};
use super::value::Spot;
use super::{AuditConfig, SinkConfig};

impl Checker<'_> {
    pub fn audit(&mut self) -> Option<AuditConfig> {
        let table = self.root.table("audit")?;
        let (sink, key) = (table.text("sink"), table.text("key"));
        if let (Some(one), None) | (None, Some(one)) = (&sink, &key) {
            let message = "`sink` and `key` go together: checkpoints are signed and go somewhere";
            self.mistakes.add(one.place, Code::MissingKey, message);
        }
        let sink = self.sink(&sink?);
        let key = self.file_outside(table, "key");
        Some(AuditConfig { sink: sink?, key: key? })
    }

    fn sink(&mut self, written: &Spot<&str>) -> Option<SinkConfig> {
        if written.value == "stdout" {
            return Some(SinkConfig::Stdout);
        }
        if written.value.contains("://") {
            if backstay_providers::is_collector(written.value) {
                return Some(SinkConfig::Collector(written.value.to_owned()));
            }
            let message = "`sink`: a collector is reached by https, without a user or a password in the URL";
            self.mistakes.add(written.place, Code::BadValue, message);
            return None;
        }
        let real = self.real("sink", written)?;
        if self.ground.holds(&real.path) {
            let message = format!("`sink`: {} lies in the home that it testifies to", quoted(written.value));
            self.mistakes.suggest(written.place, Code::OwnFiles, message, "a file outside of the home");
            return None;
        }
        self.ground.protect(&real);
        Some(SinkConfig::File(PathBuf::from(real.path)))
    }
}
