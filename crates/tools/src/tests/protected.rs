//! Names that other programs act on, through the runtime's own file tools.
use std::os::unix::fs::symlink;

use backstay_kernel::facts::Facts;
use serde_json::json;

use super::Home;

/// One path for each name; all below the one directory that may be written.
const PROTECTED: [&str; 41] = [
    ".git",
    ".git/config",
    ".git/config.worktree",
    ".git/commondir",
    ".git/hooks/pre-commit",
    ".git/info/attributes",
    ".git/modules/part/config",
    ".git/worktrees/w/commondir",
    "repo/.git/hooks/post-checkout",
    ".gitmodules",
    ".github/workflows/ci.yml",
    ".github/actions/a/action.yml",
    ".gitlab-ci.yml",
    ".circleci/config.yml",
    ".travis.yml",
    ".buildkite/pipeline.yml",
    "Jenkinsfile",
    ".envrc",
    ".husky/pre-commit",
    ".vscode/tasks.json",
    ".idea/workspace.xml",
    "AGENTS.md",
    "a/b/AGENTS.md",
    "docs/agents.md",
    ".GIT/info/attributes",
    "bare/Config",
    "CLAUDE.md",
    "GEMINI.md",
    "skills/x/SKILL.md",
    ".agents/a",
    ".claude/settings.json",
    ".codex/config.toml",
    ".cursor/rules",
    ".gemini/settings.json",
    ".mcp.json",
    // In a repository of another name.
    "bare/config",
    "bare/hooks/post-receive",
    // What would make a repository of a directory that lies ready to be one.
    "ready/HEAD",
    "ready2/objects/info/packs",
    "ready3/refs/heads/main",
    "ready4/commondir",
];

const PLAIN: [&str; 7] =
    ["a.txt", "config", "hooks/a", "HEAD", "bare/description", ".github/CODEOWNERS", "docs/agents.txt"];

fn home() -> Home {
    let home = Home::new();
    for path in [
        "bare/HEAD",
        "bare/objects/a",
        "bare/refs/a",
        "ready/objects/a",
        "ready/refs/a",
        "ready2/HEAD",
        "ready2/refs/a",
        "ready3/HEAD",
        "ready3/objects/a",
        "ready4/HEAD",
    ] {
        home.put(&format!("out/{path}"), "x");
    }
    home
}

fn protected(home: &Home, tool: &str, path: &str) -> Vec<String> {
    let arguments = match tool {
        "write_file" => json!({ "path": path, "content": "y" }),
        _ => json!({ "path": path, "old": "x", "new": "y" }),
    };
    of(&home.inspect(tool, arguments).unwrap_or_else(|why| panic!("{path}: {why}")))
}

pub fn of(facts: &Facts) -> Vec<String> {
    facts.paths.iter().filter(|path| path.protected).map(|path| path.real.clone()).collect()
}

#[test]
fn what_is_written_is_protected_where_other_programs_act_by_it() {
    for (paths, is_protected) in [(&PROTECTED[..], true), (&PLAIN, false)] {
        for path in paths {
            let home = home();
            let named = format!("out/{path}");
            let real = || vec![home.at(&named).to_str().unwrap().to_owned()];
            let expected = if is_protected { real() } else { Vec::new() };
            assert_eq!(protected(&home, "write_file", &named), expected, "{path}");
        }
    }
}

#[test]
fn what_is_edited_is_protected_where_other_programs_act_by_it() {
    for (paths, is_protected) in [(&PROTECTED[..], true), (&PLAIN, false)] {
        // What would make a repository is not there yet, so that there is nothing to edit.
        for path in paths.iter().filter(|path| !path.starts_with("ready")) {
            let home = home();
            let named = format!("out/{path}");
            home.put(&named, "x");
            assert_eq!(!protected(&home, "edit_file", &named).is_empty(), is_protected, "{path}");
        }
    }
}

#[test]
fn a_link_to_a_protected_directory_does_not_hide_it() {
    let home = home();
    home.put("out/repo/.git/hooks/a", "x");
    symlink("repo/.git/hooks", home.at("out/tools")).unwrap();
    let real = home.at("out/repo/.git/hooks/pre-commit").to_str().unwrap().to_owned();
    assert_eq!(protected(&home, "write_file", "out/tools/pre-commit"), [real]);
}

#[test]
fn a_repository_that_comes_to_be_after_the_question_makes_another_call_of_it() {
    let home = home();
    home.put("out/later/refs/a", "x");
    home.put("out/later/objects/a", "x");
    let arguments = json!({ "path": "out/later/config", "content": "y" });
    let judged = home.inspect("write_file", arguments.clone()).unwrap();
    assert!(of(&judged).is_empty());
    home.put("out/later/HEAD", "x");
    home.act("write_file", &arguments, &judged);
    assert!(!home.at("out/later/config").exists());
}
