//! The real world: model APIs, the file tools, the clock. One match from effect to adapter.
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::guarded::{self, Pieces};
use backstay_engine::{
    Bytes, Delta, Envelope, Fragment, ModelCall, ModelFailure, ModelResult, Refused, ToolCall, ToolEnd, ToolRan, World,
};
use backstay_kernel::Permit;
use backstay_kernel::context::Item;
use backstay_kernel::effect::{FailureClass, Probed};
use backstay_kernel::facts::{Facts, Invalid};
use backstay_kernel::id::{BodyRef, Millis, Seq};
use backstay_kernel::label::Label;
use backstay_kernel::policy::Policy;
use backstay_mcp::Servers;
use backstay_providers::{Client, Endpoint, Kind, Secret};
use backstay_sandbox::Sandbox;
use backstay_secrets::{ExposeSecret as _, Vault};
use backstay_store::{Memory, Store, StoreError};
use backstay_tools::{Acted, Asked, Ran, ReadOutput, Roots};

/// Memories that one `recall` returns.
const RECALLED_MAX: usize = 8;

/// What the config says of the world; replaced whole by a reload.
pub struct Setup {
    /// By the name of the model in the policy.
    pub endpoints: BTreeMap<String, Endpoint>,
    /// The secret that holds the key, by the same name; its value is asked for at each call.
    pub key_secrets: BTreeMap<String, String>,
    /// By the name of the agent.
    pub roots: BTreeMap<String, Arc<Roots>>,
    /// Where some agent may run programs.
    pub sandbox: Option<Arc<Sandbox>>,
    pub servers: Arc<Servers>,
}

pub struct RealWorld {
    client: Client,
    store: Store,
    vault: Vault,
    setup: RwLock<Arc<Setup>>,
}

impl RealWorld {
    pub fn new(client: Client, store: Store, vault: Vault, setup: Setup) -> Self {
        Self { client, store, vault, setup: RwLock::new(Arc::new(setup)) }
    }

    pub fn replace(&self, setup: Setup) {
        *self.setup.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(setup);
    }

    /// What commands run in, where any may.
    pub fn sandbox(&self) -> Option<Arc<Sandbox>> {
        self.setup().sandbox.clone()
    }

    /// The servers of tools, as the config and their pins have them.
    pub fn servers(&self) -> Arc<Servers> {
        Arc::clone(&self.setup().servers)
    }

    /// What the tools of an agent may reach.
    pub fn roots_of(&self, agent: &str) -> Option<Arc<Roots>> {
        self.setup().roots.get(agent).cloned()
    }

    fn setup(&self) -> Arc<Setup> {
        Arc::clone(&self.setup.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Where a model is called, with the key that is in force now; `None` where there is none any more.
    fn endpoint(&self, model: &str) -> Option<Endpoint> {
        let setup = self.setup();
        let endpoint = setup.endpoints.get(model).cloned()?;
        let Some(secret) = setup.key_secrets.get(model) else { return Some(endpoint) };
        Some(endpoint.keyed(Secret::new(self.vault.value(secret)?.expose_secret())))
    }

    fn kind(&self, model: &str) -> Kind {
        self.setup().endpoints.get(model).map_or(Kind::OpenAiCompatible, Endpoint::kind)
    }

    fn roots(&self, agent: &str) -> Result<Arc<Roots>, Refused> {
        self.setup()
            .roots
            .get(agent)
            .cloned()
            .ok_or_else(|| Refused { why: Invalid::OutsideGrants, detail: "this agent has no directories".to_owned() })
    }

    fn recall(&self, principal: &str, query: &str) -> ToolRan {
        match self.store.recall(principal, query, RECALLED_MAX) {
            Ok(memories) if memories.is_empty() => done("Nothing is remembered about that."),
            Ok(memories) => {
                let texts: Vec<String> = memories.iter().map(|memory| format!("- {}", memory.text)).collect();
                match memories.iter().try_fold(Label::NOTHING, |all, one| Ok(all.join(self.label_of(one)?))) {
                    Ok(label) => ToolRan::Done { text: texts.join("\n"), spill: None, memory: None, label },
                    Err(error) => unreadable(error),
                }
            }
            Err(error) => unreadable(error),
        }
    }

    /// It stands in the record of the call that left the memory.
    fn label_of(&self, memory: &Memory) -> Result<Label, StoreError> {
        let before = Seq(memory.seq.0.saturating_sub(1));
        let row = self.store.entries_after(memory.session, before, 1)?.pop();
        let label = row.and_then(|row| backstay_kernel::audit::left(&row.body).ok());
        label.ok_or_else(|| StoreError::Corrupt(format!("the record of the memory {} is not readable", memory.id)))
    }

    /// With the label of the call that left it.
    fn output(&self, call: &ToolCall, asked: ReadOutput) -> ToolRan {
        match self.store.output(call.session, asked.id) {
            Ok(Some((whole, label))) => {
                ToolRan::Done { text: backstay_tools::range(&whole, asked), spill: None, memory: None, label }
            }
            Ok(None) => {
                failed(format!("this session keeps no output {}; the result that was cut names its id", asked.id))
            }
            Err(error) => failed(format!("the output cannot be read: {error}")),
        }
    }
}

/// What the machine's clock shows.
pub fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
}

fn done(text: impl Into<String>) -> ToolRan {
    ToolRan::Done { text: text.into(), spill: None, memory: None, label: Label::NOTHING }
}

fn failed(text: String) -> ToolRan {
    ToolRan::Failed { text, label: Label::NOTHING }
}

fn unreadable(error: StoreError) -> ToolRan {
    failed(format!("the memory cannot be read: {error}"))
}

impl World for RealWorld {
    fn now(&self) -> Millis {
        now()
    }

