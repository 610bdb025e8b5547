//! `init`: makes a home. Every step leaves a state from which a second `init` goes on, and the
//! tokens come last: a home whose tokens nobody has seen is not finished.
mod server;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use backstay_engine::NewToken;
use backstay_kernel::home::{HomeRecord, Speaks, TokenScope};
use backstay_kernel::id::{Seq, SessionId};
use backstay_kernel::record::Entry;
use backstay_store::{Options, Store, StoreError};
use serde_json::json;

use crate::cause::Cause;
use crate::cli::InitArgs;
use crate::config::{self, Choice};
use crate::exit::{Exit, Failure, Outcome};
use crate::home::{self, Found};
use crate::opening::Keys;
use crate::print::{Out, Tone};
use crate::serve;

/// Whom the first tokens belong to, and who speaks at this machine.
pub const OWNER: &str = "owner";
/// Said of every new home's tokens.
pub const TOKENS_ONCE: &str = "The tokens are for the HTTP API and are shown only now; the command line needs none.";
const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// A new home and its only tokens, which nothing remembers.
#[derive(Debug)]
pub struct Made {
    pub home: PathBuf,
    /// To talk.
    pub chat: String,
    /// To stop, settle and set.
    pub operator: String,
    pub choice: Choice,
}

pub async fn run(default: &Path, args: InitArgs, out: &Out) -> Outcome<Exit> {
    let home = match &args.dir {
        Some(dir) => home::resolve(Some(dir))?,
        None => default.to_owned(),
    };
    match made_at(&home, args, out).await {
        // The way on leads to this home, which `--home` may not name.
        Err(failure) => Err(Failure { next: home::hint(&failure.next, &home::command(&home)), ..failure }),
        made => made,
    }
}

async fn made_at(home: &Path, args: InitArgs, out: &Out) -> Outcome<Exit> {
    args.api_key_env.as_deref().map_or(Ok(()), check_variable)?;
    if args.base_url.is_some() || args.commands {
        // Whatever the server says, nothing would come of it.
        match home::look(home) {
            Found::Home => return Err(exists(home, "already")),
            Found::Unconfigured => return Err(Failure::unconfigured(home)),
            Found::Nothing | Found::Part => {}
        }
    }
    let given = match args.base_url {
        Some(base_url) => Some(server::choose(base_url, args.model, args.api_key_env, out).await?),
        None => None,
    };
    let made = make(home, given, args.commands, out).await?;
    let next = format!("{} chat", home::command(&made.home));
    if out.json {
        let Made { home, chat, operator, .. } = &made;
        out.value(&json!({ "home": home, "token": chat, "operator_token": operator, "next": next }));
        return Ok(Exit::Ok);
    }
    lines(&made).iter().for_each(|line| out.line(line));
    out.talk(Tone::Dim, TOKENS_ONCE);
    out.line(&format!("next: {next}"));
    Ok(Exit::Ok)
}

/// What was given is not told: it may be the key itself.
fn check_variable(name: &str) -> Outcome<()> {
    if std::env::var(name).is_ok_and(|value| !value.trim().is_empty()) {
        return Ok(());
    }
    let message = "--api-key-env names no variable of the environment that holds a key; nothing was made";
    Err(Failure::usage(message, "export the key in a variable and give that variable's name, never the key"))
}

/// What a person is told of a new home.
#[must_use]
pub fn lines(made: &Made) -> [String; 4] {
    [
        format!("home:           {}", made.home.display()),
        format!("model:          {}", made.choice.words()),
        format!("chat token:     {}", made.chat),
        format!("operator token: {}", made.operator),
    ]
}

