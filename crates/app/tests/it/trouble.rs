//! Broken ground: files that are no journal, directories that cannot be written, a disk without
//! room, readers that leave. Each has one clear end, and a way on.
use std::process::{Command, Stdio};

use crate::place::{Place, Ran};

/// A home that has said something, so that its journal has more than one page to break.
fn used() -> Place {
    let place = Place::with_home();
    place.run(&["run", "/say one"]).expect(0);
    place
}

#[test]
fn a_state_file_that_is_none_is_left_as_it_is() {
    let strangers: [(&str, Vec<u8>); 3] = [
        ("foreign", b"a letter to a friend, and no journal at all\n".repeat(500)),
        ("foreign", [b"SQLite format 3\0".to_vec(), vec![0xff; 8000]].concat()),
        ("foreign", used_state()[..20_000].to_vec()),
    ];
    for (code, bytes) in strangers {
        let place = used();
        let state = place.home().join("state.db");
        std::fs::write(&state, &bytes).unwrap();
        for arguments in [&["status"][..], &["run", "hello"], &["serve"], &["audit", "verify"]] {
            let error = place.run(&[arguments, &["--json"]].concat()).error(1);
            assert_eq!(error["code"], code, "{arguments:?}: {error}");
            assert!(error["next"].as_str().unwrap().contains("backstay restore "), "{error}");
        }
        assert_eq!(std::fs::read(&state).unwrap(), bytes, "nothing was changed");
        let guide = place.run(&["--json"]).json(0);
        assert_eq!(
            (guide["state"].as_str(), guide["next"][1]["command"].as_str()),
            (Some("blocked"), Some("backstay doctor"))
        );
    }
}

fn used_state() -> Vec<u8> {
    std::fs::read(used().home().join("state.db")).unwrap()
}

#[test]
fn a_damaged_journal_says_so_and_leads_to_a_backup() {
    let place = used();
    let state = place.home().join("state.db");
    let mut bytes = std::fs::read(&state).unwrap();
    bytes[8192..28_000].fill(0xff);
    std::fs::write(&state, bytes).unwrap();
    let error = place.run(&["status", "--json"]).error(1);
    assert!(error["message"].as_str().unwrap().contains("damaged"), "{error}");
    assert!(error["next"].as_str().unwrap().contains("backstay restore "), "{error}");
    let doctor = place.run(&["doctor"]);
    assert!(doctor.expect(1).stdout.contains("bad     journal"), "{}", doctor.stdout);
}

#[test]
fn a_state_file_that_is_gone_is_not_made_anew() {
    let place = used();
    std::fs::remove_file(place.home().join("state.db")).unwrap();
    let error = place.run(&["run", "hello", "--json"]).error(5);
    assert!(error["message"].as_str().unwrap().contains("state.db is missing"), "{error}");
    assert!(!place.home().join("state.db").exists());
}

#[test]
fn a_pipe_in_place_of_a_file_keeps_nobody_waiting() {
    let place = used();
    let lock = place.home().join("state.lock");
    std::fs::remove_file(&lock).unwrap();
    assert!(Command::new("mkfifo").arg(&lock).status().unwrap().success());
    for arguments in [&["status"][..], &["run", "hello"], &["serve"]] {
        let error = place.run(&[arguments, &["--json"]].concat()).error(1);
        assert_eq!(error["code"], "not_a_file", "{arguments:?}: {error}");
        assert!(error["next"].as_str().unwrap().contains("move it away"), "{error}");
    }
    std::fs::remove_file(&lock).unwrap();
    let socket = place.home().join("backstay.sock");
    std::fs::write(&socket, "mine").unwrap();
    let error = place.run(&["serve", "--json"]).error(2);
    assert!(error["message"].as_str().unwrap().contains("move it away"), "{error}");
    assert_eq!(std::fs::read_to_string(&socket).unwrap(), "mine");
    place.run(&["run", "hello"]).expect(0);
}

#[test]
fn a_place_where_no_home_can_be_is_told_with_its_path() {
    let place = Place::empty();
    std::fs::write(place.path("file"), "").unwrap();
    for path in [place.path("file").join("home"), place.path("file"), "/proc/home".into()] {
        let error = place.run(&["init", path.to_str().unwrap(), "--json"]).error(1);
        assert_eq!(error["code"], "io", "{error}");
        assert!(error["message"].as_str().unwrap().starts_with(path.to_str().unwrap()), "{error}");
        assert!(!error["next"].as_str().unwrap().is_empty());
    }
}