    fn random(&self) -> u64 {
        let mut bytes = [0u8; 8];
        // Without randomness nothing can be kept apart: ids, tokens, boots. It does not fail on a
        // system that has come up; if it does, the process must not go on.
        if getrandom::fill(&mut bytes).is_err() {
            std::process::abort();
        }
        u64::from_le_bytes(bytes)
    }

    fn envelope(&self, policy: &Policy, agent: &str, model: &str, output_tokens_max: u64) -> Envelope {
        let name = policy.models.get(model).map_or(model, |model| &model.name);
        let (instructions, granted) = policy
            .agents
            .get(agent)
            .map_or(("", &[][..]), |agent| (agent.instructions.as_str(), &agent.grants.tools[..]));
        let tools: Vec<_> = granted.iter().filter_map(|tool| policy.tools.get(tool)).collect();
        let kind = self.kind(model);
        let made = backstay_providers::envelope(kind, name, instructions, &tools, output_tokens_max, true);
        Envelope { head: made.head, lead: made.lead, tail: made.tail }
    }

    fn item(
        &self,
        _policy: &Policy,
        model: &str,
        item: &Item,
        bodies: &dyn Fn(&BodyRef) -> Option<Bytes>,
    ) -> Result<Fragment, BodyRef> {
        let made = backstay_providers::item(self.kind(model), item, bodies).map_err(|missing| missing.0)?;
        Ok(Fragment { wire: made.wire, pieces: made.pieces })
    }

    fn inspect(&self, call: &ToolCall) -> Result<Facts, Refused> {
        let roots = self.roots(&call.agent)?;
        backstay_tools::inspect(&roots, &call.tool, &call.arguments)
            .map_err(|refused| Refused { why: refused.why, detail: refused.detail })
    }

    fn command_line(&self, call: &ToolCall) -> Option<String> {
        let roots = self.roots(&call.agent).ok()?;
        backstay_tools::command_line(&roots, &call.tool, &call.arguments)
    }

    fn probe(&self, call: &ToolCall, facts: &Facts) -> Probed {
        match self.roots(&call.agent) {
            Ok(roots) => backstay_tools::probe(&roots, &call.tool, &call.arguments, facts),
            Err(_) => Probed::Neither,
        }
    }

    fn run_tool(&self, permit: Permit, call: &ToolCall, facts: &Facts) -> ToolEnd {
        let roots = match self.roots(&call.agent) {
            Ok(roots) => roots,
            Err(refused) => return failed(refused.detail).into(),
        };
        let session = call.session;
        let ToolCall { principal, tool, arguments, as_values, .. } = call;
        let asked = Asked { principal, session, tool, arguments, as_values: *as_values };
        let Acted { ran, connections, label, created } = backstay_tools::run(permit, &roots, asked, facts, &call.halt);
        let ran = match ran {
            Ran::Done { text, spill } => ToolRan::Done { text, spill, memory: None, label },
            Ran::Remember { text } => {
                let (said, memory) = ("Remembered.".to_owned(), Some(text));
                ToolRan::Done { text: said, spill: None, memory, label: Label::NOTHING }
            }
            Ran::Recall { query } => self.recall(&call.principal, &query),
            Ran::Output(asked) => self.output(call, asked),
            Ran::Failed { text } => failed(text),
            Ran::Unknown => ToolRan::Unknown,
        };
        let created = created.map(|id| self.clean(id));
        ToolEnd { ran: guarded::tool(&self.vault, ran), connections, created }
    }

