//! No grant reaches the home's own files, by whatever name, and rules look at real paths.
use std::os::unix::fs::symlink;

use backstay_kernel::rule::{Field, Test};

use super::{Home, good_but};
use crate::config::Code;

fn granting(path: &str) -> String {
    good_but("read = [\"workspace\"]", &format!("read = [{}]", toml::Value::from(path)))
}

fn refused(home: &Home, path: &str) -> Option<Code> {
    home.check(&granting(path)).err().map(|mistakes| {
        assert_eq!(mistakes.all().len(), 1, "{mistakes}");
        mistakes.all()[0].code
    })
}

#[test]
fn the_homes_own_files_cannot_be_granted_by_any_name() {
    let home = Home::new();
    let inside = |path: &str| home.path().join(path);
    std::fs::create_dir(inside("secrets")).unwrap();
    symlink(".", inside("workspace/self")).unwrap();
    symlink("..", inside("workspace/up")).unwrap();
    symlink("/", inside("workspace/root")).unwrap();
    symlink("../secrets", inside("workspace/keys")).unwrap();
    symlink("../state.db", inside("workspace/db")).unwrap();
    let absolute = home.path().to_str().unwrap().to_owned();
    for path in [
        ".",
        "./",
        "..",
        "/",
        "secrets",
        "state.db",
        "state.db-wal",
        "state.lock",
        "backstay.toml",
        "anything",
        "workspace/..",
        "workspace/up",
        "workspace/up/secrets",
        "workspace/root",
        "workspace/keys",
        "workspace/db",
        "workspace/up/not-yet",
        "workspace-2",
        &absolute,
        &format!("{absolute}/"),
        &format!("{absolute}/secrets/deeper"),
    ] {
        assert_eq!(refused(&home, path), Some(Code::OwnFiles), "{path}");
    }
    for path in ["workspace", "workspace/", "workspace/self", "workspace/not/yet", "../beside", "/nowhere/at-all"] {
        assert_eq!(refused(&home, path), None, "{path}");
    }
}

#[test]
fn a_workspace_that_is_a_link_into_the_home_is_no_way_in() {
    let home = Home::new();
    std::fs::remove_dir(home.path().join("workspace")).unwrap();
    symlink(".", home.path().join("workspace")).unwrap();
    let mistakes = home.check(super::GOOD).unwrap_err();
    let codes: Vec<Code> = mistakes.all().iter().map(|mistake| mistake.code).collect();
    assert_eq!(codes, [Code::OwnFiles, Code::OwnFiles]);
}

