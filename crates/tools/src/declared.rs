//! Tools that the operator declares: what such a tool is, and what a call of it is, by the role of each argument.
use std::collections::BTreeMap;

use backstay_kernel::destination::{Audience, Destination, Method};
use backstay_kernel::facts::{Access, Facts, Invalid, PathFact, Starts};
use backstay_kernel::flow::addressed;
use backstay_kernel::id::Digest;
use backstay_kernel::label::Label;
use backstay_kernel::rule::is_under;
use backstay_kernel::tool::{Answerer, ArgumentRole, EffectClass, Idempotency, Known, Manifest};
use backstay_kernel::url::Url;
use backstay_kernel::words::Kind;
use backstay_sandbox::{Programs, Reach, Simple};
use rustix::fs::OFlags;
use serde_json::{Map, Value};

use crate::argv::Argv;
use crate::command::{self, Run};
use crate::known::written;
use crate::limits::COMMAND_EXTRA_MS;
use crate::prepare::{Action, Prepared, Refused, told};
use crate::roots::Roots;
use crate::schema::Schema;
use crate::serve::ServerCall;

/// What an argument is, in the operator's words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// A path that is read; it must lie where the agent may read, and the tool is given the real one.
    ReadPath,
    /// The same for a path that is written.
    WritePath,
    /// Who, where, which or how much: a value of this kind.
    Authority(Kind),
    /// A number that need not have been named up to so many.
    UpTo(u64),
    /// Which of the things that are there is looked at.
    Selector,
    /// What is said, written or searched for.
    Payload,
}

impl Role {
    pub const WORDS: [&'static str; 12] = [
        "read_path",
        "write_path",
        "authority",
        "email",
        "url",
        "host",
        "money",
        "number",
        "account",
        "id",
        "selector",
        "payload",
    ];

    /// By the word of the config; `authority` alone is a text that a person must have put in quotes to have named it.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        let all = [
            Self::ReadPath,
            Self::WritePath,
            UNDECLARED,
            Self::Authority(Kind::Email),
            Self::Authority(Kind::Url),
            Self::Authority(Kind::Host),
            Self::Authority(Kind::Money),
            Self::Authority(Kind::Number),
            Self::Authority(Kind::Account),
            Self::Authority(Kind::Id),
            Self::Selector,
            Self::Payload,
        ];
        Self::WORDS.iter().zip(all).find(|(known, _)| **known == word).map(|(_, role)| role)
    }

    /// As the gate knows it: a path that is read selects, and one that is written is named by somebody.
    fn of_gate(self) -> ArgumentRole {
        match self {
            Self::WritePath => ArgumentRole::Authority(Kind::Path),
            Self::Authority(kind) => ArgumentRole::Authority(kind),
            Self::UpTo(most) => ArgumentRole::UpTo(most),
            Self::ReadPath | Self::Selector => ArgumentRole::Selector,
            Self::Payload => ArgumentRole::Payload,
        }
    }
}

/// Of an argument of which nobody said anything.
const UNDECLARED: Role = Role::Authority(Kind::QuotedString);

/// What the operator says of a tool, whatever the tool is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Terms {
    pub class: EffectClass,
    pub idempotency: Idempotency,
    /// As [`Manifest::reversible`].
    pub reversible: Option<bool>,
    /// By the name of the argument; what is not named is authority.
    pub roles: BTreeMap<String, Role>,
    /// Of a call that gives an argument, by its name, where that is more than the tool's.
    pub classes: BTreeMap<String, EffectClass>,
    /// By what else than their own form values are known, by the name of the argument.
    pub known: Vec<(String, Known)>,
    /// Where in its result the id of what it created stands: a JSON Pointer.
    pub creates: Option<String>,
    /// Of what it returns.
    pub result: Label,
    /// Who gets to know what is told to it.
    pub audience: Audience,
    pub timeout_ms: u64,
}

impl Terms {
    /// # Errors
    /// What does not go together, in words.
    pub fn check(&self) -> Result<(), &'static str> {
        let writes = self.roles.values().any(|role| *role == Role::WritePath);
        if writes && self.class == EffectClass::Read {
            return Err("a tool that writes to a path is of class `write` or above");
        }
        if self.idempotency == Idempotency::Pure && self.class != EffectClass::Read {
            return Err("only a tool of class `read` is `pure`: a pure call is run again without a question");
        }
        match (self.class, self.reversible) {
            (EffectClass::Read, Some(false)) => Err(
                "a tool of class `read` does nothing that could be taken back: `reversible = false` is for the others",
            ),
            (EffectClass::Spend, Some(true)) => Err("what is paid is paid: no tool of class `spend` is `reversible`"),
            (
                EffectClass::Read | EffectClass::Write | EffectClass::Execute | EffectClass::Send | EffectClass::Spend,
                _,
            ) => Ok(()),
        }
    }
}

/// A tool that can be called.
#[derive(Debug)]
pub struct Declared {
    manifest: Manifest,
    terms: Terms,
    schema: Schema,
    means: Means,
    digest: Digest,
}

