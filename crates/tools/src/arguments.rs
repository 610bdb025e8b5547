//! A call as typed code reads it. Unknown keys are refused, so that no alias of an argument ever
//! passes unseen; what is wrong is said in words that a model can act on.
use std::collections::BTreeMap;
use std::num::{NonZeroU64, NonZeroUsize};

use backstay_kernel::facts::Invalid;
use regex::bytes::{Regex, RegexBuilder};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::limits;
use crate::prepare::Refused;

#[derive(Debug)]
pub enum Call {
    ReadFile(ReadFile),
    WriteFile(WriteFile),
    EditFile(EditFile),
    ListDir(ListDir),
    SearchFiles { pattern: Regex, path: String },
    Remember(Remember),
    Recall(Recall),
    AskHuman,
    RunCommand(RunCommand),
    HttpRequest(HttpRequest),
    WebFetch(WebFetch),
    GitFetch(GitFetch),
    GitPush(GitPush),
    ReadOutput(ReadOutput),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadFile {
    pub path: String,
    /// The first line wanted, counted from 1.
    pub offset: Option<NonZeroUsize>,
    /// Lines.
    pub limit: Option<NonZeroUsize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WriteFile {
    pub path: String,
    pub content: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EditFile {
    pub path: String,
    pub old: String,
    pub new: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListDir {
    pub path: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunCommand {
    pub command: String,
    /// Where it begins; the workspace where none is named.
    pub cwd: Option<String>,
    /// Seconds.
    pub timeout_s: Option<NonZeroU64>,
    /// Hosts that it may reach, each with its port; none where none is named.
    #[serde(default)]
    pub network: Vec<String>,
}

/// A range of a full output that this session's journal keeps, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadOutput {
    /// As the call that made it was told.
    pub id: u64,
    #[serde(default)]
    pub offset: u64,
    pub limit: Option<NonZeroUsize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpRequest {
    pub method: String,
    pub url: String,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    pub body: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebFetch {
    pub url: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GitFetch {
    pub url: String,
    /// Names of branches, or of refs in full; the default branch where none is named.
    #[serde(default)]
    pub refs: Vec<String>,
    /// Whose `.git` it goes to; the workspace's where none is named.
    pub repo: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GitPush {
    pub url: String,
    /// The name of a branch there, or of a ref in full.
    #[serde(rename = "ref")]
    pub reference: String,
    /// A branch, ref or commit here; the one of the same name where none is named.
    pub from: Option<String>,
    /// Where the ref stands there; it is not there yet where none is named.
    pub old: Option<String>,
    /// Where some ref stands there that a new one began at.
    pub base: Option<String>,
    /// The ref may lose commits.
    pub force: Option<bool>,
    /// Whose `.git` it comes from; the workspace's where none is named.
    pub repo: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SearchFiles {
    pattern: String,
    path: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remember {
    pub text: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recall {
    pub query: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AskHuman {
    question: String,
}

impl Call {
    /// # Errors
    /// `UnknownTool`, or `BadArguments` with what is wrong with them.
    pub fn parse(tool: &str, arguments: &str) -> Result<Self, Refused> {
        match tool {
            "read_file" => read(tool, arguments).map(Self::ReadFile),
            "write_file" => {
                let call: WriteFile = read(tool, arguments)?;
                fits("content", call.content.len(), limits::FILE_BYTES_MAX)?;
                Ok(Self::WriteFile(call))
            }
            "edit_file" => edit(read(tool, arguments)?).map(Self::EditFile),
            "list_dir" => read(tool, arguments).map(Self::ListDir),
            "search_files" => search(read(tool, arguments)?),
            "remember" => {
                let call: Remember = read(tool, arguments)?;
                is_text("text", &call.text, limits::NOTE_BYTES_MAX)?;
                Ok(Self::Remember(call))
            }
            "recall" => {
                let call: Recall = read(tool, arguments)?;
                is_text("query", &call.query, limits::QUERY_BYTES_MAX)?;
                Ok(Self::Recall(call))
            }
            "ask_human" => {
                let call: AskHuman = read(tool, arguments)?;
                is_text("question", &call.question, limits::NOTE_BYTES_MAX)?;
                Ok(Self::AskHuman)
            }
            "run_command" => {
                let call: RunCommand = read(tool, arguments)?;
                is_text("command", &call.command, limits::COMMAND_BYTES_MAX)?;
                if call.command.contains('\0') {
                    return Err(bad("`command` holds a NUL".to_owned()));
                }
                Ok(Self::RunCommand(call))
            }
            "http_request" => {
                let call: HttpRequest = read(tool, arguments)?;
                fits("body", call.body.as_deref().map_or(0, str::len), limits::REQUEST_BYTES_MAX)?;
                Ok(Self::HttpRequest(call))
            }
            "web_fetch" => read(tool, arguments).map(Self::WebFetch),
            "git_push" => read(tool, arguments).map(Self::GitPush),
            "git_fetch" => read(tool, arguments).map(Self::GitFetch),
            "read_output" => read(tool, arguments).map(Self::ReadOutput),
            other => Err(Refused::new(Invalid::UnknownTool, format!("there is no tool `{other}`"))),
        }
    }
}

fn read<T: DeserializeOwned>(tool: &str, arguments: &str) -> Result<T, Refused> {
    // Serde would also read a struct from an array, by position; a schema would not.
    if !arguments.trim_start().starts_with('{') {
        return Err(bad(format!("the arguments of `{tool}` must be a JSON object")));
    }
    serde_json::from_str(arguments).map_err(|e| bad(format!("the arguments of `{tool}`: {e}")))
}

fn edit(call: EditFile) -> Result<EditFile, Refused> {
    fits("old", call.old.len(), limits::FILE_BYTES_MAX)?;
    fits("new", call.new.len(), limits::FILE_BYTES_MAX)?;
    if call.old.is_empty() {
        return Err(bad("`old` is empty; to create a file use write_file".to_owned()));
    }
    if call.old == call.new {
        return Err(bad("`old` and `new` are equal: nothing would change".to_owned()));
    }
    Ok(call)
}

fn search(call: SearchFiles) -> Result<Call, Refused> {
    is_text("pattern", &call.pattern, limits::PATTERN_BYTES_MAX)?;
    let pattern = RegexBuilder::new(&call.pattern)
        .multi_line(true)
        .size_limit(limits::PATTERN_PROGRAM_BYTES_MAX)
        .dfa_size_limit(limits::PATTERN_PROGRAM_BYTES_MAX)
        .build()
        .map_err(|e| bad(format!("`pattern` is no regular expression: {e}")))?;
    Ok(Call::SearchFiles { pattern, path: call.path.unwrap_or_else(|| ".".to_owned()) })
}

fn is_text(name: &str, text: &str, bytes_max: usize) -> Result<(), Refused> {
    if text.trim().is_empty() {
        return Err(bad(format!("`{name}` is empty")));
    }
    fits(name, text.len(), bytes_max)
}

fn fits(name: &str, bytes: usize, bytes_max: usize) -> Result<(), Refused> {
    if bytes > bytes_max {
        return Err(bad(format!("`{name}` has {bytes} bytes; at most {bytes_max} are taken")));
    }
    Ok(())
}

fn bad(detail: String) -> Refused {
    Refused::new(Invalid::BadArguments, detail)
}
