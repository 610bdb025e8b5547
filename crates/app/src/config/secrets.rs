//! Secrets in the config: where their key lies, what they are bound to, who is granted them. No value
//! stands there.
use std::collections::BTreeMap;
use std::path::PathBuf;

use backstay_secrets::{BadBinding, Binding};

use super::check::{Checker, unique};
use super::mistake::{Code, quoted};
use super::raw::View;
use super::value::Spot;

/// The built-in tools whose requests may carry a secret.
const TOOLS: [&str; 4] = ["http_request", "web_fetch", "git_fetch", "git_push"];

impl<'a> Checker<'a> {
    pub fn secrets_key(&mut self) -> Option<PathBuf> {
        let home = self.root.table("home")?;
        self.file_outside(home, "secrets_key")
    }

    /// A file that is there: a key inside of the home would be copied with what it protects.
    pub fn file_outside(&mut self, table: View<'a>, key: &str) -> Option<PathBuf> {
        let written = table.text(key)?;
        let path = self.file(table, key)?;
        if path.to_str().is_none_or(|path| self.ground.holds(path)) {
            let message = format!("{} lies in the home, whose copies would hold it too", quoted(key));
            self.mistakes.suggest(written.place, Code::OwnFiles, message, "a file outside of the home");
            return None;
        }
        Some(path)
    }

    pub fn bindings(&mut self) -> BTreeMap<String, Binding> {
        let mut out = BTreeMap::new();
        for (name, table) in self.root.named("secrets") {
            let Some(bind) = table.table("bind").filter(|bind| bind.is_sound()) else { continue };
            self.makers(bind);
            match binding(bind).checked() {
                Ok(binding) => drop(out.insert(name.to_owned(), binding)),
                Err(bad) => {
                    let place = bind.place_of(key_of(bad));
                    self.mistakes.add(place, Code::BadValue, format!("secrets.{name}: {bad}"));
                }
            }
        }
        out
    }

    /// A name that makes no request would look right and let nothing send the secret.
    fn makers(&mut self, bind: View<'a>) {
        let behind_url = |(name, table): (&str, View<'_>)| table.text("url").map(|_| format!("mcp.{name}"));
        let servers = self.root.named("mcp").into_iter().filter_map(behind_url);
        let known: Vec<String> = TOOLS.iter().map(|tool| (*tool).to_owned()).chain(servers).collect();
        for Spot { place, value } in bind.texts("tools").map_or(&[][..], |spot| spot.value) {
            if !known.contains(value) {
                self.mistakes.unknown(*place, Code::UnknownName, "tool", value, known.iter().map(String::as_str));
            }
        }
    }

    /// Names that have a table: without one the agent could not send it anywhere.
    pub fn granted_secrets(&mut self, grants: View<'a>) -> Vec<String> {
        let written = grants.texts("secrets").map_or(&[][..], |spot| spot.value);
        for Spot { place, value } in written {
            self.known("secret", "secrets", &Spot { place: *place, value: value.as_str() });
        }
        unique(written.iter().map(|spot| spot.value.clone()))
    }

    /// A key that agents could send, too, is no key of the home's alone; `twice` are the names of two keys of the
    /// file that both hold it.
    pub fn own_secret(&mut self, secret: &Spot<&str>, twice: Option<[&str; 2]>) {
        // A login has another kind of name, and is nobody's key.
        if !super::is_name(secret.value) {
            let message = format!("{} is no secret's name", quoted(secret.value));
            self.mistakes.add(secret.place, Code::BadName, message);
        }
        if let Some([one, other]) = twice {
            let message = format!("`{one}` and `{other}` both hold the key: leave one away");
            self.mistakes.add(secret.place, Code::NotUsed, message);
        }
        if self.root.named("secrets").iter().any(|(name, _)| *name == secret.value) {
            let message =
                format!("the secret {} is bound for agents; this key is the home's own", quoted(secret.value));
            self.mistakes.suggest(secret.place, Code::BadValue, message, "a secret of another name");
        }
    }
}

fn binding(bind: View<'_>) -> Binding {
    let text = |key| bind.text(key).map(|spot| spot.value.to_owned());
    let texts = |key| {
        let written = bind.texts(key).map_or(&[][..], |spot| spot.value);
        unique(written.iter().map(|spot| spot.value.clone()))
    };
    Binding {
        host: text("host").unwrap_or_default(),
        port: bind.integer("port").and_then(|port| u16::try_from(port.value).ok()).unwrap_or_default(),
        methods: texts("method"),
        path_prefix: text("path_prefix").unwrap_or_default(),
        query: texts("query"),
        tools: texts("tools"),
        header: text("header").unwrap_or_default(),
        scheme: text("scheme"),
    }
}

fn key_of(bad: BadBinding) -> &'static str {
    match bad {
        BadBinding::Host => "host",
        BadBinding::Port => "port",
        BadBinding::Method => "method",
        BadBinding::Path | BadBinding::TakesMany => "path_prefix",
        BadBinding::Query => "query",
        BadBinding::Tools => "tools",
        BadBinding::Header => "header",
        BadBinding::Scheme => "scheme",
    }
}