/// What makes its calls.
#[derive(Debug)]
enum Means {
    Command(Argv),
    /// A tool of this server, by the name that it has there.
    Server {
        server: String,
        tool: String,
        /// Where it is, if it runs elsewhere.
        at: Option<Url>,
    },
}

impl Declared {
    /// A command of the operator's.
    #[must_use]
    pub fn command(name: &str, description: &str, terms: Terms, schema: Schema, argv: Argv) -> Self {
        Self::new(name, description, terms, schema, Means::Command(argv), b"")
    }

    /// A tool of a server, as it was `pinned`.
    #[must_use]
    pub fn of_server(
        name: &str,
        (server, tool, at): (&str, &str, Option<&Url>),
        description: &str,
        terms: Terms,
        schema: Schema,
        pinned: &[u8],
    ) -> Self {
        let means = Means::Server { server: server.to_owned(), tool: tool.to_owned(), at: at.cloned() };
        Self::new(name, description, terms, schema, means, pinned)
    }

    fn new(name: &str, description: &str, terms: Terms, schema: Schema, means: Means, pinned: &[u8]) -> Self {
        let role = |name: &String| terms.roles.get(name).copied().unwrap_or(UNDECLARED).of_gate();
        let manifest = Manifest {
            name: name.to_owned(),
            description: description.to_owned(),
            class: terms.class,
            idempotency: terms.idempotency,
            reversible: terms.reversible,
            answerer: Answerer::Tool,
            arguments: schema.properties().iter().map(|known| (known.name.clone(), role(&known.name))).collect(),
            program: if let Means::Command(argv) = &means { Some(argv.program().to_owned()) } else { None },
            remote: matches!(means, Means::Server { at: Some(_), .. }),
            result: terms.result,
            audience: terms.audience,
            known: terms.known.clone(),
            creates: terms.creates.clone(),
            schema: schema.text().to_owned(),
            timeout_ms: terms.timeout_ms.saturating_add(COMMAND_EXTRA_MS),
        };
        let text = serde_json::to_string(&manifest).unwrap_or_default();
        let made = format!("{means:?}{:?}", terms.classes);
        let digest = Digest::of("backstay declared tool v1", &[text.as_bytes(), made.as_bytes(), pinned]);
        Self { manifest, terms, schema, means, digest }
    }

    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The server that makes its calls, where one does.
    #[must_use]
    pub fn server(&self) -> Option<&str> {
        if let Means::Server { server, .. } = &self.means { Some(server) } else { None }
    }

