//! Repositories on the network: which one a call speaks with, what it would change there, and which grant lets it.
use alloc::borrow::ToOwned as _;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::destination::{Destination, HostGrant};
use crate::rule::{Test, is_under};

/// What a call does with a repository, beside where that is.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Git {
    /// As [`repository`] names it.
    pub repo: String,
    /// In full, or `HEAD`: those that are fetched, or the one that is moved.
    pub refs: Vec<String>,
    /// A call without one only fetches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub push: Option<Box<Push>>,
}

/// Where a ref of somebody else's would be moved from and to.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Push {
    /// The commit that it must stand at; `None`: it must not be there.
    pub old: Option<String>,
    pub new: String,
    /// What stood there is not part of what comes there, as far as anybody can tell.
    pub force: bool,
    /// The paths that differ; `None` where nobody can tell.
    pub changed: Option<Vec<String>>,
    /// Other programs act by some of them, or nobody can tell.
    pub acts: bool,
}

/// A repository's name in one form: its host, the port where it is not the scheme's own, and its path without `.git`.
#[must_use]
pub fn repository(to: &Destination) -> String {
    let path = to.path.trim_end_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    if to.port == to.scheme.port() { format!("{}{path}", to.host) } else { format!("{}:{}{path}", to.host, to.port) }
}

/// A repository's name as rules compare it: many servers know no case, and take `.git` and `/` as often as they are written.
#[must_use]
pub fn compared(repo: &str) -> String {
    let whole = repo.to_lowercase();
    let mut name = whole.as_str();
    loop {
        let shorter = name.trim_end_matches('/').trim_end_matches(".git");
        if shorter == name {
            return name.to_owned();
        }
        name = shorter;
    }
}

/// Whether a URL's path is one that git asks for, of whatever repository.
#[must_use]
pub fn is_asked(path: &str) -> bool {
    let ends = ["/info/refs", "/git-upload-pack", "/git-receive-pack", "/HEAD"];
    ends.iter().any(|end| path.ends_with(end)) || path.contains("/objects/")
}

/// Every repository that a request may be to, as rules compare them: those whose path it lies below.
#[must_use]
pub fn above(to: &Destination) -> Vec<String> {
    let whole = repository(to);
    whole.match_indices('/').filter_map(|(end, _)| whole.get(..end)).map(compared).collect()
}

/// Whether it is a commit's name in full: forty hexadecimal digits.
#[must_use]
pub fn is_id(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// A ref's name in full, from one in full or from that of a branch. What git would refuse, and what two readers
/// could read in two ways, is none.
#[must_use]
pub fn reference(name: &str) -> Option<String> {
    const NAME_BYTES_MAX: usize = 200;
    let full = if name.starts_with("refs/") { name.to_owned() } else { format!("refs/heads/{name}") };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./+=#,%!&".contains(&byte);
    let is_part = |part: &str| !part.is_empty() && !part.starts_with(['.', '-']) && !part.ends_with(".lock");
    let parts = full.split('/').count();
    let is_good = full.len() <= NAME_BYTES_MAX
        && full.bytes().all(is_plain)
        && full.split('/').all(is_part)
        && !full.ends_with('.')
        && !full.contains("..")
        && parts >= 3;
    is_good.then_some(full)
}

/// Repositories that an agent may fetch from, and what it may push there.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GitGrant {
    /// As [`repository`] names it: itself, and all below it.
    pub repo: String,
    pub at: HostGrant,
    /// Globs of the refs that may be moved; none of them: nothing is pushed.
    pub push: Vec<String>,
}

