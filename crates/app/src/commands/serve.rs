//! `serve`: keeps a home's doors open until it is told to stop.
use std::path::Path;

use serde_json::json;

use crate::client::Client;
use crate::exit::{Exit, Failure, Outcome};
use crate::home;
use crate::limits;
use crate::print::{Out, Tone};
use crate::serve;

pub async fn run(home: &Path, out: &Out) -> Outcome<Exit> {
    home::require(home)?;
    let until = tokio::time::Instant::now() + limits::BUSY_WAIT;
    loop {
        let ended = serve::run(home, |address| tell(home, address, out)).await.map_err(Failure::from);
        let Err(failure) = ended else { return Ok(Exit::Ok) };
        // A command that is at work in its own process is soon done; a process that serves is not.
        if failure.exit == Exit::Busy && Client::running(home).await?.is_some() {
            return Err(Failure::served(home));
        }
        if failure.exit != Exit::Busy || tokio::time::Instant::now() >= until {
            return Err(failure);
        }
        tokio::time::sleep(limits::BUSY_PAUSE).await;
    }
}

fn tell(home: &Path, address: std::net::SocketAddr, out: &Out) {
    if out.json {
        out.value(&json!({ "home": home, "listen": address.to_string() }));
    } else if out.talks_to_terminal {
        // A program that collects stderr has it in the log, line by line as JSON.
        out.talk(Tone::Plain, &format!("{} serves on {address}; Ctrl-C ends it", home.display()));
    }
}
