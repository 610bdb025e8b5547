//! Commands that the operator declares as tools, by the real binary.
use serde_json::{Value, json};

use crate::door::Door;
use crate::place::Place;
use crate::sandboxed::Sandboxed;

const SHOW: &str = r#"
[tools.show]
description = "Shows words."
argv = ["printf", "[%s]", "{word}", "--", "{path}"]
schema = '{"type":"object","properties":{"word":{"type":"string"},"path":{"type":"string"}},"required":["word","path"]}'
class = "execute"
arguments.word.role = "payload"
arguments.path.role = "read_path"
[tools.undeclared]
description = "Nobody said what it does."
argv = ["echo", "done"]
[tools.append]
description = "Writes."
argv = ["tee", "-a", "--", "{path}", "/tmp/elsewhere"]
schema = '{"type":"object","properties":{"path":{"type":"string"}},"required":["path"]}'
class = "write"
arguments.path.role = "write_path"
[tools.looks]
description = "Tries to write."
argv = ["touch", "{path}"]
schema = '{"type":"object","properties":{"path":{"type":"string"}},"required":["path"]}'
class = "read"
arguments.path.role = "selector"
"#;

/// A home whose agent is granted these tools, no programs, and has `more` in its config.
fn home(tools: &[&str], more: &str) -> Sandboxed {
    let home = Sandboxed::home("[]", "");
    let granted = tools.iter().map(|tool| format!("\"{tool}\"")).collect::<Vec<_>>().join(", ");
    let config = home.place.config().replace("\"run_command\", \"write_file\"", &granted);
    home.place.write_config(&format!("{config}{more}"));
    home
}

fn call(home: &Sandboxed, tool: &str, arguments: &Value) -> Value {
    home.place.run(&["run", &format!("/call {tool} {arguments}")]).expect(0);
    home.latest()
}

/// The id of the one call that waits for a yes.
fn waiting(home: &Sandboxed) -> String {
    home.place.run(&["approvals"]).stdout.split(':').next().unwrap().to_owned()
}