/// Makes the home, or goes on where another `init` was cut off.
///
/// # Errors
/// There is a home already, or something else that must not be touched.
pub async fn make(home: &Path, given: Option<Choice>, commands: bool, out: &Out) -> Outcome<Made> {
    home::refuse_foreign(home)?;
    home::refuse_anothers(home)?;
    if home::look(home) == Found::Unconfigured {
        return Err(Failure::unconfigured(home));
    }
    make_directory(home)?;
    let choice = given.clone().unwrap_or_else(choose);
    write_config(home, &config::template(&choice, commands), given.is_some() || commands, out)?;
    make_directory(&home.join(config::WORKSPACE))?;
    make_journal(home)?;
    let opened = serve::open(home, Keys::IfThere).await?;
    let engine = &opened.engine;
    let new = [TokenScope::Chat, TokenScope::Operate].map(|scope| {
        let (principal, by) = (OWNER.to_owned(), "init".to_owned());
        NewToken { principal, speaks: Speaks::Program, scope, by }
    });
    let tokens = engine.home().create_tokens(&engine.policy(), new, None).await;
    opened.close().await;
    let [chat, operator] = tokens?;
    Ok(Made { home: home.to_owned(), chat, operator, choice })
}

/// The model that this machine has a key for.
fn choose() -> Choice {
    let has = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if has("ANTHROPIC_API_KEY") {
        Choice::Anthropic
    } else if has("OPENAI_API_KEY") {
        Choice::OpenAi
    } else {
        Choice::Rehearsal
    }
}

fn make_directory(directory: &Path) -> Outcome<()> {
    let made = fs::DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory);
    made.map_err(|error| Failure::io(directory, &error))
}

/// A config that is there stays, unless another one was asked for: then nothing is done.
fn write_config(home: &Path, text: &str, asked: bool, out: &Out) -> Outcome<()> {
    let path = home.join(config::FILE);
    match fs::read_to_string(&path) {
        Ok(found) if found == text => return Ok(()),
        Ok(_) if home::look(home) == Found::Home => return Ok(()),
        Ok(_) if asked => {
            let message = format!("{} is there already and says something else", path.display());
            let next = "remove that file, or leave --base-url, --model and --commands out";
            return Err(Failure::new(Cause::Exists, message, next));
        }
        Ok(_) => {
            out.talk(Tone::Dim, &format!("{} is there already and stays as it is.", path.display()));
            return Ok(());
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(Failure::io(&path, &error)),
    }
    if let Err(mistakes) = config::check_text(text, home, None, backstay_tools::manifests()) {
        return Err(Failure::usage(mistakes.to_string(), "give another --base-url or --model"));
    }
    let partial = home.join(home::CONFIG_PARTIAL);
    put(&partial, text).map_err(|error| Failure::io(&partial, &error))?;
    let renamed = fs::rename(&partial, &path).and_then(|()| fs::File::open(home)?.sync_all());
    renamed.map_err(|error| Failure::io(&path, &error))
}

fn put(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = fs::OpenOptions::new().create(true).truncate(true).write(true).mode(FILE_MODE).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Makes the journal, or finds one that has given no token yet.
fn make_journal(home: &Path) -> Outcome<()> {
    let store = match Store::create(home, Options::default()) {
        Ok(store) => return Ok(store.close()?),
        Err(StoreError::Exists(_)) => Store::open(home, Options::default())?,
        Err(StoreError::Busy(_)) => return Err(exists(home, "and in use")),
        Err(error) => return Err(error.into()),
    };
    let finished = has_token(&store);
    store.close()?;
    if finished? { Err(exists(home, "already")) } else { Ok(()) }
}

fn exists(home: &Path, how: &str) -> Failure {
    let message = format!("{} is a home {how}; nothing was changed", home.display());
    let command = home::command(home);
    let create = "tokens create --speaks program --scope chat";
    let next = format!("{command} chat; another token: {command} {create} --principal {OWNER}");
    Failure::new(Cause::Exists, message, next)
}

fn has_token(store: &Store) -> Outcome<bool> {
    for entry in store.entries_after(SessionId::HOME, Seq(0), usize::MAX)? {
        let entry: Entry<HomeRecord> =
            serde_json::from_str(&entry.body).map_err(|error| Failure::fault(error.to_string()))?;
        if entry.records.iter().any(|record| matches!(record, HomeRecord::TokenCreated(_))) {
            return Ok(true);
        }
    }
    Ok(false)
}
