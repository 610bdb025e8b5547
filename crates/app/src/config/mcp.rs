//! Servers of tools as the operator wrote them. Which tools a server has only its pin says: here stand those that
//! somebody is granted, with what their calls do.
use std::collections::BTreeMap;

use backstay_kernel::destination::{Audience, HostGrant, Method};
use backstay_kernel::label::{Confidentiality, Label, Source};
use backstay_kernel::tool::{Answerer, EffectClass, Idempotency, Manifest};
use backstay_kernel::url::{Scheme, Url};
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
    /// Tools that an agent is granted, by their names there.
    pub tools: BTreeMap<String, Terms>,
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
            if let Some(means) = self.means(table) {
                if matches!(means, Means::Url(_)) {
                    self.fit_elsewhere(table, &tools);
                }
                out.insert(name.to_owned(), McpServer { means, tools });
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
        if url.scheme == Scheme::Http && !url.host.address().is_some_and(is_private) {
            let message =
                "`url`: clear text goes to an address that stands in it and in `allow_private`, and nowhere else";
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
