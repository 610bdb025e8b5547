//! The tables against what the programs of this machine say of themselves. What they say of an option that runs, writes
//! or names a file, and is not known, is printed.
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::specs::files;
use crate::spec::Tool;
use crate::{EffectClass, Reading, read};

/// Known, and said to do more by these words alone: somebody has looked at each.
const LOOKED_AT: [(&str, &str); 1] = [("timeout", "--foreground")];

static OPTION: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?:^|[\s,|/\[(])(--?[A-Za-z0-9][A-Za-z0-9-]*)(?:\[?[= ]\[?([A-Z][A-Z_-]+|<[a-z-]+>))?(,?)").unwrap()
});
static RUNS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)\b(?:run|execut|invok|spawn|launch|pipe|filter)\w*\b.*\b(?:command|program|script|shell|process)|\b(?:pager|editor|plugin|hook)\b").unwrap()
});
static WRITES: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)\b(?:write|output|save|store|create|append|dump|log)\w*\b[^.;]*\b(?:to|into|in)\b[^.;]*\bfiles?\b|in.place|\b(?:delete|remove|overwrite|truncate)\w*\b[^.;]*\bfiles?\b").unwrap()
});
static PROGRAM: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?i)^<?(?:PROG|PROGRAM|CMD|COMMAND|SHELL|EDITOR|PAGER|EXEC)\b").unwrap());
static FILE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?i)^<?(?:FILE|PATH|DIR|DIRECTORY|OUTPUT|OUTFILE)\b").unwrap());

/// One option, by one of its names.
struct Said {
    name: String,
    argument: String,
    about: String,
}

impl Said {
    fn runs(&self) -> bool {
        PROGRAM.is_match(&self.argument) || RUNS.is_match(&self.about)
    }

    fn writes(&self) -> bool {
        WRITES.is_match(&self.about)
    }

    fn names_a_file(&self) -> bool {
        FILE.is_match(&self.argument)
    }
}

/// What the program prints about itself; `None` where it is not installed.
fn help(words: &[&str]) -> Option<String> {
    let (program, subcommand) = words.split_first()?;
    // Of git the longer form is a page for a reader of manuals.
    let asked = if *program == "git" { "-h" } else { "--help" };
    let here = tempfile::tempdir().unwrap();
    let mut command = Command::new(program);
    command.args(subcommand).arg(asked).env_clear().env("PATH", "/usr/bin:/bin").env("HOME", here.path());
    let said = command.current_dir(here.path()).stdin(Stdio::null()).output().ok()?;
    Some(String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned())
}

/// Lines that begin with an option, each with those below it that stand further in.
fn options(text: &str) -> Vec<Said> {
    let mut entries: Vec<(usize, &str, String)> = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let (said, indent) = (line.trim(), line.len() - line.trim_start().len());
        if said.starts_with('-') {
            let (head, about) = said.split_once('\t').or_else(|| said.split_once("  ")).unwrap_or((said, ""));
            entries.push((indent, head, about.trim().to_owned()));
        } else if let Some((_, _, about)) = entries.last_mut().filter(|(at, ..)| indent > *at) {
            about.push_str(&format!(" {said}"));
        }
    }
    entries.iter().flat_map(|(_, head, about)| named(head, about)).collect()
}

/// `-o, --output=FILE` is one option with two names, `-fprint FILE -ls` two options.
fn named(head: &str, about: &str) -> Vec<Said> {
    let found: Vec<Captures<'_>> = OPTION.captures_iter(head).collect();
    let text = |captures: &Captures<'_>, group| captures.get(group).map_or("", |found| found.as_str()).to_owned();
    let argument = |at: usize| {
        let rest = &found[at..];
        let same = rest.iter().take_while(|captures| !text(captures, 3).is_empty()).count();
        rest.iter().take(same + 1).map(|captures| text(captures, 2)).find(|word| !word.is_empty()).unwrap_or_default()
    };
    let said = |(at, captures)| Said { name: text(captures, 1), argument: argument(at), about: about.to_owned() };
    found.iter().enumerate().map(said).collect()
}

/// The role of its value, where it has one; `None` where nothing is known about it.
fn role<'a>(tool: &'a Tool, name: &str) -> Option<Option<&'a str>> {
    let letter = name.strip_prefix('-').filter(|rest| rest.chars().count() == 1);
    if letter.is_some_and(|letter| tool.short.contains(letter)) || tool.flags.iter().any(|flag| flag == name) {
        return Some(None);
    }
    tool.values.get(name).or_else(|| tool.attached.get(name)).map(|role| Some(role.as_str()))
}

/// Of programs that read or write, and of git: the others run code by whatever they are given.
fn tools() -> Vec<(Tool, Vec<Said>)> {
    let all = files().into_iter().flat_map(|file| file.tool);
    let asked = all.filter_map(|tool| {
        let words: Vec<&str> = tool.name.split(' ').take_while(|word| !word.starts_with('-')).collect();
        let is_asked = tool.class < EffectClass::Execute || words.first() == Some(&"git");
        let said = is_asked.then(|| help(&words)).flatten()?;
        Some((options(&said), tool))
    });
    asked.map(|(said, tool)| (tool, said)).collect()
}

#[test]
fn no_option_that_is_known_says_of_itself_that_it_runs_writes_or_names_another_file() {
    let (mut known, mut wrong) = (0, Vec::new());
    for (tool, all) in tools() {
        for said in all {
            let shown = format!("{} {} {}: {}", tool.name, said.name, said.argument, said.about);
            let Some(role) = role(&tool, &said.name) else {
                if said.runs() || said.writes() || said.names_a_file() {
                    println!("opaque: {}", &shown[..shown.floor_char_boundary(110)]);
                    let readings = ["", " x", "=x", "x"]
                        .map(|value| read(format!("{} {}{value} a", tool.name, said.name).as_bytes()));
                    assert!(readings.iter().all(|reading| !matches!(reading, Reading::Plain(_))), "{shown}");
                }
                continue;
            };
            known += 1;
            let is_path = matches!(role, Some("read" | "write" | "change"));
            let does_more =
                said.runs() || said.writes() && tool.class == EffectClass::Read || said.names_a_file() && !is_path;
            if does_more && !LOOKED_AT.contains(&(tool.name.as_str(), said.name.as_str())) {
                wrong.push(shown);
            }
        }
    }
    assert!(known >= 200, "{known} options are known");
    assert!(wrong.is_empty(), "known as harmless:\n{}", wrong.join("\n"));
}