fn workspace(home: &Sandboxed) -> String {
    home.workspace().canonicalize().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn a_declared_command_runs_as_its_words_without_a_shell_or_a_grant_of_its_program() {
    let home = home(&["show"], SHOW);
    std::fs::write(home.workspace().join("a file"), "x").unwrap();
    let said = call(&home, "show", &json!({ "word": "$(id) 'x'", "path": "a file" }));
    let expected = format!("[$(id) 'x'][--][{}/a file]", workspace(&home));
    assert_eq!((said["exit_code"].clone(), said["stdout"].clone()), (0.into(), expected.into()));
    for (arguments, why) in [
        (json!({ "word": "-v", "path": "a file" }), "begins with `-`"),
        (json!({ "word": "x", "path": "/etc/hosts" }), "outside the directories granted"),
        (json!({ "word": 1, "path": "a file" }), "is not of type"),
        (json!({ "word": "x", "path": "a file", "p": 1 }), "no argument `p`"),
    ] {
        let said = call(&home, "show", &arguments).to_string();
        assert!(said.contains(why), "{said}");
    }
    // Its program is no grant to run it otherwise.
    let granted = home.place.config().replace("\"show\", ", "\"show\", \"run_command\", ");
    home.place.write_config(&granted);
    let said = home.run("printf hi").to_string();
    assert!(said.contains("granted no programs"), "{said}");
}

#[test]
fn a_tool_is_offered_where_it_is_granted_and_nowhere_else() {
    let home = home(&["read_file"], SHOW);
    home.place.run(&["run", "/call show {\"word\":\"x\",\"path\":\".\"}"]).expect(0);
    let trace = home.place.run(&["trace"]).stdout.clone();
    assert!(trace.contains("unknown tool"), "{trace}");
}

#[test]
fn what_nobody_declared_asks_as_if_it_sent() {
    let home = home(&["undeclared"], SHOW);
    home.place.run(&["run", "/call undeclared {}"]).expect(4);
    let waits = home.place.run(&["approvals"]).stdout.clone();
    assert!(waits.contains("class: send"), "{waits}");
    home.place.run(&["approve", &waiting(&home)]).expect(0);
    assert_eq!(home.latest()["stdout"], "done\n");
}

/// A rule matches it, the card says it, and its yes is a person's at the machine, for once.
#[test]
fn what_cannot_be_taken_back_is_said_yes_to_at_the_machine_alone_and_for_once() {
    let drop_it = "[tools.drop]\ndescription = \"Drops a table.\"\nargv = [\"echo\", \"dropped\"]\nclass = \"write\"\n\
                   reversible = false\n[[agents.main.rules]]\nname = \"for good\"\nverdict = \"ask\"\nmatch = { reversible = false }\n";
    let home = home(&["drop"], drop_it);
    let place = &home.place;
    place.run(&["run", "/call drop {}"]).expect(4);
    let id = waiting(&home);
    let shown = place.run(&["approvals"]).stdout.clone();
    assert!(shown.contains("  CANNOT BE TAKEN BACK: a yes is said at this machine alone, for once\n"), "{shown}");
    let explained = place.run(&["policy", "explain", "drop", "{}"]).expect(4).stdout.clone();
    assert!(
        explained.contains("looked at reversible false") && explained.contains("CANNOT BE TAKEN BACK"),
        "{explained}"
    );
    let door = Door::serve_to("human", place, &[]);
    let asked = door.get("/api/approvals").json["approvals"][0].clone();
    assert_eq!(asked["facts"]["reversible"], false, "{asked}");
    let yes = json!({ "decision": "approve", "digest": asked["digest"] });
    let told = door.call("POST", &format!("/api/approvals/{id}"), &yes);
    assert_eq!((told.status, &told.json["error"]["code"]), (403, &json!("wrong_door")));
    drop(door);
    let words = ["tokens", "create", "--principal", "owner", "--speaks", "human", "--scope", "approve", "--json"];
    let token = place.path("token");
    std::fs::write(&token, place.run(&words).json(0)["token"].as_str().unwrap()).unwrap();
    let always = ["approve", &id, "--always", "--until", "7d", "--token", token.to_str().unwrap()];
    let told = place.run(&always).expect(3).stderr.clone();
    assert!(told.contains("is for once"), "{told}");
    place.run(&["approve", &id]).expect(0);
    assert_eq!(home.latest()["stdout"], "dropped\n");
}

#[test]
fn a_path_that_other_programs_act_by_is_given_to_no_tool_unasked() {
    let home = home(&["append", "write_file"], SHOW);
    call(&home, "append", &json!({ "path": "plain" }));
    home.place.run(&["run", r#"/call append {"path":".envrc"}"#]).expect(4);
    let path = format!("{}/.envrc", workspace(&home));
    let asks = |what: &str| {
        let shown = home.place.run(&["approvals"]).stdout.clone();
        assert!(shown.contains(&format!("  changes what other programs act by: {path}\n")), "{what}: {shown}");
        assert!(shown.contains("protected path"), "{what}: {shown}");
    };
    asks("append");
    let always = home.place.run(&["approve", "--always", &waiting(&home)]);
    assert_ne!(always.code, 0, "{}", always.stderr);
    home.place.run(&["deny", &waiting(&home)]).expect(0);
    home.place.run(&["run", r#"/call write_file {"path":".envrc","content":"x"}"#]).expect(4);
    asks("write_file");
    assert!(!home.workspace().join(".envrc").exists());
    home.place.run(&["approve", &waiting(&home)]).expect(0);
    assert_eq!(std::fs::read_to_string(home.workspace().join(".envrc")).unwrap(), "x");
}

#[test]
fn a_tool_is_told_without_a_question_what_its_audience_may_know() {
    let tell = "[tools.tell]\ndescription = \"Tells.\"\nargv = [\"echo\", \"told\"]\n[[agents.main.rules]]\n\
                name = \"tells\"\nverdict = \"allow\"\nmatch = { tool = \"tell\" }\n";
    let home = home(&["tell"], tell);
    let serve = |audience: &str| {
        let line = if audience.is_empty() { String::new() } else { format!("audience = \"{audience}\"\n") };
        home.place.write_config(&home.place.config().replace("[tools.tell]\n", &format!("[tools.tell]\n{line}")));
        Door::serve_to("human", &home.place, &[])
    };
    // What nobody declared is public, and a conversation is internal.
    let door = serve("");
    door.say("/call tell {}");
    let asked = loop {
        if let Some(asked) = door.get("/api/approvals").json["approvals"].get(0) {
            break asked.clone();
        }
        std::thread::yield_now();
    };
    assert_eq!(asked["rule"], "information flow", "{asked}");
    drop(door);
    let door = serve("named");
    door.ended(&door.say("/call tell {}").1);
    assert_eq!(home.latest()["stdout"], "told\n");
}

const MAIL: &str = r#"
[tools.mail]
description = "Sends a mail."
argv = ["echo", "{to}", "{cc}", "{text}"]
schema = '{"type":"object","properties":{"to":{"type":"string"},"cc":{"type":"string"},"text":{"type":"string"}},"required":["to","cc","text"]}'
class = "send"
arguments.to.role = "email"
arguments.cc.role = "email"
arguments.text.role = "payload"
"#;

/// Whoever is asked sees what would run, who chose each value, and what is other than the last time.
#[test]
fn a_person_is_shown_what_would_run_and_who_chose_what() {
    let home = home(&["mail"], MAIL);
    let door = Door::serve_to("human", &home.place, &[]);
    let asked = |before: &str| loop {
        let found = door.get("/api/approvals").json["approvals"].get(0).cloned();
        if let Some(asked) = found.filter(|asked| asked["id"] != before) {
            break asked;
        }
        std::thread::yield_now();
    };
    // The copy is written so that it stands in nobody's words.
    let say = |to: &str| {
        let call = format!(r#"{{"to":"{to}","cc":"\u0065ve@x.test","text":"it's done"}}"#);
        format!("/say I tell {to} of it\n/call mail {call}")
    };
    let (session, turn) = door.say(&say("bob@x.test"));
    let first = asked("");
    let shown = home.place.run(&["approvals"]).stdout.clone();
    for line in [
        r"  runs: echo bob@x.test eve@x.test 'it'\''s done'",
        r#"  named in message 2 ("/say I tell bob@x.test of it"): "to" = "bob@x.test""#,
        r#"  the model's own, no message of this task names it: "cc" = "eve@x.test""#,
        "  class: send, sandbox: full, rule: class default",
    ] {
        assert!(shown.contains(line), "{line} in {shown}");
    }
    assert!(!shown.contains("\"text\" = ") && first["last"].is_null(), "{shown} {first}");
    home.place.run(&["approve", first["id"].as_str().unwrap()]).expect(0);
    door.ended(&turn);
    // What came back may be anybody's.
    door.say_in(&session, &say("bea@x.test"));
    let second = asked(first["id"].as_str().unwrap());
    let shown = home.place.run(&["approvals"]).stdout.clone();
    for line in [
        r#"  untrusted, no message of this task names it, and the session has taken in words of principal"#,
        r#": "cc" = "eve@x.test""#,
        &format!("  beside the last that was allowed here, {}: another \"to\"", first["id"].as_str().unwrap()),
    ] {
        assert!(shown.contains(line), "{line} in {shown}");
    }
    home.place.run(&["deny", second["id"].as_str().unwrap()]).expect(0);
}

#[test]
fn what_declares_to_read_can_write_nowhere_and_a_writer_only_where_it_said() {
    let home = home(&["append", "looks"], SHOW);
    let said = call(&home, "looks", &json!({ "path": format!("{}/new", workspace(&home)) }));
    assert!(said["stderr"].as_str().unwrap().contains("Read-only file system"), "{said}");
    let said = call(&home, "append", &json!({ "path": "written" }));
    assert_eq!(said["exit_code"], 0, "{said}");
    assert!(home.workspace().join("written").exists() && !home.workspace().join("new").exists());
}

#[test]
fn a_yes_does_not_outlive_a_change_of_the_tool() {
    let home = home(&["undeclared"], SHOW);
    home.place.run(&["run", "/call undeclared {}"]).expect(4);
    let id = waiting(&home);
    home.place.write_config(&home.place.config().replace("\"echo\", \"done\"", "\"echo\", \"other\""));
    home.place.run(&["approve", &id]).expect(3);
    // Asked anew, it is still the call that was judged, which is no call of this tool any more.
    home.place.run(&["approve", &id]).expect(0);
    assert_eq!(home.latest(), "the call changed since it was judged; nothing was done");
}

#[test]
fn programs_of_the_operators_directories_are_found_and_only_the_granted_ones_run() {
    let home = home(&["hello"], "");
    let dir = home.place.path("programs");
    std::fs::create_dir_all(dir.join("bin")).unwrap();
    for (name, from) in [("hello", "/bin/echo"), ("other", "/bin/echo"), ("sh", "/bin/sh")] {
        std::fs::copy(from, dir.join("bin").join(name)).unwrap();
    }
    let real = dir.canonicalize().unwrap().to_str().unwrap().to_owned();
    let tools = "[tools.hello]\ndescription = \"x\"\nargv = [\"hello\", \"hi\"]\nclass = \"execute\"\n";
    let config = home.place.config().replace("[sandbox]\n", &format!("[sandbox]\ntool_dirs = [\"{real}\"]\n"));
    home.place.write_config(&format!("{config}{tools}"));
    assert_eq!(call(&home, "hello", &json!({}))["stdout"], "hi\n");
    let tried = format!("argv = [\"sh\", \"-c\", \"{real}/bin/other x; echo $? >&2; echo y > {real}/new; hello\"]");
    home.place.write_config(&home.place.config().replace("argv = [\"hello\", \"hi\"]", &tried));
    let said = call(&home, "hello", &json!({}));
    let stderr = said["stderr"].as_str().unwrap();
    assert!(stderr.contains("126") && stderr.contains("Read-only file system"), "{said}");
    assert!(!Place::path(&home.place, "programs/new").exists());
}

#[test]
fn a_yes_is_for_the_program_as_it_was_and_its_record_names_the_file() {
    let home = home(&["deploy"], "");
    let dir = home.place.path("programs");
    std::fs::create_dir_all(&dir).unwrap();
    let real = dir.canonicalize().unwrap().to_str().unwrap().to_owned();
    let config = home.place.config().replace("[sandbox]\n", &format!("[sandbox]\ntool_dirs = [\"{real}\"]\n"));
    let tool = "[tools.deploy]\ndescription = \"Nobody said what it does.\"\nargv = [\"deploy\", \"done\"]\n";
    home.place.write_config(&format!("{config}{tool}"));
    let put = |from: &str| {
        std::fs::copy(from, dir.join("new")).unwrap();
        std::fs::rename(dir.join("new"), dir.join("deploy")).unwrap();
    };
    put("/bin/echo");
    home.place.run(&["run", "/call deploy {}"]).expect(4);
    let judged = "SELECT data ->> '$.facts.files[0].real', data ->> '$.facts.files[0].digest' \
                  FROM v_records WHERE kind = 'judged'";
    let sum = std::process::Command::new("sha256sum").arg("/bin/echo").output().unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap().split(' ').next().unwrap().to_owned();
    let named = home.place.run(&["sql", judged, "--json"]).json(0)["rows"][0].clone();
    assert_eq!(named, json!([format!("{real}/deploy"), sum]));
    put("/bin/false");
    home.place.run(&["approve", &waiting(&home)]).expect(0);
    assert_eq!(home.latest(), "a program is another file than when the call was judged; nothing was done");
    put("/bin/echo");
    home.place.run(&["run", "/call deploy {}"]).expect(4);
    home.place.run(&["approve", &waiting(&home)]).expect(0);
    assert_eq!((&home.latest()["exit_code"], &home.latest()["stdout"]), (&json!(0), &json!("done\n")));
}

const PAY: &str = r#"
[tools.pay]
description = "Pays."
argv = ["echo", "paid", "{amount}", "{to}"]
schema = '{"type":"object","properties":{"to":{"type":"string"},"amount":{"type":"string"}},"required":["to","amount"]}'
class = "read"
arguments.to.role = "email"
arguments.amount.role = "money"
[[agents.main.rules]]
name = "no large sums"
verdict = "deny"
match = { tool = "pay", amount = { gt = "50 EUR" } }
does_not_match = [{ tool = "pay", amount = ["50 EUR"] }]
[[agents.main.rules]]
name = "only ours"
verdict = "deny"
match = { tool = "pay", recipient = { not_in = ["ann@Example.com", "bob@example.com"] } }
matches = [{ tool = "pay", recipient = ["eve@example.org"] }]
[[agents.main.rules]]
name = "pays"
verdict = "allow"
match = { tool = "pay" }
limit = [{ sum = "amount", per = ["recipient"], window = "30d", max = "80.00 EUR", over = "deny" }]
"#;

#[test]
fn rules_bound_whom_a_declared_tool_pays_and_how_much() {
    let home = home(&["pay"], PAY);
    for (to, amount, expected) in [
        ("ann@example.com", "50 EUR", "paid 50 EUR ann@example.com"),
        ("ann@example.com", "EUR 50.01", "rule `no large sums`"),
        ("ann@example.com", "1 USD", "rule `no large sums`"),
        ("ann@EXAMPLE.com", "30.01 EUR", "limit of rule `pays`"),
        ("ann@example.com", "30 EUR", "paid 30 EUR"),
        ("bob@example.com", "30 EUR", "paid 30 EUR"),
        ("eve@example.com", "1 EUR", "rule `only ours`"),
        ("Ann <ann@example.com>", "1 EUR", "deny, rule `no large sums`"),
    ] {
        let arguments = json!({ "to": to, "amount": amount });
        home.place.run(&["run", &format!("/call pay {arguments}")]).expect(0);
        let said = home.place.run(&["trace"]).stdout.clone();
        assert!(said.contains(expected), "{to} {amount}: {said}");
    }
    let call = r#"{"to":"ann@example.com","amount":"9 EUR"}"#;
    let told = home.place.run(&["policy", "explain", "pay", call]).stdout.clone();
    assert!(told.contains("  email: ann@example.com\n") && told.contains("  money: 9 EUR\n"), "{told}");
}

/// What is in force said it, whatever else than rules had a part in it; of other rules it is said where nobody can tell.
#[test]
fn the_past_is_judged_again_with_modes_limits_places_and_yeses_of_then() {
    let rules = PAY.split("[[agents.main.rules]]").next().unwrap().to_owned()
        + "[[agents.main.rules]]\nname = \"new ones\"\nverdict = \"ask\"\nmatch = { tool = \"pay\", destination = { seen = \"never\" } }\n\
           [[agents.main.rules]]\nname = \"by nobody\"\nverdict = \"deny\"\nmatch = { tool = \"pay\", destination = { seen = \"allowed\" } }\n\
           [[agents.main.rules]]\nname = \"looks\"\nverdict = \"ask\"\nmatch = { tool = \"list_dir\" }\n\
           [[agents.main.rules]]\nname = \"writes\"\nverdict = \"allow\"\nmatch = { tool = \"write_file\" }\n\
           limit = [{ count = true, window = \"30d\", max = 2, over = \"deny\" }]\n";
    let home = home(&["pay", "list_dir", "write_file"], &rules);
    let place = &home.place;
    let words = ["tokens", "create", "--principal", "owner", "--speaks", "human", "--scope", "approve", "--json"];
    let token = place.path("token");
    std::fs::write(&token, place.run(&words).json(0)["token"].as_str().unwrap()).unwrap();
    let token = token.to_str().unwrap();
    let call = |call: &str, code| {
        place.run(&["run", &format!("/call {call}")]).expect(code);
    };
    let write = |path: &str| call(&format!("write_file {{\"path\":\"{path}\",\"content\":\"x\"}}"), 0);
    let pay = "pay {\"to\":\"ann@example.com\",\"amount\":\"1 EUR\"}";
    place.run(&["mode", "read-only"]).expect(0);
    write("a");
    place.run(&["mode", "normal"]).expect(0);
    call(pay, 4);
    place.run(&["approve", &waiting(&home), "--token", token]).expect(0);
    call(pay, 0);
    call("list_dir {\"path\":\".\"}", 4);
    place.run(&["approve", &waiting(&home), "--always", "--until", "7d", "--token", token]).expect(0);
    call("list_dir {\"path\":\".\"}", 0);
    ["a", "b", "c"].into_iter().for_each(write);
    let told = place.run(&["trace"]).stdout.clone();
    assert!(told.contains("limit of rule `writes`"), "{told}");
    let found = place.run(&["policy", "backtest", "--json"]).json(0);
    assert_eq!((&found["count"], &found["not_comparable"]), (&json!(0), &json!(0)), "{found}");
    assert!(found["calls"].as_u64() >= Some(8), "{found}");
    let backtest = |from: &str, to: &str| {
        let other = place.path("other.toml");
        std::fs::write(&other, place.config().replace(from, to)).unwrap();
        let found = place.run(&["policy", "backtest", other.to_str().unwrap(), "--json"]).json(0);
        let change = |change: &serde_json::Value| [change["was"]["verdict"].clone(), change["is"]["verdict"].clone()];
        let changes: Vec<_> = found["changes"].as_array().unwrap().iter().map(change).collect();
        (changes, found["not_comparable"].clone())
    };
    // To whom was paid, and whether a yes stands to a rule that may be another, the records do not say.
    assert_eq!(backtest("max = 2", "max = 1"), (vec![[json!("allow"), json!("deny")]], json!(2)));
    assert_eq!(backtest("max = 2", "max = 3"), (vec![[json!("deny"), json!("allow")]], json!(2)));
    assert_eq!(backtest("seen = \"never\"", "seen = \"approved\""), (vec![[json!("ask"), json!("allow")]], json!(2)));
    // Nor does a call that nobody has made yet.
    let told = place.run(&["policy", "explain", "pay", &pay[4..]]).expect(4).stdout.clone();
    let known =
        ["where `destination.seen` is allowed: deny by rule `by nobody`", "is approved: allow by class default"];
    assert!(known.iter().all(|known| told.contains(known)), "{told}");
}

#[test]
fn people_are_asked_once_for_each_place() {
    let ask = PAY.split("[[agents.main.rules]]").next().unwrap().to_owned()
        + "[[agents.main.rules]]\nname = \"new ones\"\nverdict = \"ask\"\nmatch = { tool = \"pay\", destination = { seen = \"never\" } }\n\
           matches = [{ tool = \"pay\", destination = { seen = \"never\" } }]\n\
           does_not_match = [{ tool = \"pay\", destination = { seen = \"approved\" } }]\n";
    let home = home(&["pay"], &ask);
    let pay = |to: &str, code| {
        let arguments = json!({ "to": to, "amount": "1 EUR" });
        home.place.run(&["run", &format!("/call pay {arguments}")]).expect(code);
    };
    pay("ann@example.com", 4);
    let waits = home.place.run(&["approvals"]).stdout.clone();
    assert!(waits.contains("  FOR THE FIRST TIME: \"email ann@example.com\""), "{waits}");
    home.place.run(&["deny", &waiting(&home)]).expect(0);
    pay("ann@example.com", 4);
    home.place.run(&["approve", &waiting(&home)]).expect(0);
    pay("ann@example.com", 0);
    pay("eve@example.com", 4);
    let kept = "SELECT data -> '$.places', data ->> '$.by_person', agent FROM v_records WHERE kind = 'reached'";
    let kept = home.place.run(&["sql", kept, "--json"]).json(0);
    assert!(kept.to_string().contains("email ann@example.com"), "{kept}");
    home.place.run(&["audit", "verify"]).expect(0);
}
