//! The home's own stream at work: config epochs, tokens, switches. One writer at a time.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use backstay_kernel::frame::Switches;
use backstay_kernel::home::{self, Home, HomeInput, HomeRecord, Speaks, Token, TokenScope, token_hash};
use backstay_kernel::id::{BodyRef, Millis, Seq, SessionId};
use backstay_kernel::label::Label;
use backstay_kernel::mode::{Scope, WorkMode};
use backstay_kernel::policy::Policy;
use backstay_kernel::reached::Places;
use backstay_kernel::record::{Entry, VERSION};
use backstay_kernel::refusal::{Code, Refusal};
use backstay_kernel::roots::Raise;
use backstay_kernel::standing::Standing;
use backstay_store::{Append, AppendError, Body, HeadUpdate, NewSession, Shared, Store, StoreError};
use tokio::sync::{oneshot, watch};

use crate::epochs;
use crate::error::EngineError;
use crate::live::Key;
use crate::world::World;

/// What `tokens create` asks for.
#[derive(Clone, Debug)]
pub struct NewToken {
    pub principal: String,
    pub speaks: Speaks,
    pub scope: TokenScope,
    pub by: String,
}

#[derive(Clone)]
pub struct HomeHandle {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    world: Arc<dyn World>,
    state: Mutex<Home>,
    /// Held from the fold to the moment when what was appended is in force.
    writing: tokio::sync::Mutex<()>,
    changed: watch::Sender<()>,
}

impl HomeHandle {
    /// Folds the home's stream, and notes a restore if there was one.
    ///
    /// # Errors
    /// The journal cannot be read or written.
    pub async fn open(store: Store, world: Arc<dyn World>) -> Result<Self, EngineError> {
        let state = fold(&store).map_err(EngineError::Unreadable)?;
        let (old, new) = (state.lineage, store.lineage());
        let fresh = state.seq == Seq(0);
        let (state, writing, changed) = (Mutex::new(state), tokio::sync::Mutex::new(()), watch::Sender::new(()));
        let handle = Self { inner: Arc::new(Inner { store, world, state, writing, changed }) };
        if !fresh && old != new {
            handle.write(HomeInput::Restored { old, new }, None).await?;
            handle.inner.store.conclude_restore().map_err(|error| EngineError::Halted(error.to_string()))?;
        }
        Ok(handle)
    }

    #[must_use]
    pub fn state(&self) -> Home {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    #[must_use]
    pub fn switches(&self) -> Switches {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner).switches()
    }