    /// Of all that was declared of it.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    pub(crate) fn prepare(&self, roots: &Roots, arguments: &str) -> Result<Prepared, Refused> {
        let mut prepared = self.made(roots, arguments)?;
        let addressed = addressed(&self.manifest, prepared.facts.class, arguments);
        prepared.facts.addressed = addressed.map(Box::new);
        prepared.facts.reversible = self.manifest.reversible;
        Ok(prepared)
    }

    fn made(&self, roots: &Roots, arguments: &str) -> Result<Prepared, Refused> {
        if let Means::Server { server, tool, at: Some(url) } = &self.means {
            return self.elsewhere(server, tool, url, arguments);
        }
        let no = |why: String| Refused::new(Invalid::NoSandbox, why);
        let commands = roots.commands().ok_or_else(|| no("this agent has no sandbox".to_owned()))?;
        let held = commands.sandbox.holds().map_err(no)?;
        let mut values = self.schema.arguments(&self.manifest.name, arguments)?;
        let cwd = roots.open_read(".", OFlags::DIRECTORY).map_or_else(|_| "/tmp".to_owned(), |(_, real)| real);
        let timeout = std::time::Duration::from_millis(self.terms.timeout_ms);
        let (facts, reach) = self.facts(roots, &mut values)?;
        let facts = Facts { tier: Some(command::tier(held)), declared: Some(Box::new(self.digest)), ..facts };
        let argv = match &self.means {
            Means::Command(argv) => {
                command::possible(held, &facts)?;
                argv
            }
            Means::Server { server, tool, .. } => {
                let facts = of_server(roots, server, facts);
                let call = ServerCall {
                    server: server.clone(),
                    tool: tool.clone(),
                    arguments: values,
                    cwd,
                    timeout,
                    only_reads: self.only_reads(facts.class),
                    creates: self.manifest.creates.clone(),
                };
                return Ok(Prepared { facts, action: Action::Serve(Box::new(call)) });
            }
        };
        let programs = vec![argv.program().to_owned()];
        let argv = argv.filled(&values)?;
        let (started, starts) = starts(&argv);
        let (found, files) = command::found(roots, &commands.sandbox, &programs)?;
        let facts = Facts { programs: started, starts, files, ..facts };
        let commands = vec![Simple::alone(argv)];
        let run = Run { commands, found, cwd, reach, programs: Programs::Only(programs), timeout, open: Vec::new() };
        Ok(Prepared { facts, action: Action::Run(Box::new(run)) })
    }

    /// A call that a server elsewhere makes: it goes there, with all of its arguments, and touches nothing here.
    fn elsewhere(&self, server: &str, tool: &str, url: &Url, arguments: &str) -> Result<Prepared, Refused> {
        let values = self.schema.arguments(&self.manifest.name, arguments)?;
        let said = u64::try_from(arguments.len()).unwrap_or(u64::MAX);
        let to = Destination::of(url, Method::Post, 0);
        let to = Destination { url_bytes: to.url_bytes.saturating_add(said), ..to };
        let declared = Some(Box::new(self.digest));
        let class = self.class(&values);
        let facts = Facts::new(class, Vec::new());
        let facts = Facts { destination: Some(to), bytes_out: Some(said), declared, ..facts };
        let call = ServerCall {
            server: server.to_owned(),
            tool: tool.to_owned(),
            arguments: values,
            cwd: "/".to_owned(),
            timeout: std::time::Duration::from_millis(self.terms.timeout_ms),
            creates: self.terms.creates.clone(),
            only_reads: self.only_reads(class),
        };
        Ok(Prepared { facts, action: Action::Serve(Box::new(call)) })
    }

    /// What a call that gives these is.
    fn class(&self, values: &Map<String, Value>) -> EffectClass {
        let given = values.iter().filter(|(_, value)| !value.is_null());
        let classes = given.filter_map(|(name, _)| self.terms.classes.get(name).copied());
        classes.fold(self.manifest.class, EffectClass::max)
    }

    /// Whatever becomes of a call of this class, nothing was done by it.
    fn only_reads(&self, class: EffectClass) -> bool {
        match self.manifest.idempotency {
            Idempotency::Pure => true,
            Idempotency::Idempotent => class == EffectClass::Read,
            Idempotency::Keyed | Idempotency::Probed | Idempotency::Unsafe => false,
        }
    }

    /// Puts real paths in the place of those that were named. What only reads finds nothing that can be
    /// written; what is more than a writer may touch anything that is granted.
    pub(crate) fn facts(&self, roots: &Roots, values: &mut Map<String, Value>) -> Result<(Facts, Reach), Refused> {
        let class = self.class(values);
        let (mut paths, mut more_paths) = (Vec::new(), false);
        for (name, value) in values.iter_mut() {
            let access = match self.terms.roles.get(name) {
                Some(Role::ReadPath) => Access::Read,
                Some(Role::WritePath) => Access::Write,
                Some(Role::Authority(_) | Role::UpTo(_) | Role::Selector | Role::Payload) | None => continue,
            };
            for value in each(name, value)? {
                let (real, is_directory) = real(roots, access, value)?;
                more_paths |= is_directory && access == Access::Write;
                paths.push(told(PathFact::new(access, real.clone())));
                *value = real;
            }
        }
        let mut reach = roots.reach();
        match class {
            EffectClass::Read | EffectClass::Write => {
                let is_written =
                    |root: &String| paths.iter().any(|fact| fact.access == Access::Write && is_under(&fact.real, root));
                reach.write.retain(is_written);
            }
            EffectClass::Execute | EffectClass::Send | EffectClass::Spend => {
                more_paths = true;
                paths.extend(command::granted(&reach));
            }
        }
        Ok((Facts { more_paths, ..Facts::new(class, paths) }, reach))
    }
}

/// The one program that was declared, since no other is there; with its subcommand where all of its words are known.
pub(crate) fn starts(argv: &[String]) -> (Box<[String]>, Starts) {
    match backstay_shell::commands(argv).as_deref() {
        Some([command]) => (Box::new([command.clone()]), Starts::Commands),
        Some(_) | None => (argv.first().cloned().into_iter().collect(), Starts::Programs),
    }
}

/// One process answers all calls of a server, so each of them may touch what any may, whatever it names: a call
/// that only reads, of a server that may write, is one that may write.
fn of_server(roots: &Roots, server: &str, facts: Facts) -> Facts {
    let reach = roots.reach_of(server);
    let class = if reach.write.is_empty() { facts.class } else { facts.class.max(EffectClass::Write) };
    let mut paths = facts.paths;
    for more in command::granted(&reach) {
        if !paths.contains(&more) {
            paths.push(more);
        }
    }
    Facts { class, paths, more_paths: true, ..facts }
}

/// The texts of an argument that is a path, or a list of paths.
fn each<'v>(name: &str, value: &'v mut Value) -> Result<Vec<&'v mut String>, Refused> {
    let texts: Option<Vec<&mut String>> = match value {
        Value::String(text) => Some(vec![text]),
        Value::Array(items) => {
            items.iter_mut().map(|item| if let Value::String(text) = item { Some(text) } else { None }).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    };
    texts.ok_or_else(|| Refused::new(Invalid::BadArguments, format!("`{name}` is no path, and no list of paths")))
}

/// The real path, and whether a directory is there.
fn real(roots: &Roots, access: Access, path: &str) -> Result<(String, bool), Refused> {
    match access {
        Access::Read => roots.open_read(path, OFlags::empty()).map(|(_, real)| (real, false)),
        Access::Write => written(roots, path),
    }
}
