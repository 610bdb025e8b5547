//! The logins of a home: what goes along with a request, and how it is renewed. No answer of a server of tools leads
//! anywhere from here: tokens are asked for where a person has agreed that they are.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use backstay_egress::{Credential, Network, Reached, Took};
use backstay_kernel::destination::Connection;
use backstay_kernel::url::Url;
use http::header::{AUTHORIZATION, HeaderValue};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

use super::bounds::Bounds;
use super::grant::Redemption;
use super::token::{Asker, Client, Key, NoTokens, Tokens};
use crate::limits::EARLY_MS;
use crate::remote::At;

/// What was agreed with an authorization server. Kept sealed, as one secret.
#[derive(Clone, Serialize, Deserialize)]
pub struct Login {
    /// Of the server that the token is for: it goes to no other.
    pub url: String,
    pub issuer: String,
    pub resource: String,
    pub token: String,
    pub revocation: Option<String>,
    pub client: Client,
    pub scopes: Vec<String>,
    pub access: String,
    pub refresh: Option<String>,
    /// Milliseconds since 1970, where that was said.
    pub until: Option<u64>,
    /// From then on it is renewed before it is used.
    pub renew_at: Option<u64>,
}

impl Login {
    fn with(self, tokens: Tokens, now: u64) -> Self {
        let life = tokens.seconds.map(|seconds| seconds.saturating_mul(1000));
        Self {
            access: tokens.access,
            // A server that gives no other one takes the same again.
            refresh: tokens.refresh.or(self.refresh),
            scopes: tokens.scopes.unwrap_or(self.scopes),
            until: life.map(|life| now.saturating_add(life)),
            renew_at: life.map(|life| now.saturating_add(life - EARLY_MS.min(life / 2))),
            ..self
        }
    }

    /// Its time is over, and nothing renews it.
    #[must_use]
    pub fn has_ended(&self, now: u64) -> bool {
        self.refresh.is_none() && self.until.is_some_and(|until| until <= now)
    }

    /// What must not be seen.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        let given = match self.client.proof.key() {
            Some(Key::Given(value)) => Some(value.as_str()),
            Some(Key::Kept(_)) | None => None,
        };
        [Some(self.access.as_str()), self.refresh.as_deref(), given].into_iter().flatten()
    }
}

/// Where logins are kept.
pub trait Keeper: Send + Sync {
    fn login(&self, server: &str) -> Option<Login>;
    /// In place of one that is there, on disk before it is in force.
    ///
    /// # Errors
    /// It cannot be kept, in words.
    fn renew(&self, server: &str, login: &Login) -> Result<(), String>;
    /// What proves a client that the operator has registered.
    fn secret(&self, name: &str) -> Option<String>;
    /// A token was taken out of an answer this often.
    fn took(&self, name: &str, forms: u64);
    /// Milliseconds since 1970.
    fn now(&self) -> u64;
}

/// Clones share the turns.
#[derive(Clone)]
pub struct Logins {
    keeper: Arc<dyn Keeper>,
    network: Network,
    /// By server: one at a time asks for its tokens, or takes them away.
    turns: Arc<Mutex<BTreeMap<String, Arc<Turn<()>>>>>,
}

/// The connections of one call.
pub type Made = Arc<Mutex<Vec<Reached>>>;

/// What goes along with one request.
pub struct Token {
    pub credential: Credential,
    access: String,
}

/// The login of one server.
#[derive(Clone)]
pub struct Pass {
    logins: Logins,
    server: String,
    at: Arc<At>,
}

/// Before the name of a server, in the name of its login; no name that an operator gives has it.
const PREFIX: &str = "mcp.";

/// What the record of a request calls it.
#[must_use]
pub fn secret_of(server: &str) -> String {
    format!("{PREFIX}{server}")
}

/// The server whose login is kept as that.
#[must_use]
pub fn server_of(secret: &str) -> Option<&str> {
    secret.strip_prefix(PREFIX)
}

impl Logins {
    #[must_use]
    pub fn new(keeper: Arc<dyn Keeper>, network: Network) -> Self {
        Self { keeper, network, turns: Arc::default() }
    }

    /// The same with another way out.
    #[must_use]
    pub fn by(&self, network: Network) -> Self {
        Self { network, ..self.clone() }
    }

