//! Logins at servers of tools: by the suites of the protocol, and against servers that do what none should.
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::door::Door;
use crate::network::rows;
use crate::place::Ran;
use crate::remote::{Peer, home, root, suite};
use crate::sandboxed::{LATEST, Sandboxed};
use crate::terminal::Terminal;
use crate::tls::certified;
use crate::vault;

const TERMS: &str = "class = \"read\"\nidempotency = \"idempotent\"\n";
/// A person's browser, which opens what it is shown and follows where that leads.
const BROWSER: &str = "browse() { python3 -c 'import sys, urllib.request as r\nfor line in sys.stdin:\n    line.startswith(\"http\") and r.urlopen(line.strip()).read()'; }\n";
const LOGIN: &str = "own mcp login far --yes | browse\n";
const PIN: &str = "own mcp pin far\n";
const CALL: &str = "own run '/call far__test-tool {}'\n";

/// One whose secrets have a key, and whose server is logged in to as `oauth` says.
fn logged_in(url: &str, oauth: &str) -> Sandboxed {
    let home = home(url, &[("test-tool", TERMS)], oauth);
    let key = vault::key(&home.place);
    home.place.write_config(&format!("[home]\nsecrets_key = \"{}\"\n{}", key.display(), home.place.config()));
    home
}

/// What a suite says of us, who are logged in and then pin and call its server.
fn passes(scenario: &str, home: &Sandboxed, script: &str) {
    let (passed, said) = suite(&format!("auth/{scenario}"), home, &format!("{BROWSER}{script}"));
    assert!(passed && said.contains(" 0 failed, 0 warnings"), "{scenario}: {said}");
}

fn all_pass(scenarios: &[&str]) {
    for scenario in scenarios {
        let home = logged_in("AT-URL", "");
        passes(scenario, &home, &format!("{LOGIN}{PIN}{CALL}"));
        assert_eq!(home.latest(), "test", "{scenario}");
    }
}

#[test]
fn the_suites_of_the_protocol_pass_a_client_that_finds_where_to_log_in() {
    all_pass(&["metadata-default", "metadata-var1", "metadata-var2", "metadata-var3"]);
    all_pass(&["2025-03-26-oauth-metadata-backcompat"]);
}

#[test]
fn the_suites_of_the_protocol_pass_a_client_that_asks_for_what_is_wanted() {
    all_pass(&["scope-from-www-authenticate", "scope-from-scopes-supported", "scope-omitted-when-undefined"]);
    all_pass(&["offline-access-scope", "offline-access-not-supported"]);
}

#[test]
fn the_suites_of_the_protocol_pass_a_client_that_proves_itself_as_it_is_registered() {
    all_pass(&["token-endpoint-auth-basic", "token-endpoint-auth-post", "token-endpoint-auth-none"]);
}

#[test]
fn the_suites_of_the_protocol_pass_a_client_that_its_operator_has_registered() {
    let document = "client_document = \"https://conformance-test.local/client-metadata.json\"\n";
    let (id, secret) = ("client_id = \"pre-registered-client\"\n", "client_secret = \"far-client\"\n");
    let kept = "printf pre-registered-secret | own secrets set far-client\n";
    for (scenario, oauth, script) in
        [("basic-cimd", document.to_owned(), ""), ("pre-registration", format!("{id}{secret}"), kept)]
    {
        let home = logged_in("AT-URL", &format!("[mcp.far.oauth]\n{oauth}"));
        passes(scenario, &home, &format!("{script}{LOGIN}{PIN}{CALL}"));
        assert_eq!(home.latest(), "test", "{scenario}");
    }
}

/// A person asks for more where a call says that more is wanted; nobody else does.
#[test]
fn the_suites_of_the_protocol_pass_a_client_that_says_which_scopes_are_wanted() {
    let home = logged_in("AT-URL", "");
    let wider = "own mcp login far --yes --scope 'mcp:basic mcp:write' | browse\n";
    let asked = format!("{CALL}own sql \"{}\" > said\n", LATEST.replace('$', "\\$"));
    passes("scope-step-up", &home, &format!("{LOGIN}{PIN}{asked}{wider}{CALL}"));
    let said = std::fs::read_to_string(home.place.path("said")).unwrap();
    assert!(said.contains("backstay mcp login far --scope 'mcp:basic mcp:write'"), "{said}");
    assert_eq!(home.latest(), "test");

    let home = logged_in("AT-URL", "");
    let pin = "own mcp pin far 2>> said || true\n";
    let again = "own mcp login far --yes --scope mcp:admin | browse\n";
    passes("scope-retry-limit", &home, &format!("{LOGIN}{pin}{again}{pin}"));
    let said = std::fs::read_to_string(home.place.path("said")).unwrap();
    assert_eq!(said.matches("it answered 403: it wants more than its login allows").count(), 2, "{said}");
}

