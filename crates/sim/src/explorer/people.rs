//! What people do in the small world: they speak, answer, decide for once or for longer, and throw switches.
use std::sync::Arc;

use backstay_kernel::Input;
use backstay_kernel::decide::{Decide, Message};
use backstay_kernel::home::{self, HomeInput, Speaks};
use backstay_kernel::id::{Digest, EffectId};
use backstay_kernel::policy::{InDoubt, Role};
use backstay_kernel::record::Resolution;
use backstay_kernel::rule::AT_HOME;
use backstay_kernel::session::State;
use backstay_kernel::standing::{Always, Standing, granted};
use backstay_kernel::words::Typed;

use super::checks::person_bit;
use super::moves::{Driver, Move, body};
use super::node::{Given, Node, kind_of};
use super::scope::{CHANNELS, OWNER, PEOPLE};
use super::{Invariant, Violation};

/// A yes for longer than once stands for this long: ended before whoever is asked must have answered.
const STANDS_MS: u64 = 60_000;

impl Driver {
    /// What they may do next.
    pub(super) fn of_people(&self, node: &Node, out: &mut Vec<Move>) {
        let (session, left) = (node.session(), node.left);
        let admitted = node.now().seen.admitted.count_ones() as usize;
        if admitted < self.scope.messages.len() && !node.frozen && !session.stopped {
            out.push(Move::Message);
        }
        for (effect, open) in &session.effects {
            match &open.state {
                State::Asked { .. } => {
                    let may = if self.scope.two_people { 1..PEOPLE.len() } else { 0..1 };
                    let silent = may.filter(|who| node.now().seen.yes & (1 << who) == 0);
                    out.extend(silent.map(|who| Move::Decide { effect: *effect, approve: true, who }));
                    out.push(Move::Decide { effect: *effect, approve: false, who: 0 });
                    if left.grants > 0 {
                        out.push(Move::Always(*effect));
                    }
                }
                State::Doubt if self.scope.in_doubt == InDoubt::Ask => {
                    for resolution in [Resolution::Done, Resolution::NotDone, Resolution::Retry] {
                        out.push(Move::Resolve { effect: *effect, resolution });
                    }
                }
                State::Doubt
                | State::Parked { .. }
                | State::Planned
                | State::Ready
                | State::Question
                | State::Started { .. }
                | State::Unfunded { .. }
                | State::Backoff { .. }
                | State::Probing => {}
            }
        }
        let cancellable = session.turn.as_ref().is_some_and(|turn| !turn.cancelled);
        let switches = [
            (left.cancels > 0 && cancellable, Move::Cancel),
            (left.freezes > 0 && !node.frozen, Move::Freeze),
            (node.frozen, Move::Unfreeze),
            (left.stops > 0 && !session.stopped, Move::Stop),
            (session.stopped, Move::Resume),
            (left.narrows > 0 && !node.narrowed, Move::Narrow),
            (node.shared.is_some() && !node.others_settled, Move::Settled),
            (left.ends > 0 && node.given.is_some(), Move::Revoke),
            (left.ends > 0 && node.given.as_ref().is_some_and(|given| node.clock < given.until), Move::Elapse),
        ];
        out.extend(switches.into_iter().filter(|(may, _)| *may).map(|(_, made)| made));
        if left.sessions > 0 && node.is_at_rest() {
            out.extend((0..PEOPLE.len()).map(|who| Move::Another { who }));
        }
    }

    /// A person's answer; every false one is tried first, and must be refused.
    fn decided(&self, node: &Node, effect: EffectId, who: usize, approve: bool) -> Result<Option<Input>, Violation> {
        let asked = node.session().effects.get(&effect).map(|open| &open.state);
        let Some(State::Asked { digest, .. }) = asked else { return Ok(None) };
        let (name, role) = PEOPLE.get(who).copied().unwrap_or((OWNER, Role::Owner));
        let word = |digest, name: &str, role, channel: &str, approve| {
            let (by, channel, speaks) = (name.to_owned(), channel.to_owned(), Speaks::Human);
            Input::Decide(Decide { effect, digest, approve, by, role, channel, speaks, note: None })
        };
        let mut forgeries = vec![word(Digest([9; 32]), name, role, AT_HOME, true)];
        if self.scope.two_people {
            let said = PEOPLE.into_iter().filter(|(name, _)| node.now().seen.yes & person_bit(name) != 0);
            let not_theirs = said.chain([(OWNER, Role::Owner)]);
            forgeries.extend(not_theirs.map(|(name, role)| word(*digest, name, role, AT_HOME, true)));
            forgeries.push(word(*digest, name, role, "api", true));
        } else {
            forgeries.push(word(*digest, name, Role::User, AT_HOME, true));
        }
        let frame = node.frame(&self.policies);
        if forgeries.into_iter().any(|forged| self.kernel.decide(node.session(), forged, &frame).is_ok()) {
            return Err(Violation::new(Invariant::I2Gate, "a forged approval is taken"));
        }
        Ok(Some(word(*digest, name, role, AT_HOME, approve)))
    }

