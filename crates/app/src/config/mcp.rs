//! Servers of tools as the operator wrote them. Which tools a server has only its pin says: here stand those that
//! somebody is granted, with what their calls do.
use std::collections::BTreeMap;
use std::net::IpAddr;

use backstay_kernel::destination::{Audience, HostGrant, Method};
use backstay_kernel::label::{Confidentiality, Label, Source};
use backstay_kernel::tool::{Answerer, EffectClass, Idempotency, Manifest};
use backstay_kernel::url::{Scheme, Url};
use backstay_mcp::oauth::Registered;
use backstay_mcp::{At, Means};
use backstay_tools::{Role, Terms};

use super::check::Checker;
use super::mistake::{Code, Place, quoted};
use super::raw::View;
use super::tools::audience;
use super::value::{Spot, is_variable};

/// Between the name of a server and that of a tool of it.
pub const JOINT: &str = "__";
/// Characters of a tool's name that model APIs take.
const TOOL_NAME_CHARS_MAX: usize = 64;
/// Programs that fetch what they run.
const FETCHERS: [&str; 8] = ["npx", "npm", "pnpx", "pnpm", "yarn", "bunx", "uvx", "pipx"];
const TIMEOUT_MS: u64 = 60_000;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct McpServer {
    pub means: Means,
    pub oauth: Oauth,
    /// Tools that an agent is granted, by their names there.
    pub tools: BTreeMap<String, Terms>,
}

/// Who we are where a token is asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Oauth {
    pub client: Registered,
    /// Where the browser ends, on this machine.
    pub redirect: Option<Url>,
}

