//! What people and operators do, as the engine's doors and the process's owner let them.
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backstay_engine::*;
use backstay_kernel::home::Speaks;
use backstay_kernel::id::{Digest, EffectId, SessionId};
use backstay_kernel::policy::Role;
use backstay_kernel::record::Resolution;
use backstay_kernel::session::{Session, State};

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
            Do::Say { .. } | Do::Decide { .. } | Do::Answer { .. } | Do::Cancel { .. } => self.speak(engine, step.act),
            Do::Reload(_) | Do::Freeze(_) | Do::Backup | Do::Restart { clean: true, .. } => {
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

    fn answer(&self, engine: &Engine, who: usize, text: String) -> Option<Command> {
        let state = self.fold(engine, who)?;
        let (effect, _) = state.effects.iter().find(|(_, open)| open.state == State::Question)?;
        Some(Command::Answer { effect: *effect, text, by: "owner".into(), speaks: Speaks::Program })
    }
}
