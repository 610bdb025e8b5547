//! `mcp login`: who gives out tokens for a server, a person's word on that, the way through their browser, and what it
//! comes back with. The code that it brings is redeemed by whoever keeps the secrets.
use std::io::{BufRead as _, IsTerminal as _};
use std::path::Path;
use std::time::Duration;

use backstay_channels::Why;
use backstay_kernel::refusal::Code;
use backstay_mcp::oauth::{self, Bounds, Drawn, Found, NoClient, Redemption};
use backstay_mcp::{At, Means};
use backstay_secrets::SecretError;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::redirect::{self, Redirect};
use crate::cause::Cause;
use crate::cli::LoginArgs;
use crate::client::{Client, Intent};
use crate::commands::conversation::{list, text};
use crate::config::{self, Checked, Oauth};
use crate::desk::secrets::SECRETS;
use crate::exit::{Exit, Failure, Outcome};
use crate::opening::OpenError;
use crate::print::{Out, Tone, visible_line};
use crate::servers::desk::SERVERS;
use crate::{secrets, serve, time};

pub async fn run(home: &Path, args: &LoginArgs, out: &Out) -> Outcome<Exit> {
    can_keep(home).await?;
    let checked = config::load(home, backstay_tools::manifests()).map_err(OpenError::from)?;
    let (at, own) = server(&checked, &args.name)?;
    let bounds = Bounds::of(serve::network(&checked)?, at);
    let again = format!("backstay mcp login {}", args.name);
    let failed = |why: String| Failure::new(Why::LoginFailed, format!("{}: {why}", args.name), &again);
    let wanted = args.scope.as_deref().map(oauth::scopes);
    let found = oauth::discover(&bounds, at, wanted.as_deref(), args.issuer.as_deref()).await.map_err(failed)?;
    show(at, &found, args, out);
    agree(args, out)?;
    let redirect = Redirect::open(own.redirect.as_ref()).await.map_err(|why| Failure::usage(why, &again))?;
    let client = oauth::client(&bounds, &found, &own.client, &redirect.url).await;
    let client = client.map_err(|none| match none {
        NoClient::Failed(why) => failed(why),
        NoClient::NotRegistered(why) => {
            let next = format!("register a client there, and name it: [mcp.{}.oauth] client_id", args.name);
            Failure { next, ..failed(why) }
        }
    })?;
    let drawn = Drawn::new().map_err(failed)?;
    let open = oauth::address(&found, &client, &drawn, &redirect.url);
    if out.json {
        out.value(&json!({ "open": open, "redirect": redirect.url }));
    } else {
        out.talk(Tone::Plain, "Open this address in a browser, and agree there:");
        out.line(&open);
    }
    let code = waited(args, &redirect, (&found, &drawn), out).await?;
    let redemption = Redemption {
        url: at.url.text(),
        issuer: found.issuer.clone(),
        resource: found.resource,
        token: found.token.text(),
        revocation: found.revocation.map(|url| url.text()),
        scopes: found.scopes,
        client,
        redirect: redirect.url,
        code,
        verifier: drawn.verifier,
    };
    let body = serde_json::to_value(redemption).map_err(|error| Failure::fault(error.to_string()))?;
    let home = Client::connect(home, Intent::Read).await?;
    let answer = home.post(&format!("{SERVERS}/{}/login", args.name), &body).await;
    home.close().await;
    done(&answer?, out);
    Ok(Exit::Ok)
}

/// Nobody is sent through a browser for what cannot be kept then.
async fn can_keep(home: &Path) -> Outcome<()> {
    let client = Client::connect(home, Intent::Read).await?;
    let (kept, status) = (client.get(SECRETS).await, client.get("/api/status").await);
    client.close().await;
    if status?.get("frozen").and_then(Value::as_bool) == Some(true) {
        let message = "the home is frozen, so nothing is asked for";
        return Err(Failure::new(Why::Refused(Code::HomeFrozen), message, "backstay unfreeze"));
    }
    if text(&kept?, "key").is_empty() {
        let none = SecretError::NoKey;
        return Err(Failure::new(Why::Secrets, none.to_string(), secrets::next(&none)));
    }
    Ok(())
}