    /// What a person says, as an input.
    pub(super) fn said(&self, node: &mut Node, made: Move) -> Result<Option<Input>, Violation> {
        let by = OWNER.to_owned();
        Ok(Some(match made {
            Move::Message => {
                let number = node.now().seen.admitted.count_ones() as usize;
                let by = PEOPLE.get(node.speaker).map_or(by, |(name, _)| (*name).to_owned());
                let mode = self.scope.messages.get(number).copied().unwrap_or_default();
                let channel = CHANNELS.get(number % CHANNELS.len()).copied().unwrap_or_default();
                Input::Message(Message {
                    principal: by,
                    channel: channel.to_owned(),
                    mode,
                    quoted: Vec::new(),
                    body: body(1 + number as u64),
                    typed: self.words.are_typed().then(Typed::default),
                })
            }
            Move::Cancel => {
                node.left.cancels -= 1;
                Input::Cancel { turn: None, by }
            }
            Move::Stop => {
                node.left.stops -= 1;
                Input::Stop { by }
            }
            Move::Resume => Input::Resume { by, speaks: Speaks::Human },
            Move::Decide { effect, approve, who } => {
                return self.decided(node, effect, who, approve);
            }
            Move::Resolve { effect, resolution } => {
                let input = Input::Resolve { effect, resolution, by, note: body(400) };
                let frame = node.frame(&self.policies);
                let taken = self.kernel.decide(node.session(), input.clone(), &frame).is_ok();
                if let (true, Resolution::Retry, Some(kind)) = (taken, resolution, kind_of(node.session(), effect)) {
                    node.happened(kind).retries += 1;
                }
                input
            }
            Move::Commit
            | Move::Crash { .. }
            | Move::Prepared(_)
            | Move::Inspected(_)
            | Move::Probed(_)
            | Move::Reply(_)
            | Move::ModelFailed { .. }
            | Move::Busy
            | Move::Done(_)
            | Move::Failed(_)
            | Move::Unknown { .. }
            | Move::Overdue { .. }
            | Move::Settled
            | Move::Wake
            | Move::Freeze
            | Move::Unfreeze
            | Move::Narrow
            | Move::Plan(_)
            | Move::Always(_)
            | Move::Revoke
            | Move::Elapse
            | Move::Another { .. } => return Ok(None),
        }))
    }

    /// A yes that stands is said, taken back, or comes to its end: in the home's journal, which has it at once.
    pub(super) fn stand(&self, node: &mut Node, made: Move) -> Result<(), Violation> {
        match made {
            Move::Always(effect) => {
                node.left.grants -= 1;
                let Some((standing, given)) = self.granted(node, effect)? else { return Ok(()) };
                self.tell_home(node, HomeInput::GrantStanding(standing));
                node.given = Some(given);
            }
            Move::Revoke => {
                node.left.ends -= 1;
                let id = node.home.standing.keys().next().cloned().unwrap_or_default();
                self.tell_home(node, HomeInput::RevokeStanding { id, by: OWNER.to_owned() });
                node.given.iter_mut().for_each(|given| given.revoked = true);
            }
            _ => {
                node.left.ends -= 1;
                node.clock = node.given.as_ref().map_or(node.clock, |given| given.until);
            }
        }
        Ok(())
    }

    /// What a yes to this ask stands for; a program's word, and one without an end, must be refused.
    fn granted(&self, node: &Node, effect: EffectId) -> Result<Option<(Standing, Given)>, Violation> {
        let session = node.session();
        let (Some(kind), Some(State::Asked { digest, .. })) =
            (kind_of(session, effect), session.effects.get(&effect).map(|open| &open.state))
        else {
            return Ok(None);
        };
        let (until, arguments) = (node.clock + STANDS_MS, self.words.name(kind));
        let is_protected = &|_: &str| false;
        let said = |speaks, until| {
            let always = Always { effect, digest: *digest, arguments, until, by: OWNER, speaks, is_protected };
            granted(session, &always, node.frame(&self.policies).policy, node.clock).ok()
        };
        if said(Speaks::Program, until).is_some() || said(Speaks::Human, u64::MAX).is_some() {
            return Err(Violation::new(Invariant::Standing, "a program's word stands, or one without an end"));
        }
        let given = Given { kind, speaker: node.now().seen.unasked.speaker(), until, revoked: false };
        Ok(said(Speaks::Human, until).map(|standing| (standing, given)))
    }

    fn tell_home(&self, node: &mut Node, input: HomeInput) {
        let mut home = node.home.as_ref().clone();
        let records = home::decide(&home, input).unwrap_or_default();
        records.iter().filter(|record| self.kernel.is_kept(record)).for_each(|record| home::apply(&mut home, record));
        node.home = Arc::new(home);
    }
}
