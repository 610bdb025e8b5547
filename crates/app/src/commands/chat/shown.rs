//! What a chat shows of the happenings of its turn.
use super::super::conversation::{Seen, text};
use super::super::turn;
use super::{Chat, Mode};
use crate::exit::Outcome;
use crate::print::Tone;

impl Chat<'_> {
    pub(super) async fn seen(&mut self, seen: Seen) -> Outcome<bool> {
        if matches!(self.mode, Mode::Idle) {
            return Ok(true);
        }
        match &seen {
            Seen::Ended => return self.ended().await,
            Seen::MayWait => self.may_wait = true,
            Seen::Retried(retry) => self.may_wait |= retry.is_long,
            Seen::Settled { effect, expired } => self.settled(*effect, *expired),
            Seen::Text(_)
            | Seen::Withdrawn
            | Seen::Said
            | Seen::Called { .. }
            | Seen::Became { .. }
            | Seen::Held(_)
            | Seen::Nothing => {}
        }
        self.show(&seen);
        let may_have_come_to_rest = match &seen {
            Seen::MayWait | Seen::Became { .. } | Seen::Settled { .. } => true,
            Seen::Retried(retry) => retry.is_long,
            Seen::Text(_)
            | Seen::Withdrawn
            | Seen::Said
            | Seen::Called { .. }
            | Seen::Held(_)
            | Seen::Ended
            | Seen::Nothing => false,
        };
        if self.may_wait && may_have_come_to_rest && matches!(self.mode, Mode::Busy) {
            return self.look().await;
        }
        Ok(true)
    }

    pub(super) fn show(&mut self, seen: &Seen) {
        let quiet = !self.live;
        match seen {
            Seen::Text(_) | Seen::Withdrawn | Seen::Said if quiet => {}
            Seen::Text(piece) => {
                self.out.piece(piece);
                self.midline = !piece.ends_with('\n');
            }
            Seen::Said => self.end_line(),
            Seen::Withdrawn => {
                self.end_line();
                self.out.talk(Tone::Dim, "(cut off; the model starts again)");
            }
            Seen::Called { .. } | Seen::Became { .. } | Seen::Retried(_) | Seen::Held(_) => {
                self.end_line();
                turn::progress(self.client, seen, self.out);
            }
            Seen::MayWait | Seen::Settled { .. } | Seen::Ended | Seen::Nothing => {}
        }
    }

    pub(super) async fn ended(&mut self) -> Outcome<bool> {
        let standing = self.talk.standing().await?;
        self.end_line();
        let reply = text(&standing, "reply");
        if self.out.json {
            self.out.value(&standing);
        } else if !reply.is_empty() && (!self.live || reply != self.talk.said) {
            self.out.line(reply);
        }
        let exit = turn::tell_end(self.client, &standing, self.out).await;
        self.ends(exit);
        self.mode = Mode::Idle;
        (self.may_wait, self.pressed) = (false, false);
        if self.backlog.is_empty() && !self.over {
            self.prompt();
        }
        Ok(true)
    }
}
