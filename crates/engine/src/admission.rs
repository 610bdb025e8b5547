//! The door of the engine: who speaks, how often, and whether this was said before.
use backstay_kernel::home::Speaks;
use backstay_kernel::id::{Digest, Seq, SessionId, TurnId};
use backstay_kernel::policy::Role;
use backstay_kernel::record::Mode;
use tokio::sync::broadcast;

use crate::engine::Engine;
use crate::error::EngineError;
use crate::events::Event;
use crate::limits::KEY_KEPT_MS;
use crate::live::{Accepted, Command, Key, Opening};

/// Who speaks, as the door has established it; never as the message claims.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Caller {
    pub principal: String,
    pub role: Role,
    /// The door.
    pub channel: String,
    pub speaks: Speaks,
}

#[derive(Clone, Debug)]
pub struct Submission {
    /// `None` opens a session of `agent`.
    pub session: Option<SessionId>,
    pub agent: String,
    pub mode: Mode,
    /// Earlier messages that the client quotes.
    pub quoted: Vec<String>,
    pub text: String,
    /// The caller's idempotency key, and a digest of the whole request that it stands for.
    pub key: Option<(String, Digest)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Submitted {
    pub session: SessionId,
    pub turn: TurnId,
    pub seq: Seq,
}

impl From<Accepted> for Submitted {
    fn from(accepted: Accepted) -> Self {
        Self { session: accepted.session, turn: accepted.turn.unwrap_or(accepted.seq), seq: accepted.seq }
    }
}

impl Engine {
    /// Admits a message: at most once for its key, acknowledged after its commit (I11).
    ///
    /// # Errors
    /// Too many messages, a key used with another body, the session's refusal.
    pub async fn submit(&self, caller: &Caller, submission: Submission) -> Result<Submitted, EngineError> {
        Ok(self.submit_listening(caller, submission).await?.0)
    }

    /// As [`Engine::submit`], and listens from before the commit, so that no event is missed.
    ///
    /// # Errors
    /// As [`Engine::submit`].
    pub async fn submit_listening(
        &self,
        caller: &Caller,
        submission: Submission,
    ) -> Result<(Submitted, broadcast::Receiver<Event>), EngineError> {
        let key = self.key(&caller.principal, submission.key);
        if let Some(before) = self.said_before(key.as_ref())? {
            let events = self.subscribe(caller.role, before.session).await?;
            return Ok((before.into(), events));
        }
        self.admit(caller)?;
        let opens = submission.session.is_none().then(|| opening(caller, submission.agent, None));
        let session = submission.session.unwrap_or_else(|| self.new_session_id());
        let mut events = self.subscribe(caller.role, session).await?;
        let message = Command::Message {
            principal: caller.principal.clone(),
            channel: caller.channel.clone(),
            mode: submission.mode,
            quoted: submission.quoted,
            text: submission.text,
            speaks: caller.speaks,
            opens,
        };
        let submitted = Submitted::from(self.send(caller.role, session, message, key).await?);
        if submitted.session != session {
            events = self.subscribe(caller.role, submitted.session).await?;
        }
        Ok((submitted, events))
    }

    /// Opens a session without a message.
    ///
    /// # Errors
    /// No such agent, too many requests, or a key used with another body.
    pub async fn open_session(
        &self,
        caller: &Caller,
        agent: &str,
        title: Option<String>,
        key: Option<(String, Digest)>,
    ) -> Result<SessionId, EngineError> {
        self.admit(caller)?;
        let command = Command::Open(opening(caller, agent.to_owned(), title));
        Ok(self.command(caller, self.new_session_id(), command, key).await?.session)
    }

    /// Sends a command to a session; with a key, at most once.
    ///
    /// # Errors
    /// The session's refusal, or why it could not be asked.
    pub async fn command(
        &self,
        caller: &Caller,
        session: SessionId,
        command: Command,
        key: Option<(String, Digest)>,
    ) -> Result<Accepted, EngineError> {
        let key = self.key(&caller.principal, key);
        match self.said_before(key.as_ref())? {
            Some(before) => Ok(before),
            None => self.send(caller.role, session, command, key).await,
        }
    }

    /// New work needs room for all that will be written of it. What runs already has its reserve, so
    /// decisions about it are taken on a full disk too.
    fn admit(&self, caller: &Caller) -> Result<(), EngineError> {
        self.writable()?;
        self.rate().admit(&caller.principal, self.now())
    }

    /// A key counts for its principal alone.
    #[must_use]
    pub fn key(&self, principal: &str, key: Option<(String, Digest)>) -> Option<Key> {
        key.map(|(key, body)| Key {
            key: Digest::of("backstay inbox v1", &[principal.as_bytes(), key.as_bytes()]).0,
            body,
            expires_at: self.now().saturating_add(KEY_KEPT_MS),
        })
    }

    fn said_before(&self, key: Option<&Key>) -> Result<Option<Accepted>, EngineError> {
        let Some(key) = key else { return Ok(None) };
        Ok(key.said_before(self.store(), self.now())?.map(Accepted::from))
    }
}

fn opening(caller: &Caller, agent: String, title: Option<String>) -> Opening {
    Opening { agent, principal: caller.principal.clone(), channel: caller.channel.clone(), title }
}
