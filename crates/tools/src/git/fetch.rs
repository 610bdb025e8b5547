//! `git_fetch`: what a granted repository has under some names, and all that belongs to it, comes into a repository of
//! the workspace. No file of the working copy changes.
use std::sync::atomic::{AtomicBool, Ordering};

use backstay_kernel::destination::{HostGrant, Method};
use backstay_kernel::facts::{Access, Facts, PathFact, Starts, Tier};
use backstay_kernel::git::{Git, reference, repository};
use backstay_kernel::id::Digest;
use backstay_kernel::label::Label;
use backstay_kernel::tool::EffectClass;
use backstay_kernel::url::Url;
use backstay_sandbox::{Joint, Program, Simple};
use serde::Serialize;

use super::local::{Local, kept};
use super::remote::{Remote, Unsaid};
use super::work::{self, Undone, Work};
use super::{bad, destination, granted, url};
use crate::arguments::GitFetch;
use crate::limits::{GIT_PACK_BYTES_MAX, GIT_REFS_MAX};
use crate::prepare::{Action, Prepared, Refused};
use crate::roots::Roots;
use crate::run::{Acted, Acting, Ran};
use crate::text::plain;
use crate::write::write;

/// Bytes of a name of an object, as it is sent.
const ID_BYTES: usize = 40;
/// What the other side's default branch is called.
const HEAD: &str = "HEAD";

/// A fetch that could be made now.
#[derive(Debug)]
pub struct Fetch {
    url: Url,
    local: Local,
    wanted: Vec<Wanted>,
    at: HostGrant,
    found: Vec<Program>,
}

/// One ref.
#[derive(Debug)]
struct Wanted {
    name: String,
    /// As it is called here.
    kept: String,
    /// Where it stands here.
    has: Option<String>,
}

pub fn prepare(roots: &Roots, call: &GitFetch) -> Result<Prepared, Refused> {
    let url = url(&call.url)?;
    let names = match call.refs.as_slice() {
        [] => vec![HEAD.to_owned()],
        named => named.iter().map(|name| in_full(name)).collect::<Result<_, _>>()?,
    };
    if names.len() > GIT_REFS_MAX {
        return Err(bad(format!("`refs` names more than {GIT_REFS_MAX}")));
    }
    // What is said here of where each of them stands is told in any case, so that a second try is the same call.
    let told = names.iter().map(|name| name.len().saturating_add(ID_BYTES)).sum();
    let to = destination(&url, Method::Get, told);
    let git = Git { repo: repository(&to), refs: names.clone(), push: None };
    let at = granted(roots, &to, &git)?;
    let local = Local::open(roots, call.repo.as_deref())?;
    local.is_writable(roots)?;
    let mut paths = vec![PathFact::new(Access::Write, local.objects.clone())];
    let mut wanted: Vec<Wanted> = Vec::new();
    for name in names {
        let kept = kept(&git.repo, &name).ok_or_else(|| bad(format!("`{}` cannot be kept as a ref", plain(&name))))?;
        if !wanted.iter().any(|wanted| wanted.name == name) {
            let has = local.id(roots, &kept, &mut paths)?;
            paths.push(PathFact::new(Access::Write, local.place(roots, &kept)?.real));
            wanted.push(Wanted { name, kept, has });
        }
    }
    let (found, files) = work::found(roots)?;
    let facts = Facts {
        programs: Box::new(["git fetch".to_owned()]),
        starts: Starts::Commands,
        files,
        tier: Some(Tier::Full),
        destination: Some(to),
        git: Some(Box::new(git)),
        ..Facts::new(EffectClass::Write, paths)
    };
    Ok(Prepared { facts, action: Action::Fetch(Box::new(Fetch { url, local, wanted, at, found })) })
}

fn in_full(name: &str) -> Result<String, Refused> {
    let full = if name == HEAD { Some(HEAD.to_owned()) } else { reference(name) };
    full.ok_or_else(|| bad(format!("`refs`: `{}` is no name of a ref", plain(name))))
}