/// The binary with every call of one kind failing, as a disk would make it fail.
fn failing(place: &Place, calls: &str, error: &str, arguments: &[&str]) -> Ran {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-o", "/dev/null", "-e", &format!("trace={calls}")]);
    strace.args(["-e", &format!("inject={calls}:error={error}"), env!("CARGO_BIN_EXE_backstay")]).args(arguments);
    strace.env_clear().env("HOME", place.path("")).env("BACKSTAY_HOME", place.home()).stdin(Stdio::null());
    Ran::of(&strace.output().unwrap())
}

#[test]
fn a_home_is_not_half_made_on_a_full_or_a_read_only_disk() {
    let place = Place::empty();
    let full = failing(&place, "pwrite64", "ENOSPC", &["init", "--json"]);
    assert_eq!(full.error(4)["code"], "full");
    place.run(&["init", "--json"]).json(0);
    let place = Place::empty();
    let error = failing(&place, "mkdir", "EROFS", &["init", "--json"]).error(1);
    assert!(error["message"].as_str().unwrap().contains("Read-only file system"), "{error}");
    assert!(error["next"].as_str().unwrap().contains("may write"), "{error}");
    place.run(&["init", "--json"]).json(0);
}

#[test]
fn a_reader_that_leaves_is_no_fault_of_any_command() {
    let place = used();
    let commands: [&[&str]; 6] = [
        &["--help"],
        &["status"],
        &["sessions", "list"],
        &["sql", "SELECT * FROM v_records"],
        &["completions", "bash"],
        &["config", "show"],
    ];
    for arguments in commands {
        let mut command = place.command(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let ran = Ran::of(&child.wait_with_output().unwrap());
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{arguments:?}");
    }
}

/// The binary as a user whom nothing lets into a directory that is closed.
fn shut_out(place: &Place, arguments: &[&str]) -> Ran {
    let mut command = Command::new("setpriv");
    if rustix::process::geteuid().is_root() {
        command.args(["--bounding-set", "-dac_override,-dac_read_search"]);
    }
    command.arg(env!("CARGO_BIN_EXE_backstay")).args(arguments).env_clear().stdin(Stdio::null());
    Ran::of(&command.env("HOME", place.path("")).env("BACKSTAY_HOME", place.home()).output().unwrap())
}

#[test]
fn another_users_home_is_not_taken_for_none() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::with_home();
    let open = |mode| std::fs::set_permissions(place.home(), std::fs::Permissions::from_mode(mode)).unwrap();
    open(0o000);
    let status = shut_out(&place, &["status", "--json"]);
    let found = shut_out(&place, &["--json"]);
    let doctor = shut_out(&place, &["doctor"]);
    open(0o700);
    let error = status.error(1);
    assert!(error["message"].as_str().unwrap().ends_with("Permission denied (os error 13)"), "{error}");
    assert!(error["next"].as_str().unwrap().contains("change to the user whose it is"), "{error}");
    let found = found.json(0);
    assert_eq!((&found["state"], &found["next"][0]["command"]), (&"blocked".into(), &"backstay init DIR".into()));
    assert!(found["trouble"].as_str().unwrap().contains("change to the user whose it is"), "{found}");
    assert!(doctor.expect(1).stdout.contains("Permission denied"), "{}", doctor.stdout);
}

#[test]
fn where_no_home_can_be_made_none_is_offered() {
    let place = Place::empty();
    let foreign = place.path("foreign");
    std::fs::create_dir(&foreign).unwrap();
    std::fs::write(foreign.join("letters"), "").unwrap();
    std::fs::write(place.path("file"), "").unwrap();
    std::os::unix::fs::symlink("nowhere", place.path("link")).unwrap();
    for (name, why) in [("foreign", "letters lies there"), ("file", "Not a directory"), ("link", "leads nowhere")] {
        let home = place.path(name);
        let at = |arguments: &[&str]| place.run(&[&["--home", home.to_str().unwrap()], arguments].concat());
        let found = at(&["--json"]).json(0);
        assert!(found["trouble"].as_str().unwrap().contains(why), "{found}");
        assert_eq!(found["next"].as_array().unwrap().len(), 1);
        assert!(found["next"][0]["command"].as_str().unwrap().ends_with(" init DIR"), "{found}");
        for arguments in [&["status", "--json"][..], &["config", "check", "--json"]] {
            let error = at(arguments).error(5);
            assert_eq!(error["code"], "no_home");
            assert!(error["next"].as_str().unwrap().contains("init DIR"), "{error}");
        }
        assert!(at(&["doctor"]).expect(1).stdout.contains("init DIR"));
        let refused = at(&["init"]);
        assert!(refused.code != 0 && refused.stderr.contains(why), "{}", refused.stderr);
    }
}