#[test]
fn own_files_that_lie_elsewhere_are_followed() {
    let home = Home::new();
    let elsewhere = home.path().join("../elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    assert_eq!(refused(&home, "../elsewhere"), None);
    std::fs::rename(home.path().join("state.db"), elsewhere.join("real.db")).unwrap();
    symlink(elsewhere.join("real.db"), home.path().join("state.db")).unwrap();
    assert_eq!(refused(&home, "../elsewhere"), Some(Code::OwnFiles));
}

#[test]
fn neither_the_binary_nor_the_tls_key_can_be_granted() {
    let home = Home::new();
    let tools = home.path().join("../bin");
    std::fs::create_dir(&tools).unwrap();
    std::fs::write(tools.join("backstay"), "").unwrap();
    let text = granting("../bin");
    assert!(home.check(&text).is_ok());
    let mistakes = home.check_as(&text, Some(&tools.join("backstay"))).unwrap_err();
    assert_eq!(mistakes.all()[0].code, Code::OwnFiles);

    std::fs::rename(home.path().join("../key.pem"), tools.join("key.pem")).unwrap();
    let tls = "[server]\ntls = { cert = \"../cert.pem\", key = \"../bin/key.pem\" }";
    let mistakes = home.check(&text.replace("[server]", tls)).unwrap_err();
    assert_eq!(mistakes.all()[0].code, Code::OwnFiles);
}

#[test]
fn a_grant_is_a_directory() {
    let home = Home::new();
    std::fs::write(home.path().join("workspace/file"), "").unwrap();
    symlink("nowhere", home.path().join("workspace/dangling")).unwrap();
    symlink("loop", home.path().join("workspace/loop")).unwrap();
    for path in ["workspace/file", "workspace/file/below", "workspace/dangling", "workspace/loop", "workspace/\0"] {
        assert_eq!(refused(&home, path), Some(Code::BadPath), "{path:?}");
    }
}

#[test]
fn grants_and_rules_hold_real_paths() {
    let home = Home::new();
    let data = home.path().join("../data");
    std::fs::create_dir_all(data.join("reports")).unwrap();
    symlink(&data, home.path().join("workspace/out")).unwrap();
    let checked = home.check(super::GOOD).unwrap();
    let real = data.canonicalize().unwrap();
    let agent = &checked.policy.agents["main"];
    assert_eq!(agent.grants.write, [real.join("a").to_str().unwrap()]);
    let glob = format!("{}/reports/**", real.display());
    assert_eq!(agent.rules[0].when[&Field::Path], Test::Glob(glob));
}

#[test]
fn a_door_to_the_network_needs_tls_or_a_word() {
    let home = Home::new();
    let listening = |more: &str| good_but("listen = \"127.0.0.1:7000\"", &format!("listen = \"0.0.0.0:7000\"\n{more}"));
    assert!(home.check(&listening("")).is_err());
    assert!(home.check(&listening("insecure_listen = true")).is_ok());
    assert!(home.check(&listening("tls = { cert = \"../cert.pem\", key = \"../key.pem\" }")).is_ok());
    assert_eq!(home.mistakes(&listening("tls = { cert = \"../cert.pem\", key = \"../no.pem\" }")), ["4:37 bad_path"]);
}

#[test]
fn what_the_system_shows_of_itself_cannot_be_granted() {
    let home = Home::new();
    symlink("/proc/self", home.path().join("workspace/process")).unwrap();
    for path in ["/proc", "/proc/self", "/proc/none", "/sys", "/sys/kernel", "workspace/process"] {
        assert_eq!(refused(&home, path), Some(Code::BadPath), "{path}");
    }
}

/// A link there would be an agent's, and say nothing of what the operator meant.
#[test]
fn below_a_directory_that_an_agent_writes_in_paths_are_taken_as_they_are_written() {
    let home = Home::new();
    let inside = |path: &str| home.path().canonicalize().unwrap().join("workspace").join(path);
    std::fs::create_dir(home.path().join("../data")).unwrap();
    symlink("../../data", inside("out")).unwrap();
    let open = super::GOOD.replace("write = [\"workspace/out/a\"]", "write = [\"workspace\", \"workspace/out\"]");
    let checked = home.check(&open).unwrap();
    let agent = &checked.policy.agents["main"];
    assert_eq!(
        agent.grants.write,
        [inside("").to_str().unwrap().trim_end_matches('/'), inside("out").to_str().unwrap()]
    );
    let glob = format!("{}/reports/**", inside("out").display());
    assert_eq!(agent.rules[0].when[&Field::Path], Test::Glob(glob));
    // A file there keeps nobody from starting.
    std::fs::remove_file(inside("out")).unwrap();
    std::fs::write(inside("out"), "").unwrap();
    assert!(home.check(&open).is_ok());
    let up = open.replace("\"workspace/out\"]", "\"workspace/out/../..\"]");
    assert!(home.check(&up).is_err());
}

/// A link of the operator's is followed as far as no agent decides where it leads, and no farther.
#[test]
fn an_agents_link_opens_nothing_and_closes_no_rule_of_the_operators() {
    let home = Home::new();
    let root = home.path().parent().unwrap().canonicalize().unwrap();
    let inside = |path: &str| home.path().canonicalize().unwrap().join("workspace").join(path);
    for directory in ["private/x", "mnt/data", "al"] {
        std::fs::create_dir_all(root.join(directory)).unwrap();
    }
    // The operator's: one into the workspace, one to a disk.
    symlink(inside("x"), root.join("proj")).unwrap();
    symlink(root.join("mnt/data"), root.join("al/data")).unwrap();
    // An agent's, in the place of two granted directories.
    symlink(root.join("private/x"), inside("x")).unwrap();
    symlink(root.join("al"), inside("b")).unwrap();
    let write = "write = [\"../proj\", \"workspace/b\", \"workspace\"]";
    let rule = "path = { under = \"../al/data/secret\" }";
    let text = super::GOOD.replace("write = [\"workspace/out/a\"]", write);
    let text = text.replace("path = { glob = \"workspace/out/reports/**\" }", rule);
    let text: String = text
        .lines()
        .filter(|line| !line.contains("match = [{") && !line.contains("matches = [{"))
        .map(|line| format!("{line}\n"))
        .collect();
    let checked = home.check(&text).unwrap();
    let agent = &checked.policy.agents["main"];
    let real = |path: std::path::PathBuf| path.to_str().unwrap().to_owned();
    assert_eq!(agent.grants.write, [real(inside("x")), real(inside("b")), real(inside("").components().collect())]);
    assert_eq!(agent.rules[0].when[&Field::Path], Test::Under(real(root.join("mnt/data/secret"))));
}