/// What the model is told.
#[derive(Serialize)]
struct Said<'a> {
    refs: Vec<Fetched<'a>>,
    bytes: usize,
}

#[derive(Serialize)]
struct Fetched<'a> {
    #[serde(rename = "ref")]
    name: &'a str,
    id: &'a str,
    #[serde(rename = "as")]
    kept: &'a str,
}

pub fn fetch(acting: &Acting, key: &Digest, roots: &Roots, fetch: &Fetch, halt: &AtomicBool) -> Acted {
    let Some(hosts) = roots.hosts() else { return Ran::failed("this agent is granted no repositories").into() };
    let mut remote = Remote::new("git_fetch", hosts, &fetch.url, &fetch.at, halt);
    let ran = fetched(acting, key, roots, fetch, &mut remote, halt);
    let ran = ran.unwrap_or_else(|why| Ran::failed(format!("{}: {why}; no ref was moved", repo(fetch))));
    Acted { ran, connections: remote.connections, label: Label::NOTHING, created: None }
}

fn repo(fetch: &Fetch) -> String {
    plain(&repository(&destination(&fetch.url, Method::Get, 0)))
}

/// Up to the refs, which are moved last, all that comes is objects that nothing refers to.
fn fetched(
    acting: &Acting,
    key: &Digest,
    roots: &Roots,
    fetch: &Fetch,
    remote: &mut Remote<'_>,
    halt: &AtomicBool,
) -> Result<Ran, String> {
    let names: Vec<String> = fetch.wanted.iter().map(|wanted| wanted.name.clone()).collect();
    let listed = remote.lists(&names).map_err(|why| why.to_string())?;
    let mut stands = Vec::new();
    for wanted in &fetch.wanted {
        let found = listed.iter().find(|(name, _)| *name == wanted.name);
        let (_, id) = found.ok_or_else(|| format!("it has no ref `{}`", plain(&wanted.name)))?;
        stands.push((wanted, id.as_str()));
    }
    let news: Vec<&str> =
        stands.iter().filter(|(wanted, id)| wanted.has.as_deref() != Some(id)).map(|(_, id)| *id).collect();
    let bytes = if news.is_empty() { 0 } else { taken(roots, fetch, remote, &news, halt)? };
    for (place, (wanted, id)) in stands.iter().enumerate() {
        if halt.load(Ordering::Acquire) {
            return if place == 0 { Err(Unsaid::Stopped.to_string()) } else { Ok(Ran::Unknown) };
        }
        let moved = fetch.local.moves(roots, &wanted.kept, id).map_err(|refused| refused.detail)?;
        let ran = write(acting, key, &moved);
        if !matches!(ran, Ran::Done { .. }) {
            return Ok(if place == 0 { ran } else { Ran::Unknown });
        }
    }
    let refs = stands.iter().map(|(wanted, id)| Fetched { name: &wanted.name, id, kept: &wanted.kept }).collect();
    let text = serde_json::to_string(&Said { refs, bytes }).map_err(|error| error.to_string())?;
    Ok(Ran::Done { text, spill: None })
}

