//! `serve`: keeps a home's doors open until it is told to stop.
use std::path::Path;

use serde_json::json;

use crate::exit::{Exit, Outcome};
use crate::home;
use crate::print::{Out, Tone};
use crate::serve;

pub async fn run(home: &Path, out: &Out) -> Outcome<Exit> {
    home::require(home)?;
    let ready = |address: std::net::SocketAddr| {
        if out.json {
            out.value(&json!({ "home": home, "listen": address.to_string() }));
        } else {
            out.talk(Tone::Plain, &format!("{} serves on {address}; Ctrl-C ends it", home.display()));
        }
    };
    serve::run(home, ready).await?;
    Ok(Exit::Ok)
}