    #[must_use]
    pub fn of(&self, server: &str) -> Option<Login> {
        self.keeper.login(server)
    }

    #[must_use]
    pub fn now(&self) -> u64 {
        self.keeper.now()
    }

    #[must_use]
    pub fn pass(&self, server: &str, at: &At) -> Pass {
        Pass { logins: self.clone(), server: server.to_owned(), at: Arc::new(at.clone()) }
    }

    /// Whoever holds it is the only one who changes the login of this server.
    pub async fn turn(&self, server: &str) -> OwnedMutexGuard<()> {
        let turn = Arc::clone(locked(&self.turns).entry(server.to_owned()).or_default());
        turn.lock_owned().await
    }

    /// Redeems the code of a login.
    ///
    /// # Errors
    /// There is no token for it, in words.
    pub async fn redeem(&self, at: &At, asked: Redemption) -> Result<Login, String> {
        let asker = self.asker(at, ("token endpoint", &asked.token), &asked.client)?;
        if let Some(revocation) = &asked.revocation {
            asker.bounds.url("revocation endpoint", revocation)?;
        }
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", &asked.code),
            ("redirect_uri", &asked.redirect),
            ("code_verifier", &asked.verifier),
            ("resource", &asked.resource),
        ];
        let tokens = asker.tokens(&fields, &mut drop).await.map_err(NoTokens::why)?;
        let login = Login {
            url: asked.url,
            issuer: asked.issuer,
            resource: asked.resource,
            token: asked.token,
            revocation: asked.revocation,
            client: asked.client,
            scopes: asked.scopes,
            access: String::new(),
            refresh: None,
            until: None,
            renew_at: None,
        };
        Ok(login.with(tokens, self.now()))
    }

    /// Tells the authorization server that its tokens are not used any more.
    ///
    /// # Errors
    /// It was not told, in words.
    pub async fn revoke(&self, at: &At, login: &Login) -> Result<(), String> {
        let Some(revocation) = &login.revocation else {
            return Err(format!("{} has no place where tokens are given back", login.issuer));
        };
        let asker = self.asker(at, ("revocation endpoint", revocation), &login.client)?;
        let refresh = login.refresh.as_deref().map(|token| (token, "refresh_token"));
        for (token, kind) in refresh.into_iter().chain([(login.access.as_str(), "access_token")]) {
            let fields = [("token", token), ("token_type_hint", kind)];
            asker.posted(&fields, &mut drop).await.map_err(NoTokens::why)?;
        }
        Ok(())
    }

    fn asker<'c>(&self, at: &At, (what, url): (&str, &str), client: &'c Client) -> Result<Asker<'c>, String> {
        let bounds = Bounds::of(self.network.clone(), at);
        let endpoint = bounds.url(what, url)?;
        Ok(Asker { bounds, endpoint, client, key: self.key(client)? })
    }

    fn key(&self, client: &Client) -> Result<Option<String>, String> {
        match client.proof.key() {
            None => Ok(None),
            Some(Key::Given(value)) => Ok(Some(value.clone())),
            Some(Key::Kept(name)) => match self.keeper.secret(name) {
                Some(value) => Ok(Some(value)),
                None => Err(format!("the secret `{name}` has no value: backstay secrets set {name}")),
            },
        }
    }
}

impl Pass {
    /// What goes along with the next request, renewed where its time comes; nothing, where nobody has logged in.
    pub async fn token(&self, made: &Made) -> Result<Option<Token>, String> {
        let Some(login) = self.login()? else { return Ok(None) };
        let now = self.logins.now();
        let (ends, can_wait) =
            (login.renew_at.is_some_and(|at| at <= now), login.until.is_none_or(|until| until > now));
        if !ends || (login.refresh.is_none() && can_wait) {
            return self.header(&login).map(Some);
        }
        match self.renewed(&login.access, made).await {
            Ok(renewed) => Ok(Some(renewed)),
            // It is not over yet, and may be renewed another time.
            Err(_) if can_wait => self.header(&login).map(Some),
            Err(why) => Err(why),
        }
    }

