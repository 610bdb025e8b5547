//! The world of one life of the process: it does what the outside lets it do, and nothing once the
//! process is dead.
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use backstay_engine::*;
use backstay_kernel::Permit;
use backstay_kernel::budget::Usage;
use backstay_kernel::context::Item;
use backstay_kernel::effect::{FailureClass, Probed};
use backstay_kernel::facts::{Facts, Invalid, Probe};
use backstay_kernel::id::{BodyRef, Digest, Millis};
use backstay_kernel::label::Label;
use backstay_kernel::policy::Policy;
use backstay_kernel::tool::Idempotency;

use super::gate::Gate;
use super::house;
use super::outside::{Act, Mood, Outside, Send as Sent, Side, Start};
use super::script::{self, Line};
use crate::disk::Disk;
use crate::life::Switch;
use crate::{setting, wire};

/// How long a client waits for a silent provider.
const GIVES_UP: Duration = Duration::from_secs(120);
/// Tokens of every reply, so that bills can be foreseen.
const USAGE: Usage = Usage { uncached: 20, cache_read: 0, cache_write: 0, output: 5, reasoning: 0 };

pub struct Double {
    pub outside: Arc<Outside>,
    pub gate: Arc<Gate>,
    pub life: Arc<Switch>,
    pub disk: Arc<Disk>,
}

impl Double {
    fn start(&self, permit: &Permit) -> Start {
        let era = self.outside.log().era;
        Start { era, session: permit.session(), effect: permit.effect(), started: permit.started() }
    }

    /// The process dies here and now.
    fn die(&self) {
        self.disk.kill();
        self.life.kill();
    }
}

impl Double {
    fn acted(&self, permit: &Permit, call: &ToolCall, facts: &Facts) -> ToolRan {
        let start = self.start(permit);
        let class = house::idempotency(&call.tool).unwrap_or(Idempotency::Unsafe);
        if self.life.is_dead() {
            return ToolRan::Unknown;
        }
        self.gate.moved();
        if class != Idempotency::Pure {
            let mut log = self.outside.log();
            log.handed_out.push(start);
            if permit.facts() != Some(facts.digest()) {
                log.wrongs.push(format!("{start:?}: the permit is for other facts"));
            }
        }
        if !self.gate.pass(&call.tool) || self.life.is_dead() {
            return ToolRan::Unknown;
        }
        let mut log = self.outside.log();
        let cut = log.next_effect();
        if matches!(cut, Some(Side::Before | Side::Amid)) {
            drop(log);
            self.die();
            return ToolRan::Unknown;
        }
        if call.tool == "fails" {
            return ToolRan::Failed { text: "it does not work".into(), label: Label::NOTHING };
        }
        log.acts.push(Act { start, tool: call.tool.clone(), arguments: call.arguments.clone(), key: permit.key() });
        if class == Idempotency::Probed {
            log.traces.insert(call.arguments.clone());
        }
        drop(log);
        if cut.is_some() {
            self.die();
            return ToolRan::Unknown;
        }
        let memory = (call.tool == "set").then(|| call.arguments.clone());
        ToolRan::Done {
            text: if call.as_values {
                house::LISTED.to_owned()
            } else {
                format!("{} {} did it", call.tool, call.arguments)
            },
            spill: None,
            memory,
            label: Label::NOTHING,
        }
    }
}

impl World for Double {
    fn now(&self) -> Millis {
        self.gate.moved();
        self.outside.now()
    }

    fn random(&self) -> u64 {
        self.outside.random()
    }

    fn envelope(&self, policy: &Policy, agent: &str, _: &str, output_tokens_max: u64) -> Envelope {
        wire::envelope(policy, agent, output_tokens_max)
    }

    fn item(
        &self,
        _: &Policy,
        _: &str,
        item: &Item,
        bodies: &dyn Fn(&BodyRef) -> Option<Bytes>,
    ) -> Result<Fragment, BodyRef> {
        wire::item(item, bodies)
    }

