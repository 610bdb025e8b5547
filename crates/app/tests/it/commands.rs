//! `run_command` through the real binary: what it does, and what it cannot do.
use serde_json::json;

use crate::door::Door;
use crate::sandboxed::{Sandboxed, processes_with};

#[test]
fn a_command_works_in_its_workspace_and_its_record_says_how_it_was_held() {
    let home = Sandboxed::home("[\"*\"]", "");
    let built = home.run(
        "git init -q project && cd project && printf 'int main(void) { return 42; }' > a.c && cc a.c -o a; ./a; echo $?; \
         git add a.c && git -c user.name=a -c user.email=a@example.com commit -qm one && git log --format=%s; echo no >&2",
    );
    assert_eq!(
        (&built["exit_code"], &built["stdout"], &built["stderr"]),
        (&json!(0), &json!("42\none\n"), &json!("no\n"))
    );
    assert_eq!(built["truncated"], false);
    assert!(home.workspace().join("project/a").exists());
    // Settings that git made are not in use until a person looks at them.
    let quarantined = built["quarantined"]["paths"].as_array().unwrap();
    assert!(quarantined.iter().any(|path| path.as_str().unwrap().ends_with("project/.git/config")), "{built}");
    assert!(!home.workspace().join("project/.git/config").exists());
    let judged = "SELECT data ->> '$.facts.tier', data ->> '$.facts.class', data ->> '$.facts.programs' \
                  FROM v_records WHERE kind = 'judged'";
    let facts = home.place.run(&["sql", judged, "--json"]).json(0);
    assert_eq!(facts["rows"][0], json!(["full", "execute", "[\"sh\"]"]));
    let failed = home.call(&json!({ "command": "pwd; exit 7", "cwd": "project" }));
    assert_eq!(
        (&failed["exit_code"], failed["stdout"].as_str().unwrap().ends_with("workspace/project\n")),
        (&json!(7), true)
    );
    assert_eq!(home.run("kill -9 $$")["signal"], 9);
    assert_eq!(home.run("nice")["stdout"], "10\n");
    let status = home.place.run(&["status", "--json"]).json(0);
    assert_eq!(status["sandbox"]["tier"], "full");
    assert!(home.place.run(&["doctor"]).stdout.contains("sandbox    full"));
}

#[test]
fn what_programs_keep_is_there_for_the_next_command() {
    let home = Sandboxed::home("[\"*\"]", "caches = \"workspace/.caches\"\n");
    let kept = home.run(
        "mkdir -p $CARGO_HOME/x/.github/workflows $XDG_CACHE_HOME/.git/hooks && echo kept > $CARGO_HOME/x/AGENTS.md && \
         echo $npm_config_cache; echo x > .envrc",
    );
    let root = home.workspace().canonicalize().unwrap();
    assert_eq!(kept["stdout"], format!("{}/.caches/npm\n", root.display()));
    // Names mean nothing in there, and what they do everywhere else.
    assert_eq!(kept["quarantined"]["paths"], json!([root.join(".envrc").to_str().unwrap()]), "{kept}");
    let again =
        home.run("cat $CARGO_HOME/x/AGENTS.md; echo more >> $CARGO_HOME/x/AGENTS.md; ls -A $XDG_CACHE_HOME/.git");
    assert_eq!((&again["stdout"], &again["quarantined"]), (&json!("kept\nhooks\n"), &json!(null)), "{again}");
    // A rule that hides a path hides it there too.
    let rule = "\n[[agents.main.rules]]\nname = \"hands off\"\nverdict = \"deny\"\n\
                match = { tool = \"write_file\", path = { glob = \"workspace/.caches/**/AGENTS.md\" } }\n";
    home.place.write_config(&(home.place.config() + rule));
    assert_eq!(home.run("cat $CARGO_HOME/x/AGENTS.md")["stdout"], "");
    let none = Sandboxed::home("[\"*\"]", "");
    assert_eq!(none.run("echo ${CARGO_HOME-none}")["stdout"], "none\n");
}

