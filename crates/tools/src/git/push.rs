//! `git_push`: one ref of a granted repository is moved, from where it was judged to stand to a commit of the workspace.
//! What is sent is what was looked at: the pack is made, and read again by the names of its objects, before the facts
//! are told. That nobody has moved the ref meanwhile the protocol itself holds: it names where the ref stood.
use std::sync::atomic::AtomicBool;

use backstay_kernel::destination::{HostGrant, Method};
use backstay_kernel::facts::{Access, Facts, Invalid, PathFact, Starts, Tier};
use backstay_kernel::git::{Git, Push as Change, is_id, reference, repository};
use backstay_kernel::tool::EffectClass;
use backstay_kernel::url::Url;
use serde_json::json;

use super::acts::acts;
use super::local::Local;
use super::pack::{self, Packed};
use super::remote::{Moved, Remote, Unsaid};
use super::work;
use super::{bad, destination, granted, url};
use crate::arguments::GitPush;
use crate::prepare::{Action, Prepared, Refused};
use crate::roots::Roots;
use crate::run::{Acted, Acting, Ran};
use crate::text::plain;

/// A push that could be made now.
#[derive(Debug)]
pub struct Push {
    url: Url,
    at: HostGrant,
    name: String,
    old: Option<String>,
    base: Option<String>,
    new: String,
    packed: Packed,
}

pub fn prepare(roots: &Roots, call: GitPush) -> Result<Prepared, Refused> {
    let url = url(&call.url)?;
    let name = reference(&call.reference).ok_or_else(|| bad(format!("`ref`: `{}` is none", plain(&call.reference))))?;
    for (key, id) in [("old", &call.old), ("base", &call.base)] {
        if id.as_ref().is_some_and(|id| !is_id(id)) {
            return Err(bad(format!(
                "`{key}` is no id of a commit: forty hexadecimal digits, as git_fetch gives them"
            )));
        }
    }
    if call.old.is_some() && call.base.is_some() {
        return Err(bad("`base` is for a ref that is not there yet: leave it out, or `old`".to_owned()));
    }
    let to = destination(&url, Method::Post, name.len());
    let change = Change { old: call.old.clone(), new: String::new(), force: false, changed: None, acts: true };
    let git = Git { repo: repository(&to), refs: vec![name.clone()], push: Some(Box::new(change)) };
    let at = granted(roots, &to, &git)?;
    let local = Local::open(roots, call.repo.as_deref())?;
    let mut paths = vec![PathFact::new(Access::Read, local.objects.clone())];
    let new = commit(roots, &local, call.from.as_deref().unwrap_or(&name), &mut paths)?;
    if call.old.as_ref() == Some(&new) {
        return Err(bad("`old` is where it would be moved to".to_owned()));
    }
    let (found, files) = work::found(roots)?;
    let known = call.old.as_deref().or(call.base.as_deref());
    let packed =
        pack::packed(roots, &local, found, &new, known).map_err(|why| Refused::new(Invalid::Unreadable, why))?;
    let force = call.old.is_some() && !packed.follows;
    if force && !call.force.unwrap_or(false) {
        let why = format!(
            "`{}` holds commits that what would come there does not: merge them first, or `force`",
            plain(&name)
        );
        return Err(bad(why));
    }
    let acts = packed.changed.as_ref().is_none_or(|changed| changed.iter().any(|path| acts(path)));
    let change = Change { old: call.old.clone(), new: new.clone(), force, changed: packed.changed.clone(), acts };
    let facts = Facts {
        programs: Box::new(["git push".to_owned()]),
        starts: Starts::Commands,
        files,
        tier: Some(Tier::Full),
        bytes_out: Some(packed.bytes),
        // Whoever keeps the ref there may drop the commits that it loses.
        reversible: force.then_some(false),
        destination: Some(to),
        git: Some(Box::new(Git { push: Some(Box::new(change)), ..git })),
        ..Facts::new(EffectClass::Send, paths)
    };
    let push = Push { url, at, name, old: call.old, base: call.base, new, packed };
    Ok(Prepared { facts, action: Action::Push(Box::new(push)) })
}

/// The commit that a name stands for here.
fn commit(roots: &Roots, local: &Local, from: &str, read: &mut Vec<PathFact>) -> Result<String, Refused> {
    if is_id(from) {
        return Ok(from.to_owned());
    }
    let name = if from == "HEAD" { Some(from.to_owned()) } else { reference(from) };
    let id = name.map_or(Ok(None), |name| local.id(roots, &name, read))?;
    let none = || format!("`from`: this repository has no branch, ref or commit `{}`", plain(from));
    id.ok_or_else(|| Refused::new(Invalid::NotFound, none()))
}

pub fn push(_: &Acting, roots: &Roots, push: &Push, halt: &AtomicBool) -> Acted {
    let Some(hosts) = roots.hosts() else { return Ran::failed("this agent is granted no repositories").into() };
    let mut remote = Remote::new("git_push", hosts, &push.url, &push.at, halt);
    let ran = pushed(push, &mut remote);
    let ran = ran.unwrap_or_else(|why| {
        let repo = plain(&repository(&destination(&push.url, Method::Post, 0)));
        Ran::failed(format!("{repo}: {why}; nothing was moved"))
    });
    Acted { connections: remote.connections, ..ran.into() }
}

fn pushed(push: &Push, remote: &mut Remote<'_>) -> Result<Ran, String> {
    let stands = remote.stands().map_err(|why| why.to_string())?;
    let name = plain(&push.name);
    let now = stands.id(&push.name);
    if now == Some(push.new.as_str()) {
        return Ok(done(push, true));
    }
    if now != push.old.as_deref() {
        return Err(match now {
            Some(id) => format!("`{name}` stands at {id} there: git_fetch it, and name that as `old`"),
            None => format!("`{name}` is not there: leave out `old`"),
        });
    }
    if let Some(base) = push.base.as_deref().filter(|base| !stands.has(base)) {
        return Err(format!(
            "no branch and no tag stands at {base} there: `base` is the id of one, as git_fetch gives it"
        ));
    }
    match remote.moves(&push.name, push.old.as_deref(), &push.new, &push.packed.pack) {
        Ok(()) => Ok(done(push, false)),
        Err(Moved::No(why)) => Err(why),
        Err(Moved::Maybe(why @ Unsaid::Stopped)) => Err(why.to_string()),
        Err(Moved::Maybe(why)) => Ok(looked_again(push, remote, &why)),
    }
}

/// The ref says whether it was moved, unless it still may be.
fn looked_again(push: &Push, remote: &mut Remote<'_>, why: &Unsaid) -> Ran {
    match remote.stands() {
        Ok(stands) if stands.id(&push.name) == Some(push.new.as_str()) => done(push, false),
        // It has answered, and is done with it.
        Ok(stands) if stands.id(&push.name) == push.old.as_deref() && matches!(why, Unsaid::Failed(_)) => {
            Ran::failed(format!("{why}; nothing was moved"))
        }
        Ok(_) | Err(_) => Ran::Unknown,
    }
}

fn done(push: &Push, before: bool) -> Ran {
    let mut said = json!({ "ref": push.name, "old": push.old, "new": push.new });
    if before {
        said = json!({ "ref": push.name, "new": push.new, "note": "it stood there already" });
    }
    Ran::Done { text: said.to_string(), spill: None }
}
