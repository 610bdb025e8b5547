//! The tables hold what they say: each tool's examples, and no role or option that could not be.
use std::collections::BTreeSet;

use crate::options::split;
use crate::spec::{FILES, File, RawVariable, find, has_form, has_form_named};
use crate::{EffectClass, Reading, read};

pub fn files() -> Vec<File> {
    let file = |(name, text): &(&str, &str)| toml::from_str(text).unwrap_or_else(|e| panic!("specs/{name}.toml: {e}"));
    FILES.iter().map(file).collect()
}

#[test]
fn each_plain_example_is_plain_by_its_own_row() {
    let mut wrong = Vec::new();
    for tool in files().iter().flat_map(|file| &file.tool) {
        if tool.plain.is_empty() {
            wrong.push(format!("{}: no example", tool.name));
        }
        for example in &tool.plain {
            let Reading::Plain(plain) = read(example.as_bytes()) else {
                wrong.push(format!("{}: `{example}`: {:?}", tool.name, read(example.as_bytes())));
                continue;
            };
            let names = plain.commands.iter().filter_map(|command| {
                let words: Vec<&str> = command.argv.iter().map(|word| word.text.as_str()).collect();
                find(&words).map(|(tool, _)| tool.name.clone())
            });
            if !names.collect::<Vec<_>>().contains(&tool.name) {
                wrong.push(format!("{}: `{example}` is read by another row", tool.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_opaque_example_is_opaque() {
    let mut wrong = Vec::new();
    for tool in files().iter().flat_map(|file| &file.tool) {
        let others = tool.opaque.iter().filter(|example| !matches!(read(example.as_bytes()), Reading::Opaque(_)));
        wrong.extend(others.map(|example| format!("{}: `{example}`: {:?}", tool.name, read(example.as_bytes()))));
        if tool.opaque.is_empty() {
            wrong.push(format!("{}: no example of what is not known", tool.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_role_is_a_path_a_text_or_a_form() {
    for tool in files().iter().flat_map(|file| &file.tool) {
        let words = tool.words.iter().map(|role| split(role).0);
        let valued = tool.values.values().chain(tool.attached.values()).map(String::as_str);
        for role in words.chain(valued) {
            let is_known = matches!(role, "read" | "write" | "change" | "text") || has_form_named(role);
            assert!(is_known, "{}: nothing is a `{role}`", tool.name);
        }
        let many = tool.words.iter().filter(|role| role.ends_with(['*', '+'])).count();
        assert!(many <= 1, "{}: which word is whose?", tool.name);
    }
}

/// What a program that brings packages is given as a word is one, whatever else its row knows.
#[test]
fn no_word_of_what_brings_packages_is_anything_else() {
    let (name, text) = FILES.last().unwrap();
    let file: File = toml::from_str(text).unwrap();
    assert_eq!((*name, file.tool.len()), ("packages", 25));
    let words = file.tool.iter().flat_map(|tool| &tool.words);
    let others: Vec<_> = words.filter(|role| split(role).0 != "package").collect();
    assert!(others.is_empty(), "{others:?}");
    for no in
        ["", "-r", "--index-url=x", ".", "./x", "../x", "/x", "~/x", "a b", "a;b", "a$b", "a`b", "@", "@-x", "x\n"]
    {
        assert!(!has_form("package", no), "{no:?}");
    }
    for no in ["http://c.test/x", "-x", "", "a b"] {
        assert!(!has_form("package-list", no), "{no:?}");
    }
}

#[test]
fn each_variable_has_a_form_and_none_says_what_runs_or_where_something_is() {
    let variables: Vec<_> = files().into_iter().flat_map(|file| file.variable).collect();
    assert!(variables.len() >= 20, "{} variables", variables.len());
    for RawVariable { name, value } in &variables {
        assert!(has_form_named(value) && !matches!(value.as_str(), "read" | "write" | "change" | "text"), "{name}");
        // A path, a program, an option, an address, a second variable or a quote has no place in any value.
        for hostile in [
            "",
            ".",
            "./p",
            "/p",
            "../p",
            ":/p",
            "C/../p",
            "UTC/../../p",
            "Europe/../p",
            "-p",
            "--eval=p",
            "http://c.test",
            "p q",
            "'1'",
            "\"1\"",
            "1;p",
            "1\n",
            "debug\n",
            "$x",
            "`p`",
            "~",
            "*",
            "{0,1}",
            "1|p",
            "debug,/p",
            "@p",
            "a=b",
        ] {
            assert!(!has_form(value, hostile), "{name}={hostile:?}");
        }
    }
    let names: BTreeSet<&str> = variables.iter().map(|variable| variable.name.as_str()).collect();
    assert_eq!(names.len(), variables.len());
    let say = ["LD_", "GIT_CONFIG", "GIT_SSH", "BASH", "DYLD_", "NPM_", "XDG_"];
    assert!(names.iter().all(|name| say.iter().all(|start| !name.starts_with(start))), "{names:?}");
}

#[test]
fn a_tool_that_gives_paths_to_write_is_never_a_reader() {
    for tool in files().iter().flat_map(|file| &file.tool) {
        let valued = tool.values.values().chain(tool.attached.values());
        let writes = tool.words.iter().chain(valued).any(|role| matches!(split(role).0, "write" | "change"));
        assert!(!writes || tool.class > EffectClass::Read, "{}", tool.name);
        assert!(tool.class <= EffectClass::Execute, "{}", tool.name);
    }
}

#[test]
fn what_executes_is_said_to_and_names_are_unique() {
    let files = files();
    let names: Vec<&str> = files.iter().flat_map(|file| &file.tool).map(|tool| tool.name.as_str()).collect();
    let unique: BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!(unique.len(), names.len());
    let programs: BTreeSet<&str> = names.iter().filter_map(|name| name.split(' ').next()).collect();
    assert!(programs.len() >= 60, "{} programs", programs.len());
    for tool in files.iter().flat_map(|file| &file.tool) {
        let program = tool.name.split(' ').next().unwrap();
        let runs_code = [
            "git", "cargo", "rustc", "rustfmt", "npm", "yarn", "pnpm", "node", "python", "python3", "pytest", "make",
            "go", "gofmt", "tsc", "eslint", "prettier", "ruff", "black", "mypy", "pip", "pip3", "uv", "gem", "bundle",
            "composer",
        ];
        assert_eq!(tool.class == EffectClass::Execute, runs_code.contains(&program), "{}", tool.name);
    }
    for never in [
        "sh", "bash", "dash", "zsh", "env", "xargs", "sudo", "perl", "ruby", "busybox", "toybox", "eval", "exec",
        "ssh", "curl", "wget", "tar", "man", "less", "vi", "nohup", "setsid", "script", "watch", "dd", "ln", "install",
    ] {
        assert!(!programs.contains(never), "{never}");
    }
}