#[test]
fn a_known_variable_is_set_for_its_program_alone_and_changes_what_every_command_is_given() {
    let home = Sandboxed::home("[\"*\"]", "");
    std::fs::write(home.workspace().join("Makefile"), "show:\n\t@echo \"$$RUST_LOG $$LANG $$CI.\"\n").unwrap();
    home.own(&home.workspace());
    let told = home.run("RUST_LOG=app=debug LANG=C make show && make show; CI=1 make -s show");
    assert_eq!(told["stdout"], "app=debug C .\n C.UTF-8 .\n C.UTF-8 1.\n", "{told}");
    assert_eq!(home.run("TZ=UTC date -d @0 +%H:%M")["stdout"], "00:00\n");
    assert_eq!(home.run("MODE=1 make -s show")["exit_code"], 0);
    // No shell has read them, but for the name that nobody knows.
    let programs = "SELECT data ->> '$.facts.programs' FROM v_records WHERE kind = 'judged' ORDER BY at";
    let programs = home.place.run(&["sql", programs, "--json"]).json(0);
    assert_eq!(programs["rows"], json!([["[\"make\"]"], ["[\"date\"]"], ["[\"sh\"]"]]));
}

#[test]
fn only_listed_programs_are_there_and_nothing_that_was_written_is_executed() {
    let home = Sandboxed::home("[\"sh\", \"cat\", \"cp\", \"chmod\"]", "");
    assert_eq!(home.run("echo a > f; cat f; ls")["exit_code"], 127);
    let brought = home.run("cp /bin/cat own && chmod +x own && ./own f");
    assert_eq!(brought["exit_code"], 126, "{brought}");
    assert_eq!(home.run("/lib64/ld-linux-x86-64.so.2 ./own f || exit 99")["exit_code"], 99);
    let all = Sandboxed::home("[\"*\"]", "");
    assert_eq!(all.run("cp /bin/cat own && echo a > f && ./own f && ls f")["stdout"], "a\nf\n");
    // No shell, no text for one: the gate says so, and nothing starts.
    let none = Sandboxed::home("[\"cat\"]", "");
    none.place.run(&["run", "/call run_command {\"command\":\"cat f; cat $HOME\"}"]).expect(0);
    let denied =
        none.place.run(&["sql", "SELECT count(*) FROM v_effects WHERE verdict = 'deny' AND starts = 0", "--json"]);
    assert_eq!(denied.json(0)["rows"][0][0], 1);
    let nothing = Sandboxed::home("[]", "");
    assert_eq!(nothing.run("true"), "this agent is granted no programs");
    let status = nothing.place.run(&["status", "--json"]).json(0);
    assert_eq!(status["sandbox"]["tier"], "unused");
}

#[test]
fn a_known_command_runs_as_its_words_and_by_what_it_does() {
    let home = Sandboxed::home("[\"cat\", \"touch\", \"ls\"]", "");
    std::fs::write(home.workspace().join("a b$HOME"), "text").unwrap();
    home.own(&home.workspace());
    assert_eq!(home.run("cat 'a b$HOME'")["stdout"], "text");
    // Nobody expands a word that nobody quoted.
    assert_eq!(home.run("cat 'a b$HOME' missing")["exit_code"], 1);
    assert_eq!(home.run("touch new")["exit_code"], 0);
    assert!(home.workspace().join("new").exists());
    let judged = "SELECT data ->> '$.facts.class', data ->> '$.facts.programs', json_array_length(data -> '$.facts.paths') \
                  FROM v_records WHERE kind = 'judged'";
    let facts = home.place.run(&["sql", judged, "--json"]).json(0);
    assert_eq!(facts["rows"][0], json!(["read", "[\"cat\"]", 1]));
    assert_eq!((&facts["rows"][1][0], &facts["rows"][2][0]), (&json!("execute"), &json!("write")));
}