    fn inspect(&self, call: &ToolCall) -> Result<Facts, Refused> {
        self.gate.moved();
        let Some(idempotency) = house::idempotency(&call.tool) else {
            return Err(Refused { why: Invalid::UnknownTool, detail: "no such tool".into() });
        };
        let after = Digest::of("a file of the simulation", &[call.arguments.as_bytes()]);
        let probe = (idempotency == Idempotency::Probed).then_some(Probe { before: None, after });
        Ok(Facts { probe, ..setting::facts(&call.tool, idempotency) })
    }

    fn probe(&self, call: &ToolCall, _: &Facts) -> Probed {
        self.gate.moved();
        if self.outside.log().traces.contains(&call.arguments) { Probed::Done } else { Probed::NotDone }
    }

    fn run_tool(&self, permit: Permit, call: &ToolCall, facts: &Facts) -> ToolEnd {
        self.acted(&permit, call, facts).into()
    }

    fn clean(&self, text: String) -> String {
        text
    }

    fn call_model(
        &self,
        call: ModelCall,
        mut on_delta: Box<dyn FnMut(Delta) + Send>,
    ) -> Pin<Box<dyn Future<Output = ModelResult> + Send>> {
        let start = self.start(&call.permit);
        if self.life.is_dead() {
            return Box::pin(std::future::pending());
        }
        self.gate.moved();
        self.outside.log().handed_out.push(start);
        let (place, told) = self.gate.enter("model");
        let world = Self {
            outside: Arc::clone(&self.outside),
            gate: Arc::clone(&self.gate),
            life: Arc::clone(&self.life),
            disk: Arc::clone(&self.disk),
        };
        Box::pin(async move {
            if told.await.is_err() || world.life.is_dead() {
                return std::future::pending().await;
            }
            drop(place);
            let (cut, mood) = {
                let mut log = world.outside.log();
                let cut = log.next_effect();
                (
                    cut,
                    if cut == Some(Side::Before) { Mood::Hang } else { log.moods.pop_front().unwrap_or(Mood::Answers) },
                )
            };
            if cut == Some(Side::Before) {
                world.die();
                return std::future::pending().await;
            }
            let line = world.receive(start, &call, mood);
            if cut == Some(Side::Amid) || mood == Mood::CutStream {
                on_delta(Delta::Text("I was about to".into()));
            }
            if cut.is_some() {
                world.die();
                return std::future::pending().await;
            }
            if mood == Mood::Hang {
                tokio::time::sleep(GIVES_UP).await;
            }
            answer(line, mood, world.outside.now(), &mut on_delta)
        })
    }
}

impl Double {
    /// The provider has the request.
    fn receive(&self, start: Start, call: &ModelCall, mood: Mood) -> Line {
        let mut log = self.outside.log();
        let billed = !matches!(mood, Mood::Busy { .. });
        log.sends.push(Sent { start, wire: call.wire.to_vec(), billed });
        match script::messages(&call.wire) {
            Ok(messages) if script::is_for_a_plan(&call.wire) => script::plan(&messages),
            Ok(messages) => script::next(&messages),
            Err(wrong) => {
                log.wrongs.push(format!("{start:?}: {wrong}"));
                Line::Say("what?".into())
            }
        }
    }
}

fn answer(line: Line, mood: Mood, now: Millis, on_delta: &mut dyn FnMut(Delta)) -> ModelResult {
    let fail = |class, retry_at, billed| Err(ModelFailure { class, retry_at, detail: format!("{mood:?}"), billed });
    match mood {
        Mood::Busy { told } => fail(FailureClass::Wait, told.then_some(now + 7_000), false),
        Mood::Fault | Mood::CutStream | Mood::Hang => fail(FailureClass::RetrySame, None, true),
        Mood::Answers => Ok(match line {
            Line::Say(text) => {
                on_delta(Delta::Text(text.clone()));
                wire::reply(text, [], USAGE)
            }
            Line::Call(calls) => wire::reply(String::new(), calls, USAGE),
        }),
    }
}
