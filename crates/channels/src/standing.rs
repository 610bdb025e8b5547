//! Yeses for longer than once: given with the answer to an ask, seen and taken back here.
use axum::Json;
use axum::extract::{Path, State};
use backstay_kernel::id::{Digest, Place};
use backstay_kernel::refusal::{Code, Refusal};
use backstay_kernel::standing::{Always, Standing, arguments, granted};
use serde_json::{Value, json};

use crate::auth::Speaker;
use crate::door::Door;
use crate::error::Problem;
use crate::input::{Input, Keyed, Nothing};

impl Speaker {
    fn may_end(&self, standing: &Standing) -> bool {
        self.sees_all() || self.caller().principal == standing.by
    }
}

impl Door {
    /// What the answer to this ask would stand for; nothing is recorded yet.
    ///
    /// # Errors
    /// It is another ask by now, or one that is answered for once.
    pub(crate) fn stands_for(
        &self,
        speaker: &Speaker,
        place: Place,
        digest: Digest,
        always_ms: u64,
    ) -> Result<Option<Standing>, Problem> {
        let (state, now) = (self.fold(place.session)?, self.engine.now());
        let call = self.call_of(&state, place.seq)?.0;
        let always = Always {
            effect: place.seq,
            digest,
            arguments: arguments(&call.tool, &call.args.to_string()),
            until: now.saturating_add(always_ms),
            by: &speaker.caller().principal,
            speaks: speaker.speaks(),
            is_protected: &|path| self.is_protected(path),
        };
        match granted(&state, &always, &self.engine.policy(), now) {
            // Said again, perhaps: the session knows.
            Err(refusal) if refusal.code == Code::AskClosed => Ok(None),
            granted => Ok(Some(granted?)),
        }
    }
}

pub async fn list(speaker: Speaker, State(door): State<Door>) -> Json<Value> {
    let (now, stand) = (door.engine.now(), door.engine.home().state().standing);
    let theirs = stand.values().filter(|standing| standing.until > now && speaker.may_end(standing));
    let item = |standing: &Standing| {
        json!({
            "id": standing.id, "agent": standing.agent, "principal": standing.principal, "tool": standing.tool,
            "rule": standing.rule.as_ref().map_or("class default", |rule| rule.name.as_str()),
            "by": standing.by, "at": standing.at, "until": standing.until,
        })
    };
    Json(json!({ "standing": theirs.map(item).collect::<Vec<_>>() }))
}

pub async fn revoke(
    speaker: Speaker,
    State(door): State<Door>,
    Path(id): Path<String>,
    key: Keyed,
    Input(Nothing {}): Input<Nothing>,
) -> Result<Json<Value>, Problem> {
    let stand = door.engine.home().state().standing;
    if !stand.get(&id).is_some_and(|standing| speaker.may_end(standing)) {
        return Err(Refusal::new(
            Code::NoSuchStanding,
            "no yes of this id stands, or it is another's",
            "see `backstay approvals standing`",
        )
        .into());
    }
    let by = &speaker.caller().principal;
    let key = door.engine.key(by, key.for_call("revoke standing", &[id.as_bytes()]));
    door.engine.home().revoke_standing(&id, by, key).await?;
    Ok(Json(json!({ "id": id, "revoked": true })))
}