#[test]
fn the_suites_of_the_protocol_pass_a_client_that_asks_for_no_token_for_somebody_else() {
    let home = logged_in("AT-URL", "");
    passes("resource-mismatch", &home, "own mcp login far --yes 2> said && exit 9\ntrue\n");
    let said = std::fs::read_to_string(home.place.path("said")).unwrap();
    assert!(said.contains("its tokens are for \"https://evil.example.com/mcp\""), "{said}");
}

/// One that hands out tokens, and wants them.
fn guarded(words: &[&Path]) -> Peer {
    Peer::start(Command::new("python3").arg(root().join("tests/peers/mcp_oauth.py")).args(words))
}

/// A home whose server is that one, in clear text.
fn guarded_home(peer: &Peer, terms: &str) -> Sandboxed {
    let home = home(&peer.url("/mcp"), &[("who", terms)], "");
    let key = vault::key(&home.place);
    home.place.write_config(&format!("[home]\nsecrets_key = \"{}\"\n{}", key.display(), home.place.config()));
    home
}

/// A login that waits for its browser.
struct Login {
    child: Child,
    says: BufReader<ChildStdout>,
    /// What a person opens, and where that leads back to.
    open: String,
    redirect: String,
}

impl Login {
    fn begin(home: &Sandboxed, words: &[&str]) -> Self {
        let words = [&["mcp", "login", "far", "--yes", "--json"], words].concat();
        let mut command = home.place.command(&words);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut says = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        says.read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|_| {
            let mut why = String::new();
            std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut why).unwrap();
            panic!("{line}{why}")
        });
        let text = |name: &str| said[name].as_str().unwrap().to_owned();
        Self { child, says, open: text("open"), redirect: text("redirect") }
    }

    /// Where the browser would end, without going there.
    fn back(&self) -> String {
        browse(&self.open, false)
    }

    /// What it says at the end, and on the way to it.
    fn end(self) -> (Value, String) {
        let ran = self.ran();
        (serde_json::from_str(&ran.stdout).unwrap_or_default(), ran.stderr)
    }

    /// Why it comes to nothing.
    fn fails(self, code: i32) -> Value {
        self.ran().error(code)
    }

    fn ran(mut self) -> Ran {
        let (mut stdout, mut stderr) = (String::new(), String::new());
        self.says.read_line(&mut stdout).unwrap();
        std::io::Read::read_to_string(&mut self.child.stderr.take().unwrap(), &mut stderr).unwrap();
        Ran { code: self.child.wait().unwrap().code().unwrap(), stdout, stderr }
    }
}

/// A browser; with the text that it ends at, or, where it does not follow, with where it is sent.
fn browse(url: &str, follows: bool) -> String {
    const BROWSER: &str = "import ssl, sys, urllib.request as r\n\
        class Stay(r.HTTPRedirectHandler):\n    def redirect_request(self, *a): return None\n\
        c = r.HTTPSHandler(context=ssl._create_unverified_context())\n\
        o = r.build_opener(c) if sys.argv[2] == 'follow' else r.build_opener(c, Stay)\n\
        try: print(o.open(sys.argv[1], timeout=60).read().decode())\n\
        except r.HTTPError as e: print(e.headers.get('location') or e.read().decode())";
    let ran = Command::new("python3").args(["-c", BROWSER, url, if follows { "follow" } else { "stay" }]).output();
    String::from_utf8(ran.unwrap().stdout).unwrap().trim().to_owned()
}

/// Somebody logs in.
fn log_in(home: &Sandboxed) -> (Value, String) {
    let login = Login::begin(home, &[]);
    assert!(browse(&login.open, true).contains("You can close this page"));
    login.end()
}

fn call(home: &Sandboxed) -> String {
    home.place.run(&["run", "/call far__who {}"]).expect(0);
    let said = home.latest();
    said.as_str().map_or_else(|| said.to_string(), str::to_owned)
}

/// Lines of the peer's, until this one.
fn until(peer: &mut Peer, last: &str) -> Vec<String> {
    let mut all = Vec::new();
    while all.last().is_none_or(|line| line != last) {
        all.push(peer.line());
    }
    all
}

fn nowhere_in(directory: &Path) -> usize {
    let mut files = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let (path, kind) = entry.map(|entry| (entry.path(), entry.file_type().unwrap())).unwrap();
        if kind.is_dir() {
            files += nowhere_in(&path);
        } else if kind.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            assert!(!bytes.windows(7).any(|seven| seven == b"Canary-"), "{}", path.display());
            files += 1;
        }
    }
    files
}