    fn call_model(
        &self,
        call: ModelCall,
        on_delta: Box<dyn FnMut(Delta) + Send>,
    ) -> Pin<Box<dyn Future<Output = ModelResult> + Send>> {
        let endpoint = self.endpoint(&call.model);
        let (client, now, vault) = (self.client.clone(), self.now(), self.vault.clone());
        Box::pin(async move {
            let Some(endpoint) = endpoint else {
                return Err(ModelFailure {
                    class: FailureClass::Invalid,
                    retry_at: None,
                    detail: "the config names no provider for this model any more, or its key is gone".to_owned(),
                    billed: false,
                });
            };
            let key = call.permit.key().to_string();
            let mut pieces = Pieces::new(&vault.redactor(), on_delta);
            let wire = bytes::Bytes::copy_from_slice(&call.wire);
            let called = client.call(&endpoint, wire, &key, now, &mut |delta| pieces.take(delta)).await;
            let shown = pieces.end(&vault);
            match called {
                Ok(reply) => Ok(guarded::reply(&vault, reply)),
                Err(failed) => Err(guarded::failure(&vault, failed, shown)),
            }
        })
    }

    fn clean(&self, text: String) -> String {
        guarded::cleaned(&self.vault, text)
    }

    fn redactions(&self) -> BTreeMap<String, u64> {
        self.vault.taken()
    }
}

#[cfg(test)]
mod tests {
    use backstay_kernel::id::{Digest, EffectId, RepeatKey, SessionId};
    use backstay_kernel::label::{Confidentiality, Source};
    use backstay_kernel::record::{End, Ended, Entry, Record, VERSION};
    use backstay_sandbox::Bounds;
    use backstay_store::{Append, HeadUpdate, NewMemory, NewSession, Options};

    use super::*;

    fn remembered(text: &str, label: Label, id: u8) -> Append {
        let result = BodyRef { id: 1, digest: Digest::default(), bytes: 0 };
        let end = End::Done { result, repeat: RepeatKey([0; 8]), label, warned: false, spill: None };
        let ended = Ended { effect: EffectId::default(), at: 1, started: None, end, spent: None };
        let entry = Entry { v: VERSION, at: 1, records: vec![Record::Ended(ended)] };
        let [agent, principal, channel] = ["main", "ann", "cli"].map(str::to_owned);
        Append {
            session: SessionId([id; 10]),
            expected: Seq(0),
            at: 1,
            lineage: 1,
            records: 1,
            entry: serde_json::to_string(&entry).unwrap(),
            head: HeadUpdate::default(),
            create: Some(NewSession { agent, principal, channel, title: None }),
            bodies: Vec::new(),
            inbox: None,
            ledger: Vec::new(),
            snapshot: None,
            memories: vec![NewMemory { principal: "ann".to_owned(), text: text.to_owned() }],
        }
    }

    #[tokio::test]
    async fn what_is_recalled_bears_the_labels_of_its_memories() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::create(home.path(), Options { ballast_bytes: 0, free_bytes_min: 1 }).unwrap();
        let secret = Label { conf: Confidentiality::Secret, ..Label::of(Source::Tool) };
        for (text, label, id) in [("red apples", Label::of(Source::Tool), 1), ("the red key", secret, 2)] {
            let (done, said) = std::sync::mpsc::channel();
            store.append(remembered(text, label, id), Box::new(move |outcome| drop(done.send(outcome))));
            said.recv().unwrap().unwrap();
        }
        let bounds = Bounds { uid: None, memory_bytes: 0, free_bytes: 0 };
        let sandbox = Arc::new(Sandbox::new(home.path().join("scratch"), bounds));
        let runtime = tokio::runtime::Handle::current();
        let vault = Vault::open(home.path(), None).unwrap();
        let logins = crate::logins::of(&vault, backstay_tools::Network::default());
        let setup = Setup {
            endpoints: BTreeMap::new(),
            key_secrets: BTreeMap::new(),
            roots: BTreeMap::new(),
            sandbox: None,
            servers: Arc::new(Servers::new(runtime, sandbox, Vec::new(), logins, Box::new(|_, _| {}))),
        };
        let world = RealWorld::new(Client::new().unwrap(), store, vault, setup);
        let of = |query: &str| match world.recall("ann", query) {
            ToolRan::Done { text, label, .. } => (text.lines().count(), label.conf),
            other @ (ToolRan::Failed { .. } | ToolRan::Unknown) => panic!("{other:?}"),
        };
        assert_eq!(of("apples"), (1, Confidentiality::Internal));
        assert_eq!(of("red"), (2, Confidentiality::Secret));
        assert_eq!(of("pears"), (1, Confidentiality::Public), "nothing was shown");
    }
}
