//! `git_fetch` and `git_push`: refs of a granted repository come into one of the workspace, and one of them is moved to a
//! commit of it. The protocol is spoken here, over the same way out as every request, and no git has a network or a credential. What git does with objects it does in a
//! sandbox, with a configuration of ours: of the workspace it is shown the objects and nothing else.
mod local;
mod pack;
mod packets;
mod remote;
mod work;

mod acts;
mod fetch;
mod push;

use backstay_kernel::destination::{Destination, HostGrant, Method};
use backstay_kernel::facts::Invalid;
use backstay_kernel::git::{Git, repository};
use backstay_kernel::url::Url;

use crate::prepare::Refused;
use crate::roots::Roots;
use crate::text::plain;

pub use fetch::{Fetch, fetch, prepare as prepare_fetch};
pub use push::{Push, prepare as prepare_push, push};

fn bad(detail: String) -> Refused {
    Refused::new(Invalid::BadArguments, detail)
}

/// A repository's URL, without what no repository's has.
fn url(text: &str) -> Result<Url, Refused> {
    let url = Url::read(text).map_err(|error| bad(format!("`url`: {error}")))?;
    let is_plain = !url.text().contains('?') && url.path != "/" && !url.path.ends_with('/');
    if !is_plain {
        return Err(bad(
            "`url` is no repository's, such as https://git.example.com/team/app.git: no query, no closing `/`"
                .to_owned(),
        ));
    }
    // Servers take it for the repository that it lies in, and rules name that one.
    if url.path.rsplit('/').next().is_some_and(|last| last.eq_ignore_ascii_case(".git")) {
        return Err(bad("`url` names the directory `.git` of a repository: leave out the closing `/.git`".to_owned()));
    }
    Ok(url)
}

/// Where a call goes; `told`: bytes of what it tells there, beside the URL.
fn destination(url: &Url, method: Method, told: usize) -> Destination {
    let to = Destination::of(url, method, 0);
    let told = u64::try_from(told).unwrap_or(u64::MAX);
    Destination { url_bytes: to.url_bytes.saturating_add(told), ..to }
}

/// What lets the call.
fn granted(roots: &Roots, to: &Destination, git: &Git) -> Result<HostGrant, Refused> {
    let grants = roots.hosts().map_or(&[][..], |hosts| &hosts.repositories);
    if let Some(grant) = grants.iter().find(|grant| grant.covers(to, git)) {
        return Ok(grant.at.clone());
    }
    let repo = plain(&repository(to));
    let (what, more) = match (&git.push, git.refs.first()) {
        (Some(_), Some(name)) => {
            (format!("pushing {} to {repo}", plain(name)), format!(", push = [\"{}\"]", plain(name)))
        }
        (Some(_) | None, _) => (format!("fetching from {repo}"), String::new()),
    };
    let detail = format!(
        "{what} is not granted; nothing was sent. An operator allows it by {{ url = \"{}://{repo}\"{more} }} in `git` of this agent's grants",
        to.scheme.word()
    );
    Err(Refused::new(Invalid::OutsideGrants, detail))
}

#[cfg(test)]
mod tests {
    use super::url;

    #[test]
    fn a_repository_is_named_by_its_own_url_alone() {
        for text in ["https://git.test/team/app", "https://git.test/team/app.git", "https://git.test/.github"] {
            assert!(url(text).is_ok(), "{text}");
        }
        for other in ["/team/app/.git", "/team/app/.GIT", "/.git", "/team/app/", "/team/app?x=1", "/"] {
            assert!(url(&format!("https://git.test{other}")).is_err(), "{other}");
        }
    }
}
