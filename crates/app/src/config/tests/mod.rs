//! Tests of the configuration, all through one harness: a home in a temporary directory and a text.
mod bite;
mod good;
mod ground;
mod mistakes;
mod rules;
mod secrets;

use std::path::Path;

use backstay_tools::manifests;
use tempfile::TempDir;

use super::{Checked, Mistakes, check_text};

pub const GOOD: &str = include_str!("good.toml");

/// A home as `init` leaves it, and a TLS pair beside it.
pub struct Home(TempDir);

impl Home {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("home")).unwrap();
        let home = Self(dir);
        std::fs::create_dir(home.path().join("workspace")).unwrap();
        for file in ["backstay.toml", "state.db", "../cert.pem", "../key.pem"] {
            std::fs::write(home.path().join(file), "").unwrap();
        }
        home
    }

    pub fn path(&self) -> std::path::PathBuf {
        self.0.path().canonicalize().unwrap().join("home")
    }

    pub fn check(&self, text: &str) -> Result<Checked, Mistakes> {
        self.check_as(text, None)
    }

    pub fn check_as(&self, text: &str, binary: Option<&Path>) -> Result<Checked, Mistakes> {
        check_text(text, &self.path(), binary, manifests())
    }

    /// `line:column code` of every mistake.
    pub fn mistakes(&self, text: &str) -> Vec<String> {
        match self.check(text) {
            Ok(_) => Vec::new(),
            Err(mistakes) => mistakes.all().iter().map(place_and_code).collect(),
        }
    }
}

fn place_and_code(mistake: &super::Mistake) -> String {
    let code = serde_json::to_value(mistake.code).unwrap();
    format!("{}:{} {}", mistake.place.line, mistake.place.column, code.as_str().unwrap())
}

/// `GOOD` with one part replaced; the part must be there.
pub fn good_but(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    GOOD.replacen(from, to, 1)
}
