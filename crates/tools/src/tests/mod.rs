//! One home per test: a workspace that may be read, `workspace/out` that may be written, and an
//! outside that holds a secret.
use std::fs;
use std::path::{Path, PathBuf};
use std::slice::from_ref;
use std::sync::Arc;

use backstay_kernel::facts::{Facts, Invalid};
use backstay_kernel::id::{Digest, SessionId};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::prepare::{Refused, inspect};
use crate::roots::Roots;
use crate::run::{Acting, Asked, Ran, act};

mod crashes;
mod declared;
mod fetch;
mod known;
mod outputs;
mod own;
mod permits;
mod protected;
mod races;
mod reaching;
mod refusals;

pub const SECRET: &str = "the secret outside";
pub const KEY: Digest = Digest([7; 32]);

pub struct Home {
    pub dir: TempDir,
    pub roots: Roots,
}

impl Home {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let workspace = dir.path().join("workspace");
        let outside = dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("secret"), SECRET).unwrap();
        let roots = Roots::open(&workspace, from_ref(&workspace), &[workspace.join("out")]).unwrap();
        Self { dir, roots }
    }

    /// A path in the workspace.
    pub fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join("workspace").join(path)
    }

    pub fn outside(&self) -> PathBuf {
        self.dir.path().join("outside")
    }

    pub fn put(&self, path: &str, content: impl AsRef<[u8]>) {
        fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
        fs::write(self.at(path), content).unwrap();
    }

    pub fn text(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap()
    }

    pub fn inspect(&self, tool: &str, arguments: Value) -> Result<Facts, Refused> {
        inspect(&self.roots, tool, &arguments.to_string())
    }

    pub fn why(&self, tool: &str, arguments: Value) -> Invalid {
        self.inspect(tool, arguments).unwrap_err().why
    }

    pub fn act(&self, tool: &str, arguments: &Value, judged: &Facts) -> Ran {
        let call = Asked {
            principal: "owner",
            session: SessionId::default(),
            tool,
            arguments: &arguments.to_string(),
            as_values: false,
        };
        let acting = Some(Acting::in_a_test());
        act(&KEY, Some(judged.digest()), acting, &self.roots, call, judged, &Arc::default()).ran
    }

    /// Inspects and acts, with nothing in between.
    pub fn call(&self, tool: &str, arguments: Value) -> Ran {
        match self.inspect(tool, arguments.clone()) {
            Ok(facts) => self.act(tool, &arguments, &facts),
            Err(refused) => Ran::failed(refused.detail),
        }
    }

    /// The text of a call that succeeds.
    pub fn done(&self, tool: &str, arguments: Value) -> String {
        let ran = self.call(tool, arguments);
        let Ran::Done { text, .. } = ran else { panic!("{ran:?}") };
        text
    }
}

/// Names in a directory, sorted.
pub fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

pub fn path(path: &str) -> Value {
    json!({ "path": path })
}

pub fn content(path: &str, content: &str) -> Value {
    json!({ "path": path, "content": content })
}