impl Checker<'_> {
    /// Those of `[mcp]`; the checker knows by their names the tools of them that some agent is granted.
    pub fn servers(&mut self) -> BTreeMap<String, McpServer> {
        let mut out = BTreeMap::new();
        for (name, table) in self.root.named("mcp") {
            if name.contains(JOINT) {
                let message = format!("the name {} may not hold `{JOINT}`", quoted(name));
                self.mistakes.add(table.place, Code::BadName, message);
                continue;
            }
            let label =
                Label { conf: conf(table.text("label").map_or("", |spot| spot.value)), ..Label::of(Source::Tool) };
            let audience = audience(table);
            let mut tools = self.declared_of(name, table, label, audience);
            for Spot { place, value: tool } in self.granted_of(name) {
                if !is_tool_name(&format!("{name}{JOINT}{tool}")) {
                    let message = format!("{} is no name of a tool that a model can call", quoted(&tool));
                    self.mistakes.add(place, Code::BadName, message);
                }
                tools.entry(tool).or_insert_with(|| unknown(label, audience));
            }
            for (tool, terms) in &tools {
                let full = format!("{name}{JOINT}{tool}");
                self.tools.insert(full.clone(), placeholder(full, terms));
            }
            let oauth = self.oauth(table);
            if let Some(means) = self.means(table) {
                if matches!(means, Means::Url(_)) {
                    self.fit_elsewhere(table, &tools);
                }
                out.insert(name.to_owned(), McpServer { means, oauth, tools });
            }
        }
        out
    }

    fn declared_of(
        &mut self,
        server: &str,
        table: View<'_>,
        label: Label,
        audience: Audience,
    ) -> BTreeMap<String, Terms> {
        let mut tools = BTreeMap::new();
        for (tool, table) in table.named("tools") {
            if let Some(terms) = self.terms(table, server, audience) {
                tools.insert(tool.to_owned(), Terms { result: label, ..terms });
            }
        }
        self.known_tools(table, server, &tools);
        tools
    }

    /// Tools of this server that any agent is granted.
    fn granted_of(&self, server: &str) -> Vec<Spot<String>> {
        let mut out = Vec::new();
        for (_, agent) in self.root.named("agents") {
            let granted = agent.table("grants").and_then(|grants| grants.texts("tools"));
            for Spot { place, value } in granted.map_or(&[][..], |spot| spot.value) {
                if let Some((_, tool)) = value.split_once(JOINT).filter(|(of, _)| *of == server) {
                    out.push(Spot { place: *place, value: tool.to_owned() });
                }
            }
        }
        out
    }

    /// A program of this machine, or a URL.
    fn means(&mut self, table: View<'_>) -> Option<Means> {
        match (table.texts("command"), table.text("url")) {
            (Some(_), None) => {
                if !table.addresses("allow_private").is_empty() {
                    let message = "`allow_private` is for a server behind a `url`; a program's has no network";
                    self.mistakes.add(table.place, Code::NotUsed, message);
                }
                if let Some(oauth) = table.table("oauth") {
                    let message = "`oauth` is for a server behind a `url`; nobody logs in at a program";
                    self.mistakes.add(oauth.place, Code::NotUsed, message);
                }
                let (command, environment) = (self.server_command(table), self.environment(table));
                Some(Means::Program { command: command?, environment: environment? })
            }
            (None, Some(url)) => self.server_url(table, &url).map(Means::Url),
            (Some(Spot { place, .. }), Some(_)) => {
                self.mistakes.add(place, Code::BadValue, "a server has a `command` or a `url`, not both");
                None
            }
            (None, None) => {
                self.mistakes.suggest(
                    table.place,
                    Code::MissingKey,
                    "a server needs a `command` or a `url`",
                    "command = [\"node\", \"/opt/mcp/index.js\"], or url = \"https://mcp.example.com/mcp\"",
                );
                None
            }
        }
    }

    /// Everything that is said to it goes to this URL alone.
    fn server_url(&mut self, table: View<'_>, written: &Spot<&str>) -> Option<At> {
        let allow_private = table.addresses("allow_private");
        let url = match Url::read(written.value) {
            Ok(url) => url,
            Err(problem) => {
                self.mistakes.add(written.place, Code::BadValue, format!("`url`: {problem}"));
                return None;
            }
        };
        let is_private = |address| allow_private.contains(&address);
        // What else the name of this machine leads to is not called.
        let is_here = url.host.is_here() && allow_private.iter().any(IpAddr::is_loopback);
        if url.scheme == Scheme::Http && !url.host.address().map_or(is_here, is_private) {
            let message = "`url`: clear text goes to an address that stands in it (or `localhost`) and in `allow_private`, and nowhere else";
            self.mistakes.suggest(written.place, Code::BadValue, message, "an https URL");
            return None;
        }
        if table.texts("environment").is_some_and(|spot| !spot.value.is_empty()) {
            let message = "a server behind a URL has no `environment` that could be set from here";
            self.mistakes.add(written.place, Code::NotUsed, message);
        }
        let grant = HostGrant {
            host: url.host.as_str().to_owned(),
            port: url.port,
            methods: vec![Method::Post, Method::Get],
            path_prefix: url.path.clone(),
            allow_private,
            audience: Audience::default(),
            secrets: false,
            tunnel: false,
        };
        Some(At { url, grant })
    }

    fn oauth(&mut self, table: View<'_>) -> Oauth {
        let Some(table) = table.table("oauth") else { return Oauth::default() };
        let text = |key| table.text(key).map(|spot| spot.value.to_owned());
        let client =
            Registered { id: text("client_id"), secret: text("client_secret"), document: text("client_document") };
        if let Some(secret) = table.text("client_secret") {
            self.own_secret(&secret, None);
        }
        for (key, is_unused) in [
            ("client_secret", client.secret.is_some() && client.id.is_none()),
            ("client_document", client.document.is_some() && client.id.is_some()),
        ] {
            if is_unused {
                let but = if key == "client_secret" { "without" } else { "with" };
                self.mistakes.add(table.place_of(key), Code::NotUsed, format!("`{key}` is not used {but} `client_id`"));
            }
        }
        let mut url = |key: &str, fits: fn(&Url) -> bool, wanted: &str| {
            let written = table.text(key)?;
            let read = Url::read(written.value).ok().filter(fits);
            if read.is_none() {
                self.mistakes.suggest(
                    written.place,
                    Code::BadValue,
                    format!("`{key}` must be {wanted}"),
                    "an exact URL",
                );
            }
            read
        };
        let is_published = |url: &Url| url.scheme == Scheme::Https && url.path != "/";
        url("client_document", is_published, "an `https` URL with a path, as the document itself names it");
        let is_here = |url: &Url| url.scheme == Scheme::Http && url.host.is_here();
        let redirect =
            url("redirect", is_here, "an `http` URL of this machine, such as http://127.0.0.1:8765/callback");
        Oauth { client, redirect }
    }

    /// What lies on this machine is nothing to a server elsewhere, and no call of one leaves before its record is
    /// kept, or twice.
    fn fit_elsewhere(&mut self, table: View<'_>, tools: &BTreeMap<String, Terms>) {
        for (tool, terms) in tools {
            let is_path = |role: &&Role| matches!(role, Role::ReadPath | Role::WritePath);
            if terms.idempotency == Idempotency::Pure {
                let message =
                    format!("tool `{tool}`: nothing that a server behind a URL does is `pure`: say `idempotent`");
                self.mistakes.add(table.place, Code::BadValue, message);
            }
            if terms.roles.values().any(|role| is_path(&role)) {
                let message = format!("tool `{tool}`: a server behind a URL takes no `read_path` and no `write_path`");
                self.mistakes.add(table.place, Code::BadValue, message);
            }
        }
    }

    fn server_command(&mut self, table: View<'_>) -> Option<Vec<String>> {
        let Spot { place, value: words } = table.texts("command")?;
        let (at, program) = words.first().map_or((place, ""), |word| (word.place, word.value.as_str()));
        let mut no = |message: String, out: &str| {
            self.mistakes.suggest(at, Code::BadValue, message, out);
            None
        };
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+');
        if FETCHERS.contains(&program) {
            let message = format!("`command`: {} fetches what it runs, which no pin can cover", quoted(program));
            return no(
                message,
                "install the server at a fixed version, list its directory in `[sandbox] tool_dirs`, and name its script",
            );
        }
        if program.is_empty() || program.starts_with(['.', '-']) || !program.chars().all(allowed) {
            let message = format!("`command`: {} is not the name of a program", quoted(program));
            return no(
                message,
                "a name without `/`, such as `node`; `[sandbox] tool_dirs` says where else to look for it",
            );
        }
        if words.iter().any(|word| word.value.contains('\0')) {
            return no("`command` holds a NUL".to_owned(), "take it out");
        }
        Some(words.iter().map(|word| word.value.clone()).collect())
    }

    fn environment(&mut self, table: View<'_>) -> Option<BTreeMap<String, String>> {
        let mut out = BTreeMap::new();
        let mut good = true;
        for Spot { place, value } in table.texts("environment")?.value {
            match value.split_once('=').filter(|(name, value)| is_variable(name) && !value.contains('\0')) {
                Some((name, value)) => drop(out.insert(name.to_owned(), value.to_owned())),
                None => {
                    good = false;
                    // What is wrong here may be a secret all the same.
                    let message = "`environment` must be a list of `NAME=value`".to_owned();
                    self.mistakes.add(*place, Code::BadValue, message);
                }
            }
        }
        good.then_some(out)
    }

    /// A tool that nobody offers, in a grant or in a rule.
    pub fn no_such_server(&mut self, place: Place, tool: &str) -> bool {
        let Some((server, _)) = tool.split_once(JOINT) else { return false };
        let known: Vec<String> = self.root.named("mcp").iter().map(|(name, _)| (*name).to_owned()).collect();
        if known.iter().any(|name| name == server) {
            return false;
        }
        self.mistakes.unknown(place, Code::UnknownName, "server", server, known.iter().map(String::as_str));
        true
    }
}