/// Takes a pack into the repository, and looks whether everything is there that the new ids refer to.
fn taken(
    roots: &Roots,
    fetch: &Fetch,
    remote: &mut Remote<'_>,
    news: &[&str],
    halt: &AtomicBool,
) -> Result<usize, String> {
    const PACK: &str = "pack";
    let has: Vec<&str> = fetch.wanted.iter().filter_map(|wanted| wanted.has.as_deref()).collect();
    let pack = remote.packs(news, &has).map_err(|why| why.to_string())?;
    let work = Work::new(roots, fetch.found.clone())?;
    let io = |error: std::io::Error| format!("what came cannot be kept: {error}");
    std::fs::write(work.path(PACK), &pack).map_err(io)?;
    let dir = work.repository("from").map_err(io)?;
    let most = format!("--max-input-size={GIT_PACK_BYTES_MAX}");
    let index = work.git(&[&dir, "index-pack", "--stdin", &most], Some(PACK));
    let walk = [&[dir.as_str(), "rev-list", "--objects", "--quiet"][..], news, &["--not"][..], &has].concat();
    let walk = Simple { joint: Joint::And, ..work.git(&walk, None) };
    fetch.local.stays(roots).map_err(|refused| refused.detail)?;
    let done = work.run(roots, vec![index, walk], &[], Some(&fetch.local.objects), halt);
    done.map_err(|undone| match undone {
        Undone::Failed(why) => why,
        Undone::Lost => undone.to_string(),
    })?;
    Ok(pack.len())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use backstay_egress::Network;
    use backstay_kernel::destination::Audience;

    use super::*;
    use crate::fetch::Hosts;
    use crate::tests::{Home, KEY};

    const ID: &str = "1111111111111111111111111111111111111111";

    /// A repository that stops the call when it is asked for the `last` time. It ends with the test's process.
    fn stopping(last: usize, halt: &Arc<AtomicBool>, asked: &Arc<AtomicUsize>) -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (at, halt, asked) = (listener.local_addr().unwrap(), Arc::clone(halt), Arc::clone(asked));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let mut reader = BufReader::new(stream);
                let (mut head, mut line) = (String::new(), String::new());
                while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                    head.push_str(&std::mem::take(&mut line));
                }
                let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
                let _ = reader.read_exact(&mut vec![0; length.unwrap_or(0)]);
                if asked.fetch_add(1, Ordering::SeqCst) + 1 == last {
                    halt.store(true, Ordering::SeqCst);
                }
                let (kind, said) = if head.starts_with("GET") {
                    ("advertisement", "000eversion 2\n0000".to_owned())
                } else {
                    ("result", format!("003d{ID} refs/heads/main\n0000"))
                };
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/x-git-upload-pack-{kind}\r\ncontent-length: {}\r\n\r\n",
                    said.len()
                );
                let _ = reader.get_mut().write_all((head + &said).as_bytes());
            }
        });
        at
    }

    /// A call that was stopped asks nothing more, and moves nothing.
    #[test]
    fn a_fetch_that_is_stopped_asks_for_nothing_more_and_moves_no_ref() {
        for last in 0..4 {
            let (halt, asked) = (Arc::new(AtomicBool::new(last == 0)), Arc::default());
            let server = stopping(last, &halt, &asked);
            let at = HostGrant {
                host: "127.0.0.1".to_owned(),
                port: server.port(),
                methods: vec![Method::Get, Method::Post],
                path_prefix: "/".to_owned(),
                allow_private: vec![server.ip()],
                audience: Audience::Public,
                secrets: false,
                tunnel: false,
            };
            let Home { dir: _kept, roots } = Home::new();
            let objects = format!("{}/out/.git/objects", roots.workspace());
            std::fs::create_dir_all(objects).unwrap();
            let (network, repositories) = (Network::default(), Vec::new());
            let roots = roots.reaching(Hosts { network, granted: Vec::new(), repositories, credentials: None });
            let local = Local::open(&roots, Some("out")).unwrap();
            let (name, kept) = ("refs/heads/main".to_owned(), "refs/backstay/a/b".to_owned());
            let stands = local.at(&kept);
            let wanted = vec![Wanted { name, kept, has: Some(ID.to_owned()) }];
            let url = Url::read(&format!("http://{server}/acme/app")).unwrap();
            let call = Fetch { url, local, wanted, at, found: Vec::new() };
            let acted = fetch(&Acting::in_a_test(), &KEY, &roots, &call, &halt);
            let moved = std::fs::read_to_string(stands).ok();
            assert_eq!(asked.load(Ordering::SeqCst), last.min(2), "{acted:?}");
            if last == 3 {
                assert_eq!(moved, Some(format!("{ID}\n")), "nobody stopped it: {acted:?}");
            } else {
                assert_eq!(moved, None);
                assert!(format!("{acted:?}").contains("its session was stopped; no ref was moved"), "{acted:?}");
            }
        }
    }
}
