//! Which label the texts of a record bear. Stored is only what cannot be told from the kind of the
//! record and the session it stands in.
use super::{Label, Source};
use crate::home::Speaks;
use crate::record::{End, Planned, Record, Verdict};

impl Record {
    /// Label of the texts that this record carries, in a session of the label `session`; `None` where
    /// it carries none.
    #[must_use]
    pub fn label(&self, session: Label) -> Option<Label> {
        match self {
            Self::Opened(opened) => opened.title.map(|_| Label::of(Source::Principal)),
            Self::Admitted(admitted) => Some(admitted.label),
            Self::Answered { label, .. } => Some(*label),
            Self::Planned(Planned::Tool { .. }) => Some(session.said_by_model()),
            // As the operator wrote it.
            Self::Planned(Planned::Lookup { .. }) => Some(Label::of(Source::Config)),
            // An explanation repeats names that the model gave and the world has.
            Self::Judged(judged) => match &judged.verdict {
                Verdict::Invalid { detail, .. } => detail.map(|_| Label::of(Source::Tool)),
                Verdict::Allow { .. }
                | Verdict::Ask { .. }
                | Verdict::Deny { .. }
                | Verdict::Blocked { .. }
                | Verdict::Parked { .. }
                | Verdict::TooMany => None,
            },
            // Of a model that was shown the person's words alone.
            Self::Scoped(_) => Some(Label::TYPED.said_by_model()),
            Self::Created { .. } => Some(Label::of(Source::Tool)),
            // What stays of the model's call is the model's. A person's words are as any they type; a program's may be
            // anybody's.
            Self::Edited { speaks, .. } => {
                let words = if *speaks == Speaks::Human { Label::TYPED } else { Label::of(Source::Principal) };
                Some(session.said_by_model().join(words))
            }
            Self::Decided { note, .. } | Self::Resolved { note, .. } => note.map(|_| Label::of(Source::Principal)),
            Self::Started(started) => started.request.map(|_| session),
            Self::Retried(_) => Some(Label::of(Source::Model)),
            Self::Ended(ended) => match &ended.end {
                End::Replied { .. } => Some(session.said_by_model()),
                End::ModelFailed { .. } => Some(Label::of(Source::Model)),
                End::Done { label, .. } | End::Failed { label, .. } => Some(*label),
                End::Concluded { .. } | End::NotStarted | End::Unknown => None,
            },
            Self::TurnEnded(ended) => ended.reply.map(|_| session),
            Self::TurnStarted(_)
            | Self::Entered { .. }
            | Self::Windowed { .. }
            | Self::Planned(Planned::Model { .. } | Planned::Scope { .. })
            | Self::Unfunded { .. }
            | Self::Overdue { .. }
            | Self::Bounced { .. }
            | Self::Lapsed { .. }
            | Self::Doubted { .. }
            | Self::Connected { .. }
            | Self::Cancelled { .. }
            | Self::Stopped { .. }
            | Self::Resumed { .. }
            | Self::Lineage { .. } => None,
        }
    }
}
