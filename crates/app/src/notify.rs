//! `[notify]`: what waits for a person is told to an address of the operator's, each thing once, signed.
//!
//! What is to be told is not queued: it is what waits now ([`Follower`]) without what was taken already. So nothing
//! piles up while the receiver is away, what ended meanwhile is not told, and a start goes on where the last one was.
//! The only thing written down is which of the ids the receiver has taken; where that is lost they come again, under
//! the same ids. No turn waits for any of it.
mod key;
mod taken;

use std::path::{Path, PathBuf};
use std::time::Duration;

use backstay_channels::{Door, Follower, Notice, Telling, Why};
use backstay_providers::Client;
use backstay_secrets::Vault;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::config::Checked;
use crate::kept;
use crate::limits::{NOTIFY_RETRY_MAX, NOTIFY_RETRY_MIN};
use crate::opening::{Keys, OpenError};
use crate::time;
use key::KeyFrom;
use taken::Taken;

/// In the home: what the receiver has taken.
const STATE: &str = "state.notices";

/// Where notices go, and by which key they are signed.
pub struct Address {
    url: String,
    key: KeyFrom,
    client: Client,
}

impl Address {
    /// `None` where the config names none, and for whoever does not serve the home.
    ///
    /// # Errors
    /// The key is not there, or is none.
    pub fn new(config: &Checked, vault: &Vault, keys: Keys, client: &Client) -> Result<Option<Self>, OpenError> {
        let (Some(notify), Keys::Served) = (&config.notify, keys) else { return Ok(None) };
        let key = KeyFrom::new(notify, vault);
        key.signer().map_err(OpenError::Setup)?;
        Ok(Some(Self { url: notify.url.clone(), key, client: client.clone() }))
    }
}

/// Tells of one home.
pub struct Teller {
    address: Address,
    home: PathBuf,
    door: Door,
    taken: Taken,
    telling: Telling,
}

impl Teller {
    pub fn new(address: Address, home: &Path, door: Door) -> Self {
        let taken = Taken::read(&home.join(STATE)).unwrap_or_else(|why| {
            tracing::warn!(why, "{STATE} cannot be read: what waits is told again");
            Taken::default()
        });
        Self { address, home: home.to_owned(), door, taken, telling: Telling::default() }
    }

    /// Until the home is closed.
    pub async fn run(mut self) {
        let mut follower = Follower::new(self.door.clone());
        let mut pause = NOTIFY_RETRY_MIN;
        loop {
            let waits = match follower.now().await {
                Ok(waits) => waits,
                Err(problem) if problem.why == Why::Draining => return,
                Err(_) => {
                    sleep(NOTIFY_RETRY_MIN).await;
                    continue;
                }
            };
            let Some(next) = self.next(&waits) else {
                follower.change(&waits).await;
                continue;
            };
            match self.tell(&next).await {
                Ok(()) => {
                    pause = NOTIFY_RETRY_MIN;
                    self.taken(&next, &waits).await;
                }
                Err(why) => {
                    tracing::warn!(why, kind = next.kind.word(), "what waits could not be told; it is tried again");
                    self.taken.refused(next.id);
                    self.telling.failed += 1;
                    self.telling.last_error = Some(why);
                    self.door.tells(self.telling.clone());
                    sleep(jittered(pause, self.door.engine.world().random())).await;
                    pause = pause.saturating_mul(2).min(NOTIFY_RETRY_MAX);
                }
            }
        }
    }

    /// What is told now: of what was not taken yet the one that was tried least.
    fn next(&mut self, waits: &[Notice]) -> Option<Notice> {
        let ids: Vec<&str> = waits.iter().map(|notice| notice.id.as_str()).collect();
        let untold = self.taken.untold(&ids);
        self.telling.untold = untold.len();
        self.door.tells(self.telling.clone());
        let first = *untold.first()?;
        waits.iter().find(|notice| notice.id == first).cloned()
    }

    async fn tell(&self, notice: &Notice) -> Result<(), String> {
        let signer = self.address.key.signer()?;
        let body = self.body(notice).to_string();
        let at_s = self.door.engine.now() / 1000;
        let headers = [
            ("webhook-id", notice.id.clone()),
            ("webhook-timestamp", at_s.to_string()),
            ("webhook-signature", signer.sign(&notice.id, at_s, &body)),
        ];
        self.address.client.deliver(&self.address.url, body, &headers).await
    }

    /// The same bytes at every try. Names of the config, times and places; no word of a model's or a person's, no
    /// argument, and nothing by which a thing could be answered unseen.
    fn body(&self, notice: &Notice) -> Value {
        let name = self.home.file_name().map(|name| name.to_string_lossy().into_owned());
        let mut data = json!(notice);
        if let Some(fields) = data.as_object_mut() {
            fields.insert("home".to_owned(), json!(name));
            fields.insert("lineage".to_owned(), json!(self.door.engine.store().lineage().to_string()));
        }
        let at = time::stamp(notice.since).replace(' ', "T");
        json!({ "type": format!("waits.{}", notice.kind.word()), "timestamp": at, "data": data })
    }

    async fn taken(&mut self, notice: &Notice, waits: &[Notice]) {
        self.telling.sent += 1;
        self.telling.last_error = None;
        let ids: Vec<&str> = waits.iter().map(|notice| notice.id.as_str()).collect();
        self.taken.take(&notice.id, &ids);
        let text = self.taken.text();
        let home = self.home.clone();
        let written = tokio::task::spawn_blocking(move || kept::replace(&home, STATE, &text)).await;
        if let Ok(Err(error)) = written {
            // A full disk is among what is told.
            tracing::warn!(%error, "{STATE} cannot be written: what waits is told again after a restart");
        }
    }
}

/// Between half of it and all of it, so that homes that were cut off together do not come back together.
fn jittered(pause: Duration, random: u64) -> Duration {
    let half = pause / 2;
    let share = u32::try_from(random % 1000).unwrap_or_default();
    half.saturating_add(half * share / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_between_its_half_and_its_whole() {
        let all: Vec<Duration> = (0..1000).map(|random| jittered(NOTIFY_RETRY_MIN, random)).collect();
        assert_eq!(all.iter().min(), Some(&(NOTIFY_RETRY_MIN / 2)));
        assert!(all.iter().max() > Some(&(NOTIFY_RETRY_MIN * 99 / 100)) && all.iter().max() < Some(&NOTIFY_RETRY_MIN));
    }
}