impl GitGrant {
    /// Whether it lets a call speak with this repository, and move what it would.
    #[must_use]
    pub fn covers(&self, to: &Destination, git: &Git) -> bool {
        let may_push = |name: &String| self.push.iter().any(|glob| Test::Glob(glob.clone()).holds(name));
        self.at.covers(to)
            && git.repo == repository(to)
            && is_under(&git.repo, &self.repo)
            && (git.push.is_none() || !git.refs.is_empty() && git.refs.iter().all(may_push))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::destination::{Audience, Method};
    use crate::url::Url;

    fn to(url: &str, method: Method) -> Destination {
        Destination::of(&Url::read(url).unwrap(), method, 0)
    }

    #[test]
    fn a_repository_has_one_name() {
        for (url, name) in [
            ("https://github.com/acme/app", "github.com/acme/app"),
            ("https://GitHub.com:443/acme/app.git", "github.com/acme/app"),
            ("https://github.com/acme/app.git/", "github.com/acme/app"),
            ("https://git.test:8443/a.git", "git.test:8443/a"),
            ("http://git.test/a", "git.test/a"),
            ("http://git.test:443/a", "git.test:443/a"),
        ] {
            assert_eq!(repository(&to(url, Method::Get)), name, "{url}");
        }
    }

    #[test]
    fn rules_see_one_name_in_every_spelling() {
        for name in [
            "git.test/acme/secret",
            "git.test/Acme/Secret",
            "git.test/acme/secret.GIT",
            "git.test/acme/secret.git.Git",
            "git.test/acme/secret/",
            "git.test/acme/secret/.git",
            "git.test/acme/secret.git/.git//",
        ] {
            assert_eq!(compared(name), "git.test/acme/secret", "{name}");
        }
        assert_eq!(compared("git.test/acme/legit"), "git.test/acme/legit");
        assert_eq!(compared("git.test/acme/.git/secret"), "git.test/acme/.git/secret");
    }

    #[test]
    fn a_ref_is_named_in_one_way_or_not_at_all() {
        for (name, full) in [
            ("main", Some("refs/heads/main")),
            ("agent/x", Some("refs/heads/agent/x")),
            ("refs/tags/v1.0", Some("refs/tags/v1.0")),
            ("refs/x", None),
            ("", None),
            ("-d", None),
            ("a..b", None),
            ("a//b", None),
            ("a/.b", None),
            ("a.lock", None),
            ("a.lock/b", None),
            ("a.", None),
            ("/a", None),
            ("a/", None),
            ("a b", None),
            ("a~1", None),
            ("a^", None),
            ("a:b", None),
            ("a*", None),
            ("a\nb", None),
            ("ä", None),
        ] {
            assert_eq!(reference(name).as_deref(), full, "{name}");
        }
        assert!(reference(&"a".repeat(200)).is_none());
        assert!(is_id(&"0a".repeat(20)) && !is_id(&"0A".repeat(20)) && !is_id("0a"));
    }

    #[test]
    fn a_grant_is_of_whole_segments_and_lets_be_pushed_what_it_names() {
        let at = HostGrant {
            host: "git.test".to_owned(),
            port: 443,
            methods: Vec::from([Method::Get, Method::Post]),
            path_prefix: "/".to_owned(),
            allow_private: Vec::new(),
            audience: Audience::Public,
            secrets: false,
            tunnel: false,
        };
        let push = Vec::from(["refs/heads/agent/*".to_owned()]);
        let grant = GitGrant { repo: "git.test/acme".to_owned(), at, push };
        let pushed = Push { old: None, new: "0".repeat(40), force: false, changed: None, acts: true };
        let asks = |url: &str, names: &[&str], pushes: bool| {
            let to = to(url, if pushes { Method::Post } else { Method::Get });
            let push = pushes.then(|| Box::new(pushed.clone()));
            let refs = names.iter().map(|name| (*name).to_owned()).collect();
            grant.covers(&to, &Git { repo: repository(&to), refs, push })
        };
        assert!(asks("https://git.test/acme/app.git", &["HEAD"], false));
        assert!(asks("https://git.test/acme", &["refs/heads/x"], false));
        for url in ["https://git.test/acme2/app", "https://git.test/", "https://git.test:8443/acme/app"] {
            assert!(!asks(url, &["HEAD"], false), "{url}");
        }
        assert!(!asks("http://git.test/acme/app", &["HEAD"], false), "in clear text");
        assert!(asks("https://git.test/acme/app", &["refs/heads/agent/a"], true));
        assert!(!asks("https://git.test/acme/app", &["refs/heads/main"], true));
        assert!(!asks("https://git.test/acme/app", &["refs/heads/agent/a/b"], true));
        assert!(!asks("https://git.test/acme/app", &["refs/heads/agent/a", "refs/heads/main"], true));
        assert!(!asks("https://git.test/acme/app", &[], true));
        // One that lies about where it goes.
        let elsewhere = to("https://git.test/other/app", Method::Get);
        let refs = Vec::from(["HEAD".to_owned()]);
        assert!(!grant.covers(&elsewhere, &Git { repo: "git.test/acme/app".to_owned(), refs, push: None }));
    }
}