fn server<'c>(checked: &'c Checked, name: &str) -> Outcome<(&'c At, &'c Oauth)> {
    match checked.mcp.get(name).map(|server| (&server.means, &server.oauth)) {
        Some((Means::Url(at), own)) => Ok((at, own)),
        Some((Means::Program { .. }, _)) => {
            Err(Failure::usage(format!("`{name}` runs here: nobody logs in at it"), "backstay mcp list"))
        }
        None => {
            let message = format!("there is no server `{}`", visible_line(name));
            Err(Failure::new(Why::NotFound, message, "backstay mcp list"))
        }
    }
}

/// What a person agrees to: whom Backstay will speak with, and what it asks for.
fn show(at: &At, found: &Found, args: &LoginArgs, out: &Out) {
    let say = |what: &str, value: &str| out.talk(Tone::Plain, &format!("  {what:<14}{}", visible_line(value)));
    out.talk(Tone::Strong, &format!("{} ({}) has its tokens from:", args.name, at.url.text()));
    say("issuer", &found.issuer);
    say("you go to", &oauth::origin(&found.authorization));
    say("tokens", &found.token.text());
    for (what, url) in [("registers at", &found.registration), ("gives back", &found.revocation)] {
        if let Some(url) = url {
            say(what, &url.text());
        }
    }
    let scopes = found.scopes.join(" ");
    say("scopes", if scopes.is_empty() { "those that are usual there" } else { &scopes });
}

fn agree(args: &LoginArgs, out: &Out) -> Outcome<()> {
    if args.yes {
        return Ok(());
    }
    let next = format!("backstay mcp login {} --yes, once you know these hosts", args.name);
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage("nobody is there who could agree to these hosts", next));
    }
    out.ask("Backstay will send its requests for tokens there. Go on? [y/N] ");
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    if read.is_ok() && matches!(line.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(Failure::new(Cause::LoginRefused, "nothing was asked for", next))
}

/// The code, from the browser or from whoever pastes where it ended.
async fn waited(args: &LoginArgs, redirect: &Redirect, (found, drawn): (&Found, &Drawn), out: &Out) -> Outcome<String> {
    let again = format!("backstay mcp login {}", args.name);
    let is_typed = args.paste || std::io::stdin().is_terminal();
    if is_typed {
        out.talk(Tone::Dim, "If that browser is on another machine, paste the address that it ends at here:");
    }
    let pasted = is_typed.then(pasted).unwrap_or_else(|| mpsc::channel(1).1);
    let code = redirect::code(redirect, pasted, args.paste, found, drawn, |why| out.talk(Tone::Warning, why));
    match tokio::time::timeout(Duration::from_millis(args.wait), code).await {
        Ok(Ok(code)) => Ok(code),
        Ok(Err(why)) => Err(Failure::new(Cause::LoginRefused, why, again)),
        Err(_) => {
            let message = "nobody came back from the browser in time; nothing was kept";
            Err(Failure::new(Why::LoginFailed, message, again))
        }
    }
}

/// Lines of stdin. On a thread that nobody waits for: it may read for as long as the process lives.
fn pasted() -> mpsc::Receiver<String> {
    let (send, lines) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if send.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}

fn done(answer: &Value, out: &Out) {
    if out.json {
        out.value(answer);
        return;
    }
    let login = answer.get("login").unwrap_or(&Value::Null);
    let name = text(answer, "name");
    out.line(&format!("{name} is logged in: {}", words(login)));
    let scopes: Vec<&str> = list(login, "scopes").iter().filter_map(Value::as_str).collect();
    if !scopes.is_empty() {
        out.talk(Tone::Dim, &format!("Its scopes: {}", visible_line(&scopes.join(" "))));
    }
}

/// `until 2026-11-21 06:00:00Z, and renewed, by https://auth.example.com`
pub fn words(login: &Value) -> String {
    let until = login.get("until").and_then(Value::as_u64).map(time::stamp);
    let renews = login.get("renews").and_then(Value::as_bool) == Some(true);
    let state = match (text(login, "state"), until, renews) {
        ("elsewhere", _, _) => "for another URL".to_owned(),
        ("ended", until, _) => format!("ended {}", until.unwrap_or_default()),
        (_, Some(until), true) => format!("until {until}, and renewed"),
        (_, Some(until), false) => format!("until {until}"),
        (_, None, _) => "until it is withdrawn".to_owned(),
    };
    format!("{state}, by {}", visible_line(text(login, "issuer")))
}