/// Over TLS, as with servers of others.
#[test]
fn what_a_login_brings_is_kept_sealed_goes_to_its_server_alone_and_is_given_back() {
    let before = Sandboxed::home("[]", "");
    let extensions = ["subjectAltName=DNS:localhost", "basicConstraints=critical,CA:FALSE"];
    let (cert, key) = certified(&before.place, "localhost", &extensions);
    let mut peer = guarded(&[&cert, &key]);
    let home = home(&format!("https://localhost:{}/mcp", peer.port), &[("who", TERMS)], "");
    let secrets = vault::key(&home.place);
    home.place.write_config(&format!(
        "[home]\nsecrets_key = \"{}\"\n[network]\nca = \"{}\"\n{}",
        secrets.display(),
        cert.display(),
        home.place.config()
    ));
    let (said, talk) = log_in(&home);
    assert!(talk.contains(&format!("tokens        https://localhost:{}/token", peer.port)), "{talk}");
    assert_eq!(
        (&said["name"], &said["login"]["scopes"], &said["login"]["renews"]),
        (&json!("far"), &json!(["read"]), &json!(true))
    );
    assert_eq!((peer.line(), peer.line()), ("register".to_owned(), "authorization_code".to_owned()));
    let listed = home.place.run(&["mcp", "list", "--json"]).json(0);
    assert_eq!(listed["servers"][0]["login"]["state"], "good");
    let kept = home.place.run(&["secrets", "list", "--json"]).json(0);
    assert_eq!((&kept["secrets"][0]["name"], &kept["secrets"][0]["state"]), (&json!("mcp.far"), &json!("kept")));
    home.place.run(&["mcp", "pin", "far"]).expect(0);
    // The server gives back what it was sent, and what renews it.
    let said = call(&home);
    assert!(said.starts_with("[secret:mcp.far] and [secret:mcp.far], [secret:mcp.far.token#"), "{said}");
    let door = Door::serve(&home.place, &[]);
    call(&home);
    let metrics = door.get("/metrics").text;
    for line in ["backstay_redactions_total{name=\"mcp.far\"} 2", "backstay_redactions_total{name=\"mcp.far.token\"} 1"]
    {
        assert!(metrics.lines().any(|found| found == line), "{line}\n{metrics}");
    }
    door.stop();
    let connected = "SELECT DISTINCT data ->> '$.connections[0].secret' FROM v_records WHERE kind = 'connected'";
    assert_eq!(rows(&home.place, connected), json!([["mcp.far"]]));
    assert!(home.place.run(&["doctor"]).stdout.contains("ok      login"));
    // Who has frozen a home may want just that.
    home.place.run(&["freeze"]).expect(0);
    assert!(home.place.run(&["mcp", "login", "far", "--yes"]).expect(3).stderr.contains("the home is frozen"));
    let said = home.place.run(&["mcp", "logout", "far", "--json"]).json(0);
    home.place.run(&["unfreeze"]).expect(0);
    assert_eq!((&said["revoked"], &said["why"]), (&json!(true), &Value::Null));
    assert_eq!(
        until(&mut peer, "revoke access_token"),
        ["call", "call", "revoke refresh_token", "revoke access_token"]
    );
    assert!(call(&home).contains("it wants to know who asks; `backstay mcp login far`"));
    home.place.run(&["mcp", "logout", "far"]).expect(5);
    let changes = "SELECT kind FROM v_records WHERE kind LIKE 'secret%' ORDER BY seq";
    assert_eq!(rows(&home.place, changes), json!([["secret_kept"], ["secret_removed"]]));
    assert!(nowhere_in(&home.place.home()) > 3);
}

