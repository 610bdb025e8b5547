//! Links and spellings by which a call could mean something else than what rules see.
use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use super::{Forge, git};
use crate::network::rows;

const PROTECTED: &str = "[[agents.main.rules]]\nname = \"protected\"\nverdict = \"deny\"\n\
                         match = { path = { under = \"workspace/protected\" } }\n\
                         [[agents.main.rules]]\nname = \"packed\"\nverdict = \"deny\"\n\
                         match = { path = { under = \"workspace/packed/.git/packed-refs\" } }\n\
                         [[agents.main.rules]]\nname = \"that one\"\nverdict = \"deny\"\n\
                         match = { repo = { glob = \"*/Acme/secret.git\" } }\n";

/// Whoever works in the workspace may put links into a repository; a file that a rule keeps from the agent is neither
/// written nor told over them.
#[test]
fn no_link_below_git_leads_a_ref_or_a_look_elsewhere() {
    let t = Forge::new("", PROTECTED);
    git(&t.bare(), &["branch", "prod.conf", "main"]);
    let workspace = t.home.workspace();
    let protected = workspace.join("protected");
    std::fs::create_dir(&protected).unwrap();
    std::fs::write(protected.join("prod.conf"), "important=1\n").unwrap();
    std::fs::write(protected.join("main"), "c0ffee11".repeat(5) + "\n").unwrap();
    let kept = |repo: &str| workspace.join(format!("{repo}/.git/{}", t.kept()));
    for repo in ["parent", "file", "table", "objects", "whole", "packed", "shallow", "cut", "tables"] {
        git(&workspace, &["init", "-q", repo]);
        std::fs::create_dir_all(kept(repo)).unwrap();
    }
    symlink("../../../../../../../protected", kept("parent").join("heads")).unwrap();
    std::fs::create_dir(kept("file").join("heads")).unwrap();
    symlink("../../../../../../../../protected/main", kept("file").join("heads/main")).unwrap();
    symlink("../../protected/main", workspace.join("table/.git/packed-refs")).unwrap();
    std::fs::remove_dir_all(workspace.join("objects/.git/objects")).unwrap();
    symlink("../../protected", workspace.join("objects/.git/objects")).unwrap();
    std::fs::rename(workspace.join("whole/.git"), workspace.join("whole/git")).unwrap();
    symlink("git", workspace.join("whole/.git")).unwrap();
    symlink("nowhere", workspace.join("shallow/.git/shallow")).unwrap();
    std::fs::write(workspace.join("cut/.git/shallow"), "").unwrap();
    std::fs::create_dir(workspace.join("tables/.git/reftable")).unwrap();
    std::fs::create_dir(workspace.join("linked")).unwrap();
    std::fs::write(workspace.join("linked/.git"), "gitdir: ../parent/.git").unwrap();
    t.owned();
    for (repo, name, why) in [
        ("parent", "prod.conf", "symbolic link"),
        ("parent", "main", "symbolic link"),
        ("file", "main", "symbolic link"),
        ("table", "main", "symbolic link"),
        ("objects", "main", "symbolic link"),
        ("whole", "main", "symbolic link"),
        ("shallow", "main", "symbolic link"),
        ("cut", "main", "is shallow"),
        ("tables", "main", "keeps its refs in a table"),
        ("linked", "main", "is no directory of a repository (a file in linked work trees and submodules)"),
    ] {
        let said = t.fetch(&json!({ "url": t.url(), "repo": repo, "refs": [name] }));
        assert!(said.as_str().unwrap_or_else(|| panic!("{said}")).contains(why), "{repo}: {said}");
    }
    // What is read to tell where a ref stands is judged as any file is, and a repository in any spelling.
    let denied = |call: Value| {
        t.home.place.run(&["run", &format!("/call git_fetch {call}")]);
        let rule = "SELECT data ->> '$.verdict.deny' IS NOT NULL FROM v_records WHERE kind = 'judged' ORDER BY at DESC LIMIT 1";
        assert_eq!(rows(&t.home.place, rule), json!([[1]]), "{call}");
    };
    denied(json!({ "url": t.url(), "repo": "packed" }));
    for name in ["acme/secret", "acme/Secret", "acme/secret.GIT", "acme/secret.git.git"] {
        denied(json!({ "url": format!("https://localhost:{}/{name}", t.server.port) }));
    }
    // What servers take for the same repository is none.
    for name in ["acme/secret/.git", "acme/secret.git/.GIT", "acme/app/.git"] {
        let said = t.fetch(&json!({ "url": format!("https://localhost:{}/{name}", t.server.port) }));
        assert!(said.as_str().is_some_and(|text| text.contains("names the directory `.git`")), "{name}: {said}");
    }
    assert_eq!(t.heard(), Vec::<String>::new());
    assert_eq!(std::fs::read_to_string(protected.join("prod.conf")).unwrap(), "important=1\n");
}