    /// What is kept now: a person may have logged in where the server is by then, and this call not have got there.
    fn login(&self) -> Result<Option<Login>, String> {
        let login = self.logins.of(&self.server);
        match &login {
            Some(login) if !Url::read(&login.url).is_ok_and(|url| url == self.at.url) => {
                let why = format!("the login of `{}` is for {}, where the server was then", self.server, login.url);
                Err(self.again(&why, None))
            }
            Some(_) | None => Ok(login),
        }
    }

    /// Another one in place of this, which was no use; somebody else's, where they were quicker.
    pub async fn renewed(&self, access: &str, made: &Made) -> Result<Token, String> {
        let (pass, access, made) = (self.clone(), access.to_owned(), Arc::clone(made));
        // What a server gave in exchange for what it took is kept, also where nobody waits for it any more.
        let renewed = tokio::spawn(async move { pass.renew(&access, &made).await }).await;
        let login = renewed.map_err(|error| format!("the login was not renewed: {error}"))??;
        self.header(&login)
    }

    async fn renew(&self, access: &str, made: &Made) -> Result<Login, String> {
        let _turn = self.logins.turn(&self.server).await;
        let login = self.login()?.ok_or_else(|| self.again("nobody is logged in any more", None))?;
        if login.access != access {
            return Ok(login);
        }
        let Some(refresh) = login.refresh.clone() else {
            return Err(self.again(&format!("the login of `{}` has ended", self.server), None));
        };
        let asker = self.logins.asker(&self.at, ("token endpoint", &login.token), &login.client)?;
        let fields =
            [("grant_type", "refresh_token"), ("refresh_token", refresh.as_str()), ("resource", &login.resource)];
        let name = secret_of(&self.server);
        let mut sink = |reached: Reached| {
            let name = name.clone();
            locked(made).push(Box::new(move || Connection { secret: Some(name.clone()), ..reached() }));
        };
        match asker.tokens(&fields, &mut sink).await {
            Ok(tokens) => {
                let next = login.with(tokens, self.logins.now());
                self.keep(next).await
            }
            Err(NoTokens::Ended(why)) => {
                // It is worth nothing, and not asked with again.
                self.keep(Login { refresh: None, ..login }).await?;
                Err(self.again(&format!("the login of `{}` has ended: {why}", self.server), None))
            }
            Err(NoTokens::Failed(why)) => {
                let why = format!("the login of `{}` was not renewed: {why}", self.server);
                Err(self.again(&why, None))
            }
        }
    }

    async fn keep(&self, login: Login) -> Result<Login, String> {
        let (keeper, server) = (Arc::clone(&self.logins.keeper), self.server.clone());
        let kept = tokio::task::spawn_blocking(move || keeper.renew(&server, &login).map(|()| login)).await;
        let kept = kept.unwrap_or_else(|error| Err(error.to_string()));
        kept.map_err(|why| self.again(&format!("the renewed login of `{}` cannot be kept: {why}", self.server), None))
    }

    fn header(&self, login: &Login) -> Result<Token, String> {
        let value = HeaderValue::from_str(&format!("Bearer {}", login.access));
        let mut value = value.map_err(|_| format!("the token of `{}` is none that a header can hold", self.server))?;
        value.set_sensitive(true);
        let here = Bounds::of(self.logins.network.clone(), &self.at).in_clear();
        let (keeper, secret) = (Arc::clone(&self.logins.keeper), secret_of(&self.server));
        let name = secret.clone();
        let took = Took::new(move |forms| keeper.took(&name, forms));
        let credential = Credential { secret, header: AUTHORIZATION, value, here, took };
        Ok(Token { credential, access: login.access.clone() })
    }

    /// What a person does about it. `scopes`: all that the next login asks for.
    pub fn again(&self, why: &str, scopes: Option<&[String]>) -> String {
        let more = scopes.map(|scopes| format!(" --scope '{}'", scopes.join(" "))).unwrap_or_default();
        format!("{why}; `backstay mcp login {}{more}`", self.server)
    }

    pub fn is_there(&self) -> bool {
        self.logins.of(&self.server).is_some()
    }

    /// Scopes that there are.
    pub fn scopes(&self) -> Vec<String> {
        self.logins.of(&self.server).map(|login| login.scopes).unwrap_or_default()
    }
}

impl Token {
    pub fn access(&self) -> &str {
        &self.access
    }
}

pub fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