/// What was given in exchange for what a server took is lost with the process; a person is told.
#[test]
fn a_runtime_that_is_killed_while_it_renews_asks_for_a_login_and_another_goes_on_from_it() {
    let mut peer = guarded(&[]);
    let home = guarded_home(&peer, "class = \"write\"\n");
    log_in(&home);
    home.place.run(&["mcp", "pin", "far"]).expect(0);
    peer.tell("life 0");
    let (said, _) = log_in(&home);
    assert_eq!(said["login"]["renews"], true);
    // Each request of it with the token that came for it.
    let served = home.place.serve();
    let said = call(&home);
    assert!(said.starts_with("[secret:mcp.far]"), "{said}");
    let asked = until(&mut peer, "call");
    let renewed: Vec<&String> = asked.iter().filter(|line| line.starts_with("refresh_token")).collect();
    assert!(renewed.len() > 2 && renewed.windows(2).all(|two| two[0] != two[1]), "{asked:?}");
    assert_eq!(served.stop(), 0);
    let served = home.place.serve();
    peer.tell("hold");
    let mut asking =
        home.place.command(&["run", "/call far__who {}"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until(&mut peer, "held");
    served.kill();
    let _ = asking.wait();
    peer.tell("release");
    peer.tell("life 3600");
    let served = home.place.serve();
    let said = call(&home);
    assert!(
        said.contains("has ended") && said.contains("invalid_grant") && said.contains("`backstay mcp login far`"),
        "{said}"
    );
    // The one that was cut off, and not this one.
    assert_eq!(home.place.run(&["doubts"]).stdout.matches("far__who").count(), 1);
    let doctor = home.place.run(&["doctor"]).stdout.clone();
    assert!(doctor.contains("bad     login") && doctor.contains("backstay mcp login far"), "{doctor}");
    assert!(home.place.run(&["mcp", "list"]).stdout.contains("ended 20"));
    log_in(&home);
    assert!(call(&home).starts_with("[secret:mcp.far]"));
    assert_eq!(served.stop(), 0);
}

/// A server that takes a token no more is asked once more with another, and has done nothing by the first.
#[test]
fn a_token_that_is_taken_no_more_is_renewed_once_and_a_call_without_one_is_made_by_nobody() {
    let mut peer = guarded(&[]);
    let home = guarded_home(&peer, "class = \"write\"\n");
    log_in(&home);
    home.place.run(&["mcp", "pin", "far"]).expect(0);
    let served = home.place.serve();
    let first = home.place.run(&["run", "/call far__who {}", "--json"]);
    let session = first.json(0)["session"].as_str().unwrap().to_owned();
    let again = |code| home.place.run(&["run", "--session", &session, "/call far__who {}"]).expect(code).stdout.clone();
    until(&mut peer, "call");
    peer.tell("forget");
    let mark = |said: &Value| said.to_string().split("[secret:mcp.far.token#").nth(1).unwrap()[..4].to_owned();
    let before = mark(&home.latest());
    again(0);
    assert_eq!(until(&mut peer, "call"), ["refresh_token Canary-Refresh-1-0123456789", "call"]);
    // What came is looked for at once, as another value, under the version that the journal knows of.
    let said = home.latest();
    assert!(!said.to_string().contains("Canary-"), "{said}");
    assert_ne!(mark(&said), before);
    let kept = home.place.run(&["secrets", "list", "--json"]).json(0);
    assert_eq!((&kept["secrets"][0]["name"], &kept["secrets"][0]["state"]), (&json!("mcp.far"), &json!("kept")));
    // Nothing renews it any more: in the middle of a conversation, of a call that changes something.
    peer.tell("forget");
    peer.tell("spoil");
    again(0);
    let said = home.latest().to_string();
    assert!(said.contains("was not called") && said.contains("`backstay mcp login far`"), "{said}");
    assert!(!home.place.run(&["doubts"]).stdout.contains("far__who"));
    assert_eq!(served.stop(), 0);
}

/// The command goes by the config on disk, the process by the one in force: nobody agreed to what comes of both.
#[test]
fn a_code_for_a_server_that_is_not_the_one_in_force_is_not_redeemed() {
    let (before, mut after) = (guarded(&[]), guarded(&[]));
    let home = guarded_home(&before, TERMS);
    let served = home.place.serve();
    home.place.write_config(&home.place.config().replace(&before.url("/mcp"), &after.url("/mcp")));
    let login = Login::begin(&home, &[]);
    assert_eq!(after.line(), "register");
    browse(&login.open, true);
    let error = login.fails(3);
    let next = json!("backstay reload && backstay mcp login far");
    assert_eq!((&error["code"], &error["next"]), (&json!("stale"), &next), "{error}");
    assert_eq!(home.place.run(&["secrets", "list", "--json"]).json(0)["secrets"], json!([]));
    home.place.run(&["reload"]).expect(0);
    let (said, talk) = log_in(&home);
    assert_eq!(said["login"]["state"], "good", "{talk}");
    assert_eq!((after.line(), after.line()), ("register".to_owned(), "authorization_code".to_owned()));
    assert_eq!(served.stop(), 0);
}

/// The disk is full, or fails: that is no mistake of whoever logs in.
#[test]
fn a_login_that_cannot_be_written_says_so_and_the_next_one_is_kept() {
    let peer = guarded(&[]);
    let home = guarded_home(&peer, TERMS);
    // A directory in the way: also root cannot write there.
    let in_the_way = home.place.home().join("secrets.sealed.new");
    std::fs::create_dir_all(in_the_way.join("x")).unwrap();
    let login = Login::begin(&home, &[]);
    browse(&login.open, true);
    let error = login.fails(1);
    assert_eq!((&error["code"], &error["next"]), (&json!("secrets_failed"), &json!("backstay doctor")), "{error}");
    let listed = home.place.run(&["secrets", "list", "--json"]).json(0);
    assert_eq!(listed["secrets"][0]["state"], "missing");
    std::fs::remove_dir_all(in_the_way).unwrap();
    assert_eq!(log_in(&home).0["login"]["state"], "good");
}

/// A page that knows where a login waits puts a code of its own into it.
#[test]
fn a_code_that_is_not_of_this_login_is_not_redeemed() {
    let mut peer = guarded(&[]);
    let home = guarded_home(&peer, TERMS);
    let login = Login::begin(&home, &[]);
    assert_eq!(peer.line(), "register");
    let back = login.back();
    let (to, state) = (&login.redirect, back.split("state=").nth(1).unwrap().split('&').next().unwrap());
    for (query, answer) in [
        ("code=Canary-Code-0123456789&state=theirs".to_owned(), "not of the login"),
        ("code=Canary-Code-0123456789".to_owned(), "not of the login"),
        (format!("code=Canary-Code-0123456789&state={state}"), "not of the login"),
        (format!("code=Canary-Code-0123456789&state={state}&iss=https%3A%2F%2Fevil.test"), "not of the login"),
    ] {
        let said = browse(&format!("{to}?{query}"), true);
        assert!(said.contains(answer), "{query}: {said}");
    }
    assert!(browse(&format!("{}?{back}", to.replace("/callback", "/other")), true).contains("nothing here"));
    assert!(browse(&back, true).contains("You can close"));
    let (said, talk) = login.end();
    assert_eq!(said["login"]["state"], "good", "{talk}");
    assert!(talk.contains("what came back is not taken: its `state` is not of this login"), "{talk}");
    assert!(talk.contains("not taken: it is of another authorization server"), "{talk}");
    assert_eq!(peer.line(), "authorization_code");
}

#[test]
fn a_browser_elsewhere_is_pasted_from_one_that_does_not_come_is_not_waited_for_and_hosts_are_agreed_to() {
    let mut peer = guarded(&[]);
    let home = guarded_home(&peer, TERMS);
    // Nobody agrees, so nobody is asked for anything.
    let refused = home.place.run(&["mcp", "login", "far"]).expect(2).stderr.clone();
    assert!(
        refused.contains("nobody is there who could agree") && refused.contains("backstay mcp login far --yes"),
        "{refused}"
    );
    let mut terminal = Terminal::open(&home.place, &["mcp", "login", "far"], 200);
    let shown = terminal.wait_for("Go on? [y/N] ");
    assert!(shown.contains(&format!("tokens        {}", peer.url("/token"))), "{shown}");
    terminal.key_in("n\r");
    assert_eq!(terminal.end().1, 3);
    let mut login = Login::begin(&home, &["--paste"]);
    assert_eq!(peer.line(), "register", "the first that it was asked");
    let back = login.back();
    let mut stdin = login.child.stdin.take().unwrap();
    writeln!(stdin, "{}", back.replace("state=", "state=x")).unwrap();
    writeln!(stdin, "{back}").unwrap();
    assert_eq!(login.end().0["login"]["state"], "good");
    let mut login = Login::begin(&home, &["--paste"]);
    drop(login.child.stdin.take());
    assert!(login.end().1.contains("no address was pasted"));
    let login = Login::begin(&home, &["--wait", "1s"]);
    let (said, talk) = login.end();
    assert!(said.is_null() && talk.contains("nobody came back from the browser in time"), "{talk}");
    let login = Login::begin(&home, &[]);
    let state = login.open.split("state=").nth(1).unwrap().split('&').next().unwrap();
    let iss = format!("http%3A%2F%2F127.0.0.1%3A{}", peer.port);
    browse(&format!("{}?error=access_denied&state={state}&iss={iss}", login.redirect), true);
    assert!(login.end().1.contains("the authorization server says \\\"access_denied"));
    // What cannot be kept is not asked for.
    home.place.write_config(&home.place.config().replace("secrets_key", "#secrets_key"));
    let said = home.place.run(&["mcp", "login", "far", "--yes"]);
    assert!(!said.stderr.contains("Open this address") && said.stderr.contains("secrets_key"), "{}", said.stderr);
}