/// What a rule says of a program holds wherever it stands in a command, and wherever nobody can tell.
#[test]
fn rules_on_programs_hold_of_each_that_a_command_starts() {
    let home = Sandboxed::home("[\"*\"]", "");
    let rules = "[[agents.main.rules]]\nname = \"no touch\"\nverdict = \"deny\"\nmatch = { program = \"touch\" }\n\
                 [[agents.main.rules]]\nname = \"no stash\"\nverdict = \"deny\"\nmatch = { subcommand = { glob = \"git stash*\" } }\n";
    home.place.write_config(&format!("{}{rules}", home.place.config()));
    for (command, rule) in [
        ("ls && touch a", Some("no touch")),
        ("timeout 5 touch a", Some("no touch")),
        ("ls | cat; git stash", Some("no stash")),
        ("git stash list", Some("no stash")),
        // Whatever a shell makes of it.
        ("t=touch; $t a", Some("no touch")),
        ("ls *", Some("no touch")),
        ("ls && git status || cat touch", None),
    ] {
        home.place.run(&["run", &format!("/call run_command {}", json!({ "command": command }))]).expect(0);
        let trace = home.place.run(&["trace"]).stdout.clone();
        match rule {
            Some(rule) => assert!(trace.contains(&format!("rule `{rule}`")), "{command}: {trace}"),
            None => assert!(!trace.contains("rule `"), "{command}: {trace}"),
        }
    }
    assert!(!home.workspace().join("a").exists());
    let told = home.place.run(&["policy", "explain", "run_command", r#"{"command":"timeout 5 git status"}"#]);
    assert!(told.stdout.contains("  starts: git status, timeout\n  in the sandbox: full\n"), "{}", told.stdout);
    let told = home.place.run(&["policy", "explain", "run_command", r#"{"command":"ls $HOME"}"#]);
    assert!(
        told.stdout.contains("  starts: nobody knows what, so that the sandbox alone holds it\n"),
        "{}",
        told.stdout
    );
    home.place.run(&["run", r#"/call run_command {"command":"cat missing"}"#]).expect(0);
    let trace = home.place.run(&["trace"]).stdout.clone();
    assert!(trace.contains(", in the sandbox: full): done") && trace.contains("): exit 1 cat: missing"), "{trace}");
    let told = home.place.run(&["policy", "explain", "write_file", r#"{"path":"x","content":"x"}"#]);
    assert!(!told.stdout.contains("starts:"), "{}", told.stdout);
}

#[test]
fn joined_commands_run_as_a_shell_would_join_them_and_without_one() {
    let home = Sandboxed::home("[\"*\"]", "");
    std::fs::write(home.workspace().join("in"), "b\na\nb\n").unwrap();
    home.own(&home.workspace());
    for (command, code, stdout, stderr) in [
        ("sort < in | uniq -c | sort -rn | head -n 1", 0, "      2 b\n", ""),
        ("true && echo yes || echo no", 0, "yes\n", ""),
        ("false && echo yes || echo no", 0, "no\n", ""),
        ("false || false && echo yes; echo end", 0, "end\n", ""),
        ("echo 'a  $HOME `id`' > 'o $x' && cat 'o $x' >> all && echo b >> all; cat all", 0, "a  $HOME `id`\nb\n", ""),
        ("cat missing in 2>&1 | wc -l", 0, "4\n", ""),
        ("ls missing 2>/dev/null || echo gone", 0, "gone\n", ""),
        ("ls missing > o 2>&1; wc -l < o", 0, "1\n", ""),
        ("cat in | false", 1, "", ""),
        ("false | cat in | true", 0, "", ""),
        ("false; true; false && touch never || sort > sorted < in && cat sorted", 0, "a\nb\nb\n", ""),
        // The writer is told that its reader has gone, and both have ended.
        ("seq 1 100000 | head -n 2", 0, "1\n2\n", ""),
        ("timeout 9 yes | head -n 1", 0, "y\n", ""),
        // Nothing of one is left open in another, and nobody looks into the process that starts them.
        ("cat in | ls /proc/self/fd | cat", 0, "0\n1\n2\n3\n", ""),
        ("true; cat /proc/2/maps 2> /dev/null", 1, "", ""),
        ("cat < missing || echo none", 0, "none\n", "missing: No such file or directory (os error 2)\n"),
        ("echo x > missing/x; echo on", 0, "on\n", "missing/x: No such file or directory (os error 2)\n"),
    ] {
        let told = home.run(command);
        assert_eq!((&told["exit_code"], &told["stdout"]), (&json!(code), &json!(stdout)), "{command}: {told}");
        let said = told["stderr"].as_str().unwrap();
        assert!(said.ends_with(stderr) && said.is_empty() == stderr.is_empty(), "{command}: {told}");
    }
    assert_eq!(std::fs::read_to_string(home.workspace().join("o $x")).unwrap(), "a  $HOME `id`\n");
    assert!(!home.workspace().join("never").exists());
    // No shell is needed where none is granted.
    let few = Sandboxed::home("[\"echo\", \"cat\"]", "");
    assert_eq!(few.run("echo a | cat > f; cat f")["stdout"], "a\n");
}

/// Each is a redirection that bash would make.
#[test]
fn a_redirection_leads_to_files_of_the_workspace_and_nowhere_else() {
    let home = Sandboxed::home("[\"cat\", \"echo\", \"mv\", \"true\"]", "");
    let at = |path: &str| home.workspace().join(path);
    let outside = home.place.home().join("outside");
    std::fs::create_dir_all(at(".git")).unwrap();
    std::fs::create_dir_all(at("dir")).unwrap();
    for path in [&at(".git/config"), &at("kept"), &outside] {
        std::fs::write(path, "canary-71").unwrap();
    }
    std::os::unix::fs::symlink(&outside, at("away")).unwrap();
    std::os::unix::fs::symlink("../kept", at("dir/link")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, at("fifo"), rustix::fs::Mode::from_raw_mode(0o666)).unwrap();
    home.own(&home.workspace());
    for (command, why) in [
        ("echo x > .git/config", "Read-only file system"),
        ("echo x >> away", "symbolic link"),
        ("cat < away", "symbolic link"),
        // Judged as a file that would be new, in a directory that is not there yet.
        ("mv dir moved && echo x > moved/link", "symbolic link"),
        ("echo x > fifo", "No such device or address"),
        ("cat < fifo", "not a regular file"),
        ("echo x > //dev/full", "not a regular file"),
        ("cat < //dev/zero", "not a regular file"),
        ("cat < /proc/self/environ", "symbolic link"),
        ("echo x > .", "Is a directory"),
        ("cat < .", "not a regular file"),
        ("echo x > //etc/passwd", "Read-only file system"),
    ] {
        let told = home.run(command);
        assert_eq!((&told["exit_code"], &told["stdout"]), (&json!(1), &json!("")), "{command}: {told}");
        assert!(told["stderr"].as_str().unwrap().contains(why), "{command}: {told}");
    }
    for path in [&at(".git/config"), &at("kept"), &outside] {
        assert_eq!(std::fs::read_to_string(path).unwrap(), "canary-71", "{}", path.display());
    }
    // A protected name that was not there is made, and not in use.
    assert_eq!(home.run("true > .envrc")["quarantined"]["paths"].as_array().unwrap().len(), 1);
    assert!(!at(".envrc").exists());
    // bash would write to its own descriptors there, or to a machine: a shell has to read it, and none is granted.
    let denied = "SELECT count(*) FROM v_effects WHERE verdict = 'deny' AND starts = 0";
    for (command, denials) in [("echo x > /dev/stderr", 1), ("cat < /dev/tcp/127.0.0.1/80", 2)] {
        home.place.run(&["run", &format!("/call run_command {}", json!({ "command": command }))]).expect(0);
        assert_eq!(home.place.run(&["sql", denied, "--json"]).json(0)["rows"][0][0], denials, "{command}");
    }
}

/// A program is run by its handle, under the name that was typed.
#[test]
fn programs_run_by_their_files_and_scripts_by_their_interpreters() {
    let home = Sandboxed::home("[\"*\"]", "");
    assert_eq!(home.run("cat missing")["stderr"], "cat: missing: No such file or directory\n");
    let dir = home.place.path("programs");
    std::fs::create_dir_all(&dir).unwrap();
    let real = dir.canonicalize().unwrap();
    let executable = |name: &str, text: &str| {
        std::fs::write(dir.join(name), text).unwrap();
        std::fs::set_permissions(dir.join(name), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    };
    // Names that are known, of programs that this machine may lack.
    executable("black", "#!/bin/sh -e\necho \"$0\" \"$@\"\nfalse\necho on\n");
    let tool_dirs = format!("[sandbox]\ntool_dirs = [\"{}\"]\n", real.display());
    home.place.write_config(&home.place.config().replace("[sandbox]\n", &tool_dirs));
    let ran = home.run("black --check a || echo ended");
    assert_eq!(ran["stdout"], format!("{}/black --check a\nended\n", real.display()), "{ran}");
    // What this agent could have written itself is none of its programs.
    std::fs::copy("/bin/echo", home.workspace().join("own")).unwrap();
    std::fs::rename(dir.join("black"), dir.join("other")).unwrap();
    std::os::unix::fs::symlink(home.workspace().join("own"), dir.join("black")).unwrap();
    let told = home.run("black --check a").to_string();
    assert!(told.contains("where this agent may write"), "{told}");
}

#[test]
fn a_command_that_hides_something_is_refused_and_nobody_is_asked() {
    let home = Sandboxed::home("[\"*\"]", "");
    let unseen = home.run("ls\u{200b}; touch f");
    assert_eq!(unseen, "the command holds the character U+200B, which cannot be seen: write it without");
    let chain = home.run(&format!("{} touch f", "true;".repeat(16)));
    assert_eq!(chain, "the command joins more than 16 simple commands: put it into a file and run that");
    assert!(!home.workspace().join("f").exists());
    let lines = "line; with && signs\n".repeat(200);
    assert_eq!(home.run(&format!("cat > text <<'END'\n{lines}END"))["exit_code"], 0);
    assert_eq!(std::fs::read_to_string(home.workspace().join("text")).unwrap(), lines);
}

#[test]
fn what_takes_too_much_is_ended_and_leaves_nothing() {
    let home = Sandboxed::home("[\"*\"]", "memory_mib = 128");
    let mark = "97531";
    let timed = home.call(&json!({ "command": format!("sleep {mark} & sleep {mark}"), "timeout_s": 1 }));
    assert!(timed["stopped"].as_str().unwrap().contains("longer than 1 s"), "{timed}");
    // A process that outlives its command, in a session of its own and with its output closed.
    let left = home.run(&format!("(setsid sleep {mark} >/dev/null 2>&1 &) ; echo done"));
    assert_eq!((&left["exit_code"], &left["stdout"]), (&json!(0), &json!("done\n")));
    assert_eq!(processes_with(mark), 0);
    let hungry = home.run("perl -e '$a = \"x\" x 400_000_000; print length $a'");
    assert!(hungry["exit_code"] != 0 && !hungry["stdout"].as_str().unwrap().contains("400000000"), "{hungry}");
    // Each has less than its own limit; together they have more.
    let many = home.run("for i in 1 2 3 4 5 6; do perl -e '$a = \"x\" x 50_000_000; sleep 9' & done; wait");
    assert!(many["stopped"].as_str().unwrap_or_default().contains("memory_mib"), "{many}");
    let bomb = home.call(&json!({ "command": format!("b() {{ b | b & }}; b; sleep {mark}"), "timeout_s": 3 }));
    assert!(bomb["stopped"].is_string() || bomb["exit_code"] != 0, "{bomb}");
    assert_eq!(processes_with(mark), 0);
    let flood = home.run("yes 0123456789 | head -c 100000000; echo the end >&2");
    let shown = flood["stdout"].as_str().unwrap_or_else(|| panic!("{flood}"));
    assert!(flood["truncated"] == true && shown.len() < 25_000 && shown.contains("bytes are missing here"), "{flood}");
    assert_eq!(flood["stderr"], "the end\n");
    let filled = home.run("head -c 400000000 /dev/zero > /tmp/f; head -c 200000000 /dev/zero > /dev/shm/f");
    assert!(filled["stderr"].as_str().unwrap().matches("No space left").count() == 2, "{filled}");
    // A home with this session still takes a message.
    assert_eq!(home.run("echo on we go")["stdout"], "on we go\n");
}

/// It says that it is there, and what it would say later nobody hears.
#[test]
fn a_process_that_holds_the_output_of_its_command_open_is_not_waited_for() {
    let home = Sandboxed::home("[\"*\"]", "");
    let mark = "97532";
    let daemon = format!("setsid sh -c 'echo begun > f; sleep {mark}; echo late; echo late >&2'");
    let command = format!("({daemon} &) ; until test -s f; do :; done; echo done");
    // Who waited for it would be told that the command took longer.
    let said = home.call(&json!({ "command": command, "timeout_s": 20 }));
    assert_eq!((&said["exit_code"], &said["stdout"]), (&json!(0), &json!("done\n")), "{said}");
    assert_eq!((&said["stopped"], &said["stderr"]), (&json!(null), &json!("")), "{said}");
    assert_eq!(processes_with(mark), 0);
}

#[test]
fn what_does_not_fit_is_kept_and_read_by_its_own_session_alone() {
    let home = Sandboxed::home("[\"*\"]", "");
    let numbers = "/call run_command {\"command\":\"seq 1 60000; seq 1 4000 >&2\"}";
    let turn = home.place.run(&["run", numbers, "--json"]).json(0);
    let session = turn["session"].as_str().unwrap().to_owned();
    assert_eq!(home.latest()["truncated"], true);
    let told = home.latest_text();
    let id = told.rsplit_once("read_output with id ").unwrap().1.trim_end_matches(']').to_owned();
    let read = |session: Option<&str>, arguments: &str| {
        let task = format!("/call read_output {{\"id\":{id}{arguments}}}");
        let words = ["run", &task].into_iter().chain(session.map(|_| "--session")).chain(session);
        home.place.run(&words.collect::<Vec<_>>()).expect(0);
        home.latest_text()
    };
    // All of it, in its pieces, is what was said.
    let (mut whole, mut total) = (String::new(), 1);
    while whole.len() < total {
        let piece = read(Some(&session), &format!(",\"offset\":{}", whole.len()));
        let (head, text) = piece.split_once("]\n").unwrap();
        total = head.rsplit(' ').next().unwrap().parse().unwrap();
        whole.push_str(text);
    }
    let lines = |last: u32| (1..=last).map(|n| format!("{n}\n")).collect::<String>();
    assert_eq!(whole, format!("stdout:\n{}\nstderr:\n{}\n", lines(60_000), lines(4_000)));
    assert_eq!(read(Some(&session), ",\"offset\":8,\"limit\":3"), format!("[bytes 8 to 11 of {total}]\n1\n2"));
    // Another session of the same agent finds nothing under that number.
    assert!(read(None, "").contains("this session keeps no output"));
}

#[test]
fn a_disk_without_room_runs_nothing() {
    let home = Sandboxed::home("[\"*\"]", "free_disk_mib = 1000000000");
    let refused = home.run("echo x > f");
    assert!(refused.as_str().unwrap().contains("nearly full"), "{refused}");
    assert!(!home.workspace().join("f").exists());
}

#[test]
fn a_killed_process_leaves_no_command_running_and_its_call_in_doubt() {
    let home = Sandboxed::home("[\"*\"]", "");
    let mark = "86420";
    let served = home.place.serve();
    let task = format!("/call run_command {}", json!({ "command": format!("echo > begun; sleep {mark}") }));
    let mut asked = home.place.command(&["run", &task]).stdout(std::process::Stdio::null()).spawn().unwrap();
    let begun = home.workspace().join("begun");
    until(|| begun.exists() && processes_with(mark) > 0);
    served.kill();
    asked.wait().unwrap();
    until(|| processes_with(mark) == 0);
    let _served = home.place.serve();
    until(|| home.place.run(&["doubts", "--json"]).stdout.contains("run_command"));
}

/// Each way to stop, while a command with children of its own runs: at once nothing of it is left, and what the
/// journal says of it is its own word, not a guess.
#[test]
fn what_stops_a_turn_a_session_or_the_home_ends_its_commands() {
    let home = Sandboxed::home("[\"*\"]", "");
    let door = Door::serve(&home.place, &[]);
    for (mark, how) in [("86421", "cancel"), ("86422", "stop"), ("86423", "freeze")] {
        let command = format!("echo > begun-{how}; (setsid sleep {mark} &) ; sleep {mark}");
        let (session, turn) = door.say(&format!("/call run_command {}", json!({ "command": command })));
        until(|| home.workspace().join(format!("begun-{how}")).exists() && processes_with(mark) >= 2);
        let path = match how {
            "cancel" => format!("/api/turns/{turn}/cancel"),
            "stop" => format!("/api/sessions/{session}/stop"),
            _ => "/api/home/freeze".to_owned(),
        };
        assert_eq!(door.call("POST", &path, &json!({})).status, 200);
        until(|| processes_with(mark) == 0);
        until(|| home.place.run(&["sessions", "export", &session]).stdout.contains("a person stopped it"));
    }
    assert_eq!(home.place.run(&["doubts", "--json"]).json(0)["doubts"], json!([]));
}

/// What goes on of an agent, by a door, or at all ends as where one session is stopped; whatever else goes on does, and a
/// session in which nothing did takes messages as before.
#[test]
fn a_stop_of_an_agent_a_door_or_all_ends_what_goes_on_there_and_nothing_else() {
    let home = Sandboxed::home("[\"*\"]", "");
    let other = "[agents.other]\nmodel = \"default\"\n[agents.other.grants]\ntools = [\"write_file\"]\n\
                 write = [\"workspace/out\"]\n[[agents.other.rules]]\nname = \"asks\"\nverdict = \"ask\"\n\
                 match = { tool = \"write_file\" }\n";
    home.place.write_config(&format!("{}\n{other}", home.place.config()));
    let door = Door::serve(&home.place, &[]);
    let running = |mark: &str| {
        let command = format!("echo > begun-{mark}; (setsid sleep {mark} &) ; sleep {mark}");
        let (session, turn) = door.say(&format!("/call run_command {}", json!({ "command": command })));
        until(|| home.workspace().join(format!("begun-{mark}")).exists() && processes_with(mark) >= 2);
        (session, turn)
    };
    let asks = "/call write_file {\"path\":\"out/told.txt\",\"content\":\"x\"}";
    let asking = || {
        let made = door.call("POST", "/api/sessions", &json!({ "agent": "other" }));
        let session = made.json["session"].as_str().unwrap().to_owned();
        let turn = door.say_in(&session, asks);
        until(|| home.place.run(&["approvals", "--json"]).stdout.contains(&session));
        (session, turn)
    };
    let stop = |whose: &[&str]| {
        let said = home.place.run(&[&["stop"], whose, &["--json"]].concat()).json(0);
        let mut stopped: Vec<String> = serde_json::from_value(said["stopped"].clone()).unwrap();
        stopped.sort();
        stopped
    };
    let waits = |session: &str| home.place.run(&["approvals", "--json"]).stdout.contains(session);
    let (idle, turn) = door.say("/say nothing");
    door.ended(&turn);
    let (waiting, asked) = asking();
    let (main, turn) = running("86431");
    assert_eq!(stop(&["--agent", "main"]), [main.as_str()]);
    until(|| processes_with("86431") == 0);
    assert_eq!(door.ended(&turn)["reason"], "stopped_by_user");
    until(|| home.place.run(&["sessions", "export", &main]).stdout.contains("a person stopped it"));
    let refused = door.call("POST", &format!("/api/sessions/{main}/messages"), &json!({ "text": "more" }));
    assert_eq!(refused.json["error"]["code"], "session_stopped", "{}", refused.text);
    assert_eq!(door.ended(&door.say_in(&idle, "/say more"))["reason"], "claimed");
    // What came in by the door of this machine, in a session that another has opened.
    let made = door.call("POST", "/api/sessions", &json!({ "agent": "other" }));
    let here = made.json["session"].as_str().unwrap();
    home.place.run(&["run", "--session", here, asks]).expect(4);
    assert_eq!(stop(&["--channel", "cli"]), [here]);
    assert!(!waits(here));
    // What was neither's goes on to its end.
    assert!(waits(&waiting));
    let open = home.place.run(&["approvals", "--json"]).json(0);
    home.place.run(&["approve", open["approvals"][0]["id"].as_str().unwrap()]).expect(0);
    assert_eq!(door.ended(&asked)["reason"], "claimed");
    assert!(home.workspace().join("out/told.txt").exists());
    let mut both = [running("86432").0, asking().0];
    both.sort();
    assert_eq!(stop(&["--all"]), both);
    until(|| processes_with("86432") == 0);
    assert!(!waits(&both[0]) && !waits(&both[1]));
    assert_eq!(stop(&["--all"]), [""; 0]);
    assert_eq!(home.place.run(&["doubts", "--json"]).json(0)["doubts"], json!([]));
    let words = home.place.run(&["stop", "--agent", "other"]);
    assert!(words.expect(0).stdout.contains("nothing goes on there"));
    assert_eq!(home.place.run(&["stop", "--agent", "nobody", "--json"]).error(5)["code"], "unknown_agent");
    assert_eq!(home.place.run(&["stop", "--channel", "http", "--json"]).error(2)["code"], "malformed");
    home.place.run(&["stop"]).expect(2);
    home.place.run(&["stop", &main, "--all"]).expect(2);
}

/// Waits for what must become so; a test that hangs is ended by its runner.
fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        std::thread::yield_now();
    }
}

/// One agent may write where a directory lies that is granted to another: it can put a link there, or a file.
#[test]
fn what_an_agent_puts_in_the_place_of_a_granted_directory_grants_nothing() {
    let home = Sandboxed::home("[\"*\"]", "");
    let config = home.place.config().replace("write = [\"workspace/out\"]", "write = [\"workspace\"]");
    let other = "[agents.other]\nmodel = \"default\"\n[agents.other.grants]\ntools = [\"run_command\"]\nprograms = [\"*\"]\n\
                 read = [\"workspace/c\"]\nwrite = [\"workspace/a/b\"]\n";
    home.place.write_config(&format!("{config}{other}"));
    let elsewhere = home.place.path("elsewhere");
    for directory in [home.workspace().join("a/b"), home.workspace().join("c"), elsewhere.join("b")] {
        std::fs::create_dir_all(directory).unwrap();
    }
    home.own(&home.workspace());
    home.own(&elsewhere);
    let workspace = home.workspace().canonicalize().unwrap();
    let touch = |name: &str| {
        let command = format!("touch {}/a/b/{name}; echo ended", workspace.display());
        let call = json!({ "command": command, "cwd": "c" });
        home.place.run(&["run", "--agent", "other", &format!("/call run_command {call}")]).expect(0);
    };
    let served = home.serve_with("LD_PRELOAD", "/nowhere/x.so");
    touch("before");
    assert!(workspace.join("a/b/before").exists(), "{:?}", home.latest());
    let swap = format!("mv a kept && ln -s {} a", elsewhere.display());
    assert_eq!(home.run(&swap)["exit_code"], 0);
    touch("while");
    assert_eq!(served.stop(), 0);
    home.place.run(&["config", "check"]).expect(0);
    touch("after");
    home.run("rm a; mkdir a; echo x > a/b; rm -r out; touch out");
    home.place.run(&["config", "check"]).expect(0);
    touch("later");
    let found = home.place.run(&["doctor"]).stdout.clone();
    assert!(found.contains("/workspace/a/b is void: a file or a link lies there"), "{found}");
    assert_eq!(std::fs::read_dir(elsewhere.join("b")).unwrap().count(), 0);
    assert_eq!(home.run("echo on")["stdout"], "on\n", "nobody else is kept from what is theirs");
}