    /// Tells of every change of tokens, policy and switches, once it is in force: for what has asked
    /// for leave once and lasts.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.inner.changed.subscribe()
    }

    pub(crate) fn announce(&self) {
        self.inner.changed.send_replace(());
    }

    /// The token of this name.
    #[must_use]
    pub fn token(&self, id: &str) -> Option<Token> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner).tokens.get(id).cloned()
    }

    /// The token that was presented, if it is one of this home's.
    #[must_use]
    pub fn holder(&self, presented: &str) -> Option<Token> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner).holder(presented).cloned()
    }

    /// Records the config that is in force now; returns its epoch.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub async fn configure(&self, text: &str, by: &str, key: Option<Key>) -> Result<u64, EngineError> {
        let (store, before, text) = (self.inner.store.clone(), self.state().config, text.to_owned());
        let sealed = tokio::task::spawn_blocking(move || seal_config(&store, before.as_ref(), text)).await;
        let sealed = sealed.map_err(|error| EngineError::Internal(error.to_string()))?;
        let (text, diff, new) = sealed.map_err(|error| EngineError::Halted(error.to_string()))?;
        self.write_with(HomeInput::Config { text, diff, by: by.to_owned() }, new, key).await?;
        Ok(self.state().epoch)
    }

    /// Records what an operator lets in of a server of tools.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub async fn pin(&self, server: &str, pin: String, by: &str) -> Result<(), EngineError> {
        let (pin, body) = self.seal(pin).await?;
        let input = HomeInput::Pin { server: server.to_owned(), pin, by: by.to_owned() };
        self.write_with(input, vec![body], None).await.map(drop)
    }

    /// Records that a server is let in no longer, and why; the epoch that begins with it.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub async fn unpin(&self, server: &str, why: String, by: &str) -> Result<u64, EngineError> {
        let (why, body) = self.seal(why).await?;
        let input = HomeInput::Unpin { server: server.to_owned(), why, by: by.to_owned() };
        self.write_with(input, vec![body], None).await?;
        Ok(self.state().epoch)
    }

    async fn seal(&self, text: String) -> Result<(BodyRef, Body), EngineError> {
        let store = self.inner.store.clone();
        let sealed = tokio::task::spawn_blocking(move || store.seal(text.into_bytes())).await;
        let body = sealed.map_err(|error| EngineError::Internal(error.to_string()))?;
        let body = body.map_err(|error| EngineError::Halted(error.to_string()))?;
        Ok((body.reference(), body))
    }

    /// # Errors
    /// The journal cannot be written.
    pub async fn freeze(&self, frozen: bool, by: &str, key: Option<Key>) -> Result<(), EngineError> {
        let by = by.to_owned();
        self.write(if frozen { HomeInput::Freeze { by } } else { HomeInput::Unfreeze { by } }, key).await.map(drop)
    }

    /// # Errors
    /// The journal cannot be written.
    pub async fn set_mode(&self, scope: Scope, mode: WorkMode, by: &str, key: Option<Key>) -> Result<(), EngineError> {
        self.write(HomeInput::SetMode { scope, mode, by: by.to_owned() }, key).await.map(drop)
    }

    /// The strictest that holds for a turn of this agent that came in by this door.
    #[must_use]
    pub fn mode(&self, agent: &str, channel: &str) -> WorkMode {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner).modes.of(agent, channel)
    }

    /// What people have said yes to for longer than once, of this agent's calls.
    #[must_use]
    pub fn standing(&self, agent: &str, now: Millis) -> Vec<Standing> {
        let state = self.inner.state.lock().unwrap_or_else(PoisonError::into_inner);
        let stands = state.standing.values().filter(|standing| standing.agent == agent && standing.until > now);
        stands.cloned().collect()
    }

    /// # Errors
    /// Too many stand already, or the journal cannot be written.
    pub async fn grant_standing(&self, standing: Standing) -> Result<(), EngineError> {
        self.write(HomeInput::GrantStanding(standing), None).await.map(drop)
    }

    /// # Errors
    /// No such yes stands, or the journal cannot be written.
    pub async fn revoke_standing(&self, id: &str, by: &str, key: Option<Key>) -> Result<(), EngineError> {
        self.write(HomeInput::RevokeStanding { id: id.to_owned(), by: by.to_owned() }, key).await.map(drop)
    }

    /// Draws tokens, keeps their hashes in one commit, and returns them: this is the only time that they are seen.
    ///
    /// # Errors
    /// No such principal, a key whose token was shown before, or the journal cannot be written.
    pub async fn create_tokens<const N: usize>(
        &self,
        policy: &Policy,
        new: [NewToken; N],
        key: Option<Key>,
    ) -> Result<[String; N], EngineError> {
        let drawn = new.map(|new| (draw_token(&*self.inner.world), new));
        let token = |(text, new): &(String, NewToken)| Token {
            id: text.chars().take(12).collect(),
            hash: token_hash(text),
            principal: new.principal.clone(),
            speaks: new.speaks,
            scope: new.scope,
            created_at: self.inner.world.now(),
            by: new.by.clone(),
        };
        let (tokens, known) = (drawn.iter().map(token).collect(), policy.principals.clone());
        match self.write(HomeInput::CreateTokens { tokens, known }, key).await? {
            Some(HomeRecord::TokenCreated(Token { id, .. })) => {
                let message = format!("this key made the token `{id}`, which was shown then and is not stored");
                let next = format!("backstay tokens revoke {id}, and create another with a new key");
                Err(Refusal::new(Code::TokenShown, message, next).into())
            }
            _ => Ok(drawn.map(|(text, _)| text)),
        }
    }

    /// # Errors
    /// No such token, or the journal cannot be written.
    pub async fn revoke_token(&self, id: &str, by: &str, key: Option<Key>) -> Result<(), EngineError> {
        self.write(HomeInput::RevokeToken { id: id.to_owned(), by: by.to_owned() }, key).await.map(drop)
    }

    /// Of what is read at these paths or below them.
    pub(crate) fn label<'p>(&self, paths: impl Iterator<Item = &'p str>) -> Label {
        let home = self.inner.state.lock().unwrap_or_else(PoisonError::into_inner);
        paths.fold(Label::NOTHING, |all, path| all.join(home.roots.label(path)))
    }

    /// Notes what a call of `session` may leave behind, where that is graver than what is known.
    pub(crate) async fn raise(&self, raise: Raise, session: SessionId) -> Result<(), EngineError> {
        let Raise { effect, roots, label, reads } = raise;
        let label = label.join(self.label(reads.iter().map(String::as_str)));
        for root in roots {
            let input = HomeInput::RaiseRoot { root, label, session, effect };
            if !home::decide(&self.state(), input.clone())?.is_empty() {
                self.write(input, None).await?;
            }
        }
        Ok(())
    }

    /// Notes where a call has been, where that is new.
    pub(crate) async fn reach(&self, input: HomeInput) -> Result<(), EngineError> {
        if !home::decide(&self.state(), input.clone())?.is_empty() {
            self.write(input, None).await?;
        }
        Ok(())
    }

    /// Where the calls of this agent have been.
    #[must_use]
    pub fn reached(&self, agent: &str) -> Arc<Places> {
        let state = self.inner.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.reached.get(agent).cloned().unwrap_or_default()
    }

    /// Takes back what sessions have made of a directory's label: a person vouches for what lies there.
    ///
    /// # Errors
    /// Nothing has raised it, a program asks, or the journal cannot be written.
    pub async fn reset_root(&self, root: &str, by: &str, speaks: Speaks, key: Option<Key>) -> Result<(), EngineError> {
        self.write(HomeInput::ResetRoot { root: root.to_owned(), by: by.to_owned(), speaks }, key).await.map(drop)
    }

    /// Records that a secret gets a value, before it gets it: the journal may know of one that was not
    /// kept, never the other way round. `replaces` another value of the name.
    ///
    /// # Errors
    /// There is such a secret, or none where one is replaced; the journal cannot be written.
    pub async fn keep_secret(&self, name: &str, version: &str, replaces: bool, by: &str) -> Result<(), EngineError> {
        let (name, version, by) = (name.to_owned(), version.to_owned(), by.to_owned());
        self.write(HomeInput::KeepSecret { name, version, replaces, by }, None).await.map(drop)
    }

    /// # Errors
    /// No such secret, or the journal cannot be written.
    pub async fn remove_secret(&self, name: &str, by: &str) -> Result<(), EngineError> {
        self.write(HomeInput::RemoveSecret { name: name.to_owned(), by: by.to_owned() }, None).await.map(drop)
    }

    /// The record that a keyed command became when it was first made. One that changed nothing
    /// became none, and its key was not kept.
    ///
    /// # Errors
    /// The key stands for something else, or the journal cannot be read.
    pub fn said(&self, key: Option<&Key>) -> Result<Option<HomeRecord>, EngineError> {
        let Some(key) = key else { return Ok(None) };
        let Some(before) = key.said_before(&self.inner.store, self.inner.world.now())? else { return Ok(None) };
        if before.session != SessionId::HOME {
            return Err(EngineError::KeyReused);
        }
        let unreadable = |why: String| EngineError::Unreadable(why);
        let from = Seq(before.seq.0.saturating_sub(1));
        let row =
            self.inner.store.entries_after(SessionId::HOME, from, 1).map_err(|e| unreadable(e.to_string()))?.pop();
        let row = row.ok_or_else(|| unreadable("the record of a key is gone".into()))?;
        let entry: Entry<HomeRecord> = serde_json::from_str(&row.body).map_err(|e| unreadable(e.to_string()))?;
        Ok(entry.records.into_iter().next_back())
    }

    async fn write(&self, input: HomeInput, key: Option<Key>) -> Result<Option<HomeRecord>, EngineError> {
        self.write_with(input, Vec::new(), key).await
    }

    /// Answers the record of the first time, where the same was said before.
    async fn write_with(
        &self,
        input: HomeInput,
        bodies: Vec<Body>,
        key: Option<Key>,
    ) -> Result<Option<HomeRecord>, EngineError> {
        let home = self.clone();
        whole(async move { home.record(input, bodies, key).await }).await
    }

    async fn record(
        &self,
        input: HomeInput,
        bodies: Vec<Body>,
        key: Option<Key>,
    ) -> Result<Option<HomeRecord>, EngineError> {
        let _writing = self.inner.writing.lock().await;
        if let Some(before) = self.said(key.as_ref())? {
            return Ok(Some(before));
        }
        let mut state = self.refold().await?;
        let records = home::decide(&state, input)?;
        if records.is_empty() {
            return Ok(None);
        }
        let (expected, at) = (state.seq, self.inner.world.now());
        records.iter().for_each(|record| home::apply(&mut state, record));
        let (done, result) = oneshot::channel();
        let inbox = key.map(|key| key.row(state.seq, None));
        let append = Append { inbox, ..append(&state, expected, at, records, bodies) };
        self.inner.store.append(append, Box::new(move |r| drop(done.send(r))));
        let outcome = result.await.unwrap_or(Err(AppendError::Store(StoreError::Closed)));
        if let Err(error) = outcome {
            // It may be on disk all the same: then it is in force.
            let _ = self.refold().await;
            return Err(EngineError::Halted(error.to_string()));
        }
        self.put_in_force(state);
        Ok(None)
    }

    /// What the journal says is in force, whatever became of the answers to earlier appends.
    async fn refold(&self) -> Result<Home, EngineError> {
        let store = self.inner.store.clone();
        let folded = tokio::task::spawn_blocking(move || fold(&store)).await;
        let folded = folded.map_err(|error| EngineError::Internal(error.to_string()))?;
        let state = folded.map_err(EngineError::Unreadable)?;
        if state != self.state() {
            self.put_in_force(state.clone());
        }
        Ok(state)
    }

    fn put_in_force(&self, state: Home) {
        *self.inner.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
        self.announce();
    }
}

