//! Sessions as their callers may see them: the row of each, and whether it is theirs.
use backstay_engine::Caller;
use backstay_kernel::Session;
use backstay_kernel::id::{BodyRef, Millis, Seq, SessionId};
use backstay_kernel::policy::Role;

use crate::auth::Speaker;
use crate::door::Door;
use crate::error::Problem;

/// What is known of a session without its journal.
#[derive(Clone, Debug)]
pub struct Row {
    pub session: SessionId,
    pub seq: Seq,
    /// As its latest record left it.
    pub wait: String,
    pub agent: String,
    pub principal: String,
    pub channel: String,
    pub title: Option<BodyRef>,
    pub opened_at: Millis,
    pub updated_at: Millis,
}

/// The store's row without what no door shows.
macro_rules! row {
    ($head:expr) => {{
        let head = $head;
        Row {
            session: head.session,
            seq: head.seq,
            wait: head.wait.unwrap_or_default(),
            agent: head.agent,
            principal: head.principal,
            channel: head.channel,
            title: head.title,
            opened_at: head.opened_at,
            updated_at: head.updated_at,
        }
    }};
}

impl Door {
    /// A session that the caller may see.
    ///
    /// # Errors
    /// 404 where there is none, and where it is none of theirs: nobody learns which.
    pub(crate) async fn session_of(&self, speaker: &Speaker, session: SessionId) -> Result<Row, Problem> {
        let row = self.rows_of(session, move |door| door.session(session)).await?;
        let theirs = speaker.sees_all() || row.principal == speaker.caller().principal;
        if theirs { Ok(row) } else { Err(Problem::not_found("session")) }
    }

    /// Any session but the home's own stream.
    pub(crate) fn session(&self, session: SessionId) -> Result<Row, Problem> {
        if session == SessionId::HOME {
            return Err(Problem::not_found("session"));
        }
        let head = self.engine.store().head(session).map_err(|error| Problem::unreadable(&error))?;
        head.map(|head| row!(head)).ok_or_else(|| Problem::not_found("session"))
    }

    /// Sessions after `after`, the newest first; all of them, or one principal's, or those in one wait.
    pub(crate) fn sessions(
        &self,
        of: Option<&str>,
        wait: Option<&str>,
        after: Option<SessionId>,
        limit: usize,
    ) -> Result<Vec<Row>, Problem> {
        let heads = self.engine.store().sessions(of, wait, after, limit);
        let heads = heads.map_err(|error| Problem::unreadable(&error))?;
        Ok(heads.into_iter().map(|head| row!(head)).collect())
    }

    /// Sessions in which something waits for a person, the one that waits longest first.
    pub(crate) fn sessions_with_waits(&self) -> Result<Vec<Row>, Problem> {
        let heads = self.engine.store().needing_people().map_err(|error| Problem::unreadable(&error))?;
        Ok(heads.into_iter().map(|head| row!(head)).collect())
    }

    /// Sessions in which something goes on, or waits.
    pub(crate) fn sessions_going_on(&self) -> Result<Vec<Row>, Problem> {
        let heads = self.engine.store().going_on().map_err(|error| Problem::unreadable(&error))?;
        Ok(heads.into_iter().map(|head| row!(head)).collect())
    }

    /// Sessions that wait for a provider after its tries, or for money.
    pub(crate) fn sessions_held_up(&self) -> Result<Vec<Row>, Problem> {
        let heads = self.engine.store().held_up().map_err(|error| Problem::unreadable(&error))?;
        Ok(heads.into_iter().map(|head| row!(head)).collect())
    }

    /// A session as whoever speaks to it will meet it.
    pub(crate) fn fold(&self, session: SessionId) -> Result<Session, Problem> {
        Ok(self.engine.look(session)?)
    }

    /// The bytes of a body; `None` once they are erased.
    pub(crate) fn bytes(&self, body: &BodyRef) -> Result<Option<Vec<u8>>, Problem> {
        self.engine.store().body(body).map_err(|error| Problem::unreadable(&error))
    }

    /// The text of a body; `None` once it is erased.
    pub(crate) fn text(&self, body: &BodyRef) -> Result<Option<String>, Problem> {
        Ok(self.bytes(body)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }
}

/// May end what another has ordered.
pub fn outranks(caller: &Caller, by: &str) -> bool {
    match caller.role {
        Role::Owner | Role::Operator => true,
        Role::Approver | Role::User | Role::Metrics => caller.principal == by,
    }
}
