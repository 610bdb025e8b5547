//! `quickstart`: a home where there is none, and a chat in it.
use std::path::Path;

use super::{chat, init};
use crate::cli::ChatArgs;
use crate::exit::{Exit, Outcome};
use crate::home::{self, Found};
use crate::print::{Out, Tone};

pub async fn run(home: &Path, args: &ChatArgs, out: &Out) -> Outcome<Exit> {
    if home::look(home) != Found::Home {
        let made = init::make(home, None, false, out).await?;
        // The tokens are no data of a chat.
        for line in init::lines(&made) {
            out.talk(Tone::Plain, &line);
        }
        out.talk(Tone::Dim, init::TOKENS_ONCE);
    }
    chat::run(home, args, out).await
}
