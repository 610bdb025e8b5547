//! What people and operators do, as the engine's doors and the process's owner let them.
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backstay_engine::*;
use backstay_kernel::home::Speaks;
use backstay_kernel::id::{Digest, EffectId, SessionId};
use backstay_kernel::policy::Role;
use backstay_kernel::record::Resolution;
use backstay_kernel::session::{Session, State, Work};
use backstay_kernel::standing::{self, Always, Standing};

use super::house;
use super::play::{Answer, LIMITS, Life, Next, Play};
use super::scenario::Do;
use crate::setting;

/// How long a process that is asked to go may take.
const DRAIN: Duration = Duration::from_secs(600);

impl Play {
    fn fly(&mut self, work: impl Future<Output = Answer> + Send + 'static) {
        let flight = Arc::new(Mutex::new(None));
        self.flight = Some(Arc::clone(&flight));
        self.resolving = false;
        tokio::spawn(async move {
            let answer = work.await;
            *flight.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
        });
    }

    pub(super) fn resolve(&mut self, engine: &Engine, session: SessionId, effect: EffectId, resolution: Resolution) {
        self.doubts += 1;
        let command = Command::Resolve { effect, resolution, by: "owner".into(), note: "I looked".into() };
        let engine = engine.clone();
        self.fly(async move { engine.command(&setting::owner(), session, command, None).await.map(Some) });
        self.resolving = true;
    }

    /// Takes the next step; the life may end by it.
    pub(super) fn act(&mut self, engine: &Engine, life: &Life) -> Option<Next> {
        let step = self.step()?.clone();
        (self.pauses, self.begun) = (0, true);
        match step.act {
            Do::Say { .. } | Do::Decide { .. } | Do::Always { .. } | Do::Answer { .. } | Do::Cancel { .. } => {
                self.speak(engine, step.act);
            }
            Do::Reload(_) | Do::Freeze(_) | Do::Backup | Do::Revoke | Do::Restart { clean: true, .. } => {
                self.operate(engine, step.act);
            }
            Do::Restart { clean: false, change } => {
                self.changes.extend(change);
                return Some(self.die(life));
            }
            // Without a backup there is nothing to go on from.
            Do::Restore if self.acks_in_backup.is_none() => self.advance(),
            Do::Restore => {
                self.restoring = true;
                return Some(self.die(life));
            }
            Do::Pass(ms) => {
                self.advance();
                let outside = Arc::clone(&self.outside);
                tokio::spawn(async move {
                    outside.set_now(outside.now().saturating_add(ms));
                    tokio::time::advance(Duration::from_millis(ms)).await;
                });
            }
            Do::Jump(ms) => {
                self.advance();
                self.outside.set_now(self.outside.now().saturating_add_signed(ms));
            }
        }
        None
    }

    /// What people say, each with a key of its own, so that it can be said again.
    fn speak(&mut self, engine: &Engine, act: Do) {
        let engine = engine.clone();
        let body = Digest::of("a step", &[format!("{act:?}").as_bytes()]);
        let key = Some((format!("step-{}", self.next), body));
        let (who, command) = match act {
            Do::Say { who, mode, text } => {
                let (session, agent) = (self.who[who], "main".to_owned());
                let submission = Submission { session, agent, mode, quoted: vec![], text, key };
                // Whoever quotes a name is a person; all others are programs.
                let speaks = if submission.text.contains('"') { Speaks::Human } else { Speaks::Program };
                return self.fly(async move {
                    let said = engine.submit(&Caller { speaks, ..setting::owner() }, submission).await?;
                    Ok(Some(Accepted { session: said.session, seq: said.seq, turn: Some(said.turn) }))
                });
            }
            Do::Decide { who, approve } => (who, self.decision(&engine, who, approve)),
            Do::Always { who, ms } => return self.always(engine, who, ms, key),
            Do::Answer { who, text } => (who, self.answer(&engine, who, text)),
            Do::Cancel { who } => (who, Some(Command::Cancel { turn: None, by: "owner".into() })),
            _ => return,
        };
        // There is nothing to say it about.
        let (Some(command), Some(session)) = (command, self.who[who]) else { return self.advance() };
        self.fly(async move { engine.command(&setting::owner(), session, command, key).await.map(Some) });
    }

