//! Which bodies a record refers to: whoever shows a session shows these with it, whoever moves one
//! takes all of them along.
use alloc::vec::Vec;

use crate::id::BodyRef;
use crate::record::{End, Planned, Record, Verdict};
use crate::words::Typed;

impl Record {
    /// The bodies that hold words of people, models and tools. A request is no such text: it is
    /// rebuilt on demand.
    #[must_use]
    pub fn texts(&self) -> Vec<BodyRef> {
        match self {
            Self::Opened(opened) => opened.title.into_iter().collect(),
            Self::Admitted(admitted) => said(admitted.body, admitted.typed.as_ref()),
            Self::Planned(Planned::Tool { call, .. } | Planned::Lookup { call, .. }) => Vec::from([call.calls]),
            Self::Judged(judged) => match &judged.verdict {
                Verdict::Invalid { detail, .. } => detail.iter().copied().collect(),
                Verdict::Allow { .. }
                | Verdict::Ask { .. }
                | Verdict::Deny { .. }
                | Verdict::Blocked { .. }
                | Verdict::Parked { .. }
                | Verdict::TooMany => Vec::new(),
            },
            Self::Created { id, .. } => Vec::from([*id]),
            Self::Scoped(scoped) => core::iter::once(scoped.body).chain(scoped.said).collect(),
            Self::Edited { call, note, .. } => core::iter::once(call.calls).chain(*note).collect(),
            Self::Decided { note, .. } | Self::Resolved { note, .. } => note.iter().copied().collect(),
            Self::Answered { body, typed, .. } => said(*body, typed.as_ref()),
            Self::Retried(retried) => Vec::from([retried.detail]),
            Self::Ended(ended) => match &ended.end {
                End::Replied { text, calls, .. } => text.iter().chain(calls).copied().collect(),
                End::ModelFailed { detail, .. } => Vec::from([*detail]),
                End::Done { result, spill, .. } => core::iter::once(result).chain(spill).copied().collect(),
                End::Failed { result, .. } => Vec::from([*result]),
                End::Concluded { .. } | End::NotStarted | End::Unknown => Vec::new(),
            },
            Self::TurnEnded(ended) => ended.reply.into_iter().collect(),
            Self::TurnStarted(_)
            | Self::Entered { .. }
            | Self::Windowed { .. }
            | Self::Planned(Planned::Model { .. } | Planned::Scope { .. })
            | Self::Started(_)
            | Self::Unfunded { .. }
            | Self::Overdue { .. }
            | Self::Bounced { .. }
            | Self::Lapsed { .. }
            | Self::Doubted { .. }
            | Self::Connected { .. }
            | Self::Cancelled { .. }
            | Self::Stopped { .. }
            | Self::Resumed { .. }
            | Self::Lineage { .. } => Vec::new(),
        }
    }

    /// The body that says how the request of a model call is made from others.
    #[must_use]
    pub fn rope(&self) -> Option<BodyRef> {
        if let Self::Started(started) = self { started.request.map(|request| request.rope) } else { None }
    }
}

/// A text, and what it names.
fn said(body: BodyRef, typed: Option<&Typed>) -> Vec<BodyRef> {
    core::iter::once(body).chain(typed.and_then(|typed| typed.atoms)).collect()
}
