//! The OpenAI-compatible door: an agent is a model, a turn is a completion.
pub mod pasts;
pub mod recent;

mod follow;
mod history;
mod quote;
mod reply;
mod request;
mod stream;
mod words;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use backstay_engine::{Caller, Submission};
use backstay_kernel::id::{Digest, Place, SessionId};
use backstay_kernel::record::Mode;
use http::header::HeaderName;
use http::{Extensions, HeaderMap};
use serde_json::{Value, json};

use crate::auth::{Speaker, Standing};
use crate::door::{Closing, Door, closed};
use crate::error::Problem;
use crate::input::{Input, Keyed, Whole, digest_of};
use crate::rows::Row;
use follow::Follow;
use request::{Chat, Role, Said};

/// The name of this door.
pub const CHANNEL: &str = "openai";

const SESSION: HeaderName = HeaderName::from_static("x-backstay-session");
const TURN: HeaderName = HeaderName::from_static("x-backstay-turn");

pub async fn models(_: Speaker, State(door): State<Door>) -> Json<Value> {
    let policy = door.engine.policy();
    let model = |name: &String| json!({ "id": name, "object": "model", "created": 0, "owned_by": "backstay" });
    Json(json!({ "object": "list", "data": policy.agents.keys().map(model).collect::<Vec<_>>() }))
}

pub async fn chat(
    speaker: Speaker,
    State(door): State<Door>,
    headers: HeaderMap,
    extensions: Extensions,
    Input(written): Input<request::Written>,
) -> Result<Response, Problem> {
    let chat = written.check()?;
    let call = Call::of(&speaker, &door, &headers, &extensions, &chat).await?;
    let follow = match call.to_attach(&door, &chat).await? {
        Some(place) => {
            let events = door.engine.subscribe(speaker.caller().role, place.session).await?;
            Follow::attach(&door, place, events).await?
        }
        None => call.submit(&door, &chat).await?,
    };
    let place = follow.place();
    let ending = Ending { closing: Closing::of(&extensions), standing: speaker.standing().clone() };
    let mut response = if chat.stream {
        stream::answer(follow, &chat, ending, &door)
    } else {
        reply::wait(follow, &chat, ending, &door)
            .await
            .map_or_else(Problem::into_response, |whole| Json(whole).into_response())
    };
    let value = |text: String| text.parse().map_err(|_| Problem::internal(&"an id that is no header value"));
    response.headers_mut().insert(SESSION, value(place.session.to_string())?);
    response.headers_mut().insert(TURN, value(place.to_string())?);
    Ok(response)
}

/// What ends a call before its turn does.
struct Ending {
    closing: Option<Closing>,
    standing: Standing,
}

impl Ending {
    /// Why, once there is a reason.
    async fn told(self) -> Problem {
        tokio::select! {
            () = closed(self.closing) => Problem::draining(),
            () = self.standing.withdrawn() => Problem::withdrawn(),
        }
    }
}

/// One request, and by what it may be the same as another.
struct Call {
    caller: Caller,
    /// Named by the header, seen by the caller.
    session: Option<Row>,
    key: Option<String>,
    is_retry: bool,
    /// Of the session header and the bytes of the body.
    digest: Digest,
}

impl Call {
    async fn of(
        speaker: &Speaker,
        door: &Door,
        headers: &HeaderMap,
        extensions: &Extensions,
        chat: &Chat,
    ) -> Result<Self, Problem> {
        let named = headers.get(SESSION).map(|value| value.to_str().unwrap_or_default());
        let session = match named {
            None => None,
            Some(text) => {
                let id = SessionId::parse(text).ok_or_else(|| Problem::not_found("session"))?;
                Some(door.session_of(speaker, id).await?)
            }
        };
        if let Some(row) = session.as_ref().filter(|row| row.agent != chat.agent) {
            return Err(Problem::malformed(format!(
                "this session is of the agent `{}`, and `model` is another",
                row.agent
            )));
        }
        let count = headers.get("x-stainless-retry-count").and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        let body = extensions.get::<Whole>().map(|whole| whole.0.clone()).unwrap_or_default();
        let principal = &speaker.caller().principal;
        let digest = digest_of("chat", &[principal.as_bytes(), named.unwrap_or_default().as_bytes(), &body]);
        Ok(Self {
            caller: speaker.at(CHANNEL),
            session,
            key: Keyed::of(headers)?.text(),
            is_retry: count.is_some_and(|count| count >= 1),
            digest,
        })
    }

    /// The open turn that this request, by its own word a retry without a key, has begun before.
    async fn to_attach(&self, door: &Door, chat: &Chat) -> Result<Option<Place>, Problem> {
        if !self.is_retry || self.key.is_some() {
            return Ok(None);
        }
        let known = door.recent.find(&self.digest);
        let (principal, session, chat) = (self.caller.principal.clone(), self.session.clone(), chat.clone());
        let found = door.off_thread(move |door| {
            let place = match known {
                Some(place) => Some(place),
                None => history::find_open(door, &principal, session.as_ref(), &chat)?,
            };
            let is_open = |place: &Place| door.turn(*place).is_ok_and(|now| now.state() != "ended");
            Ok(place.filter(is_open))
        });
        found.await
    }

    async fn submit(self, door: &Door, chat: &Chat) -> Result<Follow, Problem> {
        let (session, quoted) = self.place_for(door, chat).await?;
        let submission = Submission {
            session,
            agent: chat.agent.clone(),
            mode: Mode::Queue,
            quoted,
            text: chat.text.clone(),
            key: self.key.clone().map(|key| (key, self.digest)),
        };
        let keyed = self.key.is_some();
        let inner = door.clone();
        // On a task of its own: a client that hangs up now must find its turn again.
        let submitted = tokio::spawn(async move {
            let (submitted, events) = inner.engine.submit_listening(&self.caller, submission).await?;
            let place = Place { session: submitted.session, seq: submitted.turn };
            if !keyed {
                inner.recent.remember(self.digest, place);
            }
            Ok::<_, Problem>((place, events))
        });
        let (place, events) = submitted.await.unwrap_or_else(|error| Err(Problem::internal(&error)))?;
        if !keyed {
            return Ok(Follow::fresh(door, place, events));
        }
        Follow::attach(door, place, events).await
    }

    /// The session that the message goes to, and what is quoted before it.
    async fn place_for(&self, door: &Door, chat: &Chat) -> Result<(Option<SessionId>, Vec<String>), Problem> {
        if let Some(row) = &self.session {
            // Nothing was said in it yet: the preferences count; later the journal has them.
            let preferences = chat.earlier.iter().filter(|said| said.role == Role::System && row.seq.0 <= 1);
            return Ok((Some(row.session), preferences.map(quote::write).collect()));
        }
        if chat.earlier.iter().any(|said| said.role != Role::System) {
            let (principal, chat) = (self.caller.principal.clone(), chat.clone());
            let found = door.off_thread(move |door| history::find(door, &principal, &chat));
            if let Some(session) = found.await? {
                return Ok((Some(session), Vec::new()));
            }
        }
        Ok((None, chat.earlier.iter().map(quote::write).collect()))
    }
}

/// What a client and the journal both know of one message: who spoke, and what, but for the white
/// space around it.
fn fingerprint(role: Role, text: &str) -> u64 {
    let digest = Digest::of("backstay said v1", &[role.word().as_bytes(), text.trim().as_bytes()]);
    digest.0.iter().take(8).fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
}

fn fingerprints(said: &[Said]) -> Vec<u64> {
    said.iter().map(|said| fingerprint(said.role, &said.text)).collect()
}