fn conf(word: &str) -> Confidentiality {
    match word {
        "public" => Confidentiality::Public,
        "secret" => Confidentiality::Secret,
        _ => Confidentiality::Internal,
    }
}

fn is_tool_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    (1..=TOOL_NAME_CHARS_MAX).contains(&name.len()) && name.bytes().all(allowed)
}

/// Of a tool of which nothing was declared.
fn unknown(result: Label, audience: Audience) -> Terms {
    let roles: BTreeMap<String, Role> = BTreeMap::new();
    Terms {
        class: EffectClass::Send,
        idempotency: Idempotency::Unsafe,
        reversible: None,
        roles,
        classes: BTreeMap::new(),
        known: Vec::new(),
        creates: None,
        result,
        audience,
        timeout_ms: TIMEOUT_MS,
    }
}

/// What is known of a tool before its server's pin was read: rules are checked with it, and no model is told of it.
fn placeholder(name: String, terms: &Terms) -> Manifest {
    Manifest {
        name,
        description: String::new(),
        class: terms.class,
        idempotency: terms.idempotency,
        reversible: terms.reversible,
        answerer: Answerer::Tool,
        arguments: Vec::new(),
        program: None,
        remote: false,
        result: terms.result,
        audience: terms.audience,
        known: Vec::new(),
        creates: None,
        schema: String::new(),
        timeout_ms: terms.timeout_ms,
    }
}