    fn operate(&mut self, engine: &Engine, act: Do) {
        let engine = engine.clone();
        match act {
            Do::Restart { change, .. } => {
                self.changes.extend(change);
                self.fly(async move {
                    engine.drain(DRAIN).await;
                    Ok(None)
                });
            }
            Do::Reload(change) => {
                if !self.changes.contains(&change) {
                    self.changes.push(change);
                }
                let (policy, text) = (house::policy(&self.changes), format!("{:?}", self.changes));
                self.fly(async move { engine.reload(policy, &text, "owner", None, LIMITS).await.map(|_| None) });
            }
            Do::Revoke => {
                let Some(id) = engine.home().state().standing.into_keys().next() else { return self.advance() };
                self.fly(async move { engine.home().revoke_standing(&id, "owner", None).await.map(|()| None) });
            }
            Do::Freeze(frozen) => self.fly(async move { engine.freeze(frozen, "owner", None).await.map(|()| None) }),
            _ => self.back_up(&engine),
        }
    }

    fn back_up(&mut self, engine: &Engine) {
        let directory = self.base.join("backup");
        if directory.join("state.db").exists() || engine.store().backup(&directory, || Ok(())).is_ok() {
            self.acks_in_backup = Some(self.acks.clone());
            self.advance();
        } else {
            self.later = true;
        }
    }

    fn die(&mut self, life: &Life) -> Next {
        self.advance();
        self.disk.kill();
        life.life.kill();
        Next::NewLife
    }

    fn fold(&self, engine: &Engine, who: usize) -> Option<Session> {
        engine.look(self.who[who]?).ok()
    }

    fn decision(&self, engine: &Engine, who: usize, approve: bool) -> Option<Command> {
        let state = self.fold(engine, who)?;
        state.effects.iter().find_map(|(effect, open)| {
            let State::Asked { digest, .. } = &open.state else { return None };
            let (effect, digest) = (*effect, *digest);
            Some(Command::Decide {
                effect,
                digest,
                approve,
                by: "owner".into(),
                role: Role::Owner,
                channel: "cli".into(),
                speaks: Speaks::Human,
                note: None,
            })
        })
    }

    /// The yes, and after it what it stands for: of a cut in between there is a yes for once.
    fn always(&mut self, engine: Engine, who: usize, ms: u64, key: Option<(String, Digest)>) {
        let standing = self.standing(&engine, who, ms);
        let (Some(yes), Some(session)) = (self.decision(&engine, who, true), self.who[who]) else {
            return self.advance();
        };
        self.fly(async move {
            let accepted = engine.command(&setting::owner(), session, yes, key).await?;
            if let Some(standing) = standing {
                engine.home().grant_standing(standing).await?;
            }
            Ok(Some(accepted))
        });
    }

    fn standing(&self, engine: &Engine, who: usize, ms: u64) -> Option<Standing> {
        let state = self.fold(engine, who)?;
        let (effect, digest, call) =
            state.effects.iter().find_map(|(effect, open)| match (&open.state, &open.work) {
                (State::Asked { digest, .. }, Work::Tool { call, .. }) => Some((*effect, *digest, call.clone())),
                _ => None,
            })?;
        let calls = engine.store().body(&call.calls).ok()??;
        let calls: serde_json::Value = serde_json::from_slice(&calls).ok()?;
        let given = calls[call.index as usize]["function"]["arguments"].as_str()?;
        let arguments = standing::arguments(call.tool.as_deref()?, given);
        let (now, speaks) = (engine.now(), Speaks::Human);
        let is_protected = &|_: &str| false;
        let always = Always { effect, digest, arguments, until: now + ms, by: "owner", speaks, is_protected };
        standing::granted(&state, &always, &engine.policy(), now).ok()
    }

    fn answer(&self, engine: &Engine, who: usize, text: String) -> Option<Command> {
        let state = self.fold(engine, who)?;
        let (effect, _) = state.effects.iter().find(|(_, open)| open.state == State::Question)?;
        Some(Command::Answer { effect: *effect, text, by: "owner".into(), speaks: Speaks::Program })
    }
}