/// Does all of `work`, also where whoever asked for it goes away in the middle: what the journal has
/// must come into force.
pub(crate) async fn whole<T: Send + 'static>(
    work: impl Future<Output = Result<T, EngineError>> + Send + 'static,
) -> Result<T, EngineError> {
    tokio::spawn(work).await.unwrap_or_else(|error| Err(EngineError::Internal(error.to_string())))
}

fn append(state: &Home, expected: Seq, at: u64, records: Vec<HomeRecord>, bodies: Vec<Body>) -> Append {
    let entry = Entry { v: VERSION, at, records };
    Append {
        session: SessionId::HOME,
        expected,
        at,
        lineage: state.lineage,
        records: u32::try_from(entry.records.len()).unwrap_or(u32::MAX),
        entry: serde_json::to_string(&entry).unwrap_or_default(),
        head: HeadUpdate { open: false, people: false, wake_at: None, wait: None },
        create: (expected == Seq(0)).then(|| NewSession {
            agent: String::new(),
            principal: String::new(),
            channel: "home".into(),
            title: None,
        }),
        bodies,
        inbox: None,
        ledger: Vec::new(),
        snapshot: None,
        memories: Vec::new(),
    }
}

/// The config's text and what it changes, as bodies; those that are not stored yet come with them.
fn seal_config(
    store: &Store,
    before: Option<&BodyRef>,
    text: String,
) -> Result<(BodyRef, Option<BodyRef>, Vec<Body>), StoreError> {
    let old = before.map(|before| store.body(before)).transpose()?.flatten();
    let old = old.filter(|old| old != text.as_bytes());
    let diff = old.map(|old| epochs::difference(&String::from_utf8_lossy(&old), &text));
    let shared = store.seal_shared(text.into_bytes())?;
    let reference = shared.reference();
    let mut new = Vec::new();
    if let Shared::New(body) = shared {
        new.push(body);
    }
    let diff = diff.map(|diff| store.seal(diff.into_bytes())).transpose()?;
    let diff = diff.map(|body| {
        let reference = body.reference();
        new.push(body);
        reference
    });
    Ok((reference, diff, new))
}

/// What was pinned of each server, as it was written.
///
/// # Errors
/// The journal cannot be read.
pub fn pins(store: &Store) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let mut pins = BTreeMap::new();
    for (server, body) in fold(store)?.pins {
        if let Some(text) = store.body(&body).map_err(|error| error.to_string())? {
            pins.insert(server, text);
        }
    }
    Ok(pins)
}

fn fold(store: &Store) -> Result<Home, String> {
    let entries = store.entries_after(SessionId::HOME, Seq(0), usize::MAX).map_err(|e| e.to_string())?;
    // A restored home begins with the lineage that its rows have, so that the change is seen.
    let lineage = entries.first().map_or(store.lineage(), |row| row.lineage);
    let mut state = Home { lineage, ..Home::default() };
    for row in entries {
        let entry: Entry<HomeRecord> = serde_json::from_str(&row.body).map_err(|e| e.to_string())?;
        entry.records.iter().for_each(|record| home::apply(&mut state, record));
    }
    Ok(state)
}

/// `bks_` and 256 random bits in hexadecimal.
fn draw_token(world: &dyn World) -> String {
    let words = (0..4).map(|_| format!("{:016x}", world.random()));
    format!("bks_{}", words.collect::<String>())
}
