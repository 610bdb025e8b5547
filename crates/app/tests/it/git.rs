//! Repositories elsewhere, through the real binary and git's own server: what comes from them, what goes there, and
//! what asks. No git of the agent's side has a network or a credential.
mod hidden;
mod links;

use std::io::Read as _;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::network::{Echo, rows};
use crate::sandboxed::Sandboxed;
use crate::terminal::Terminal;
use crate::tls::certified;
use crate::vault;

/// What the server wants to hear: `agent:Canary-Value-0123456789`.
const BASIC: &str = "YWdlbnQ6Q2FuYXJ5LVZhbHVlLTAxMjM0NTY3ODk=";

/// `git http-backend` behind TLS, for whoever knows the password. It keeps the first lines of requests in `heard`.
const SERVER: &str = r#"
import hashlib, http.server, os, ssl, subprocess, sys, threading
class Git(http.server.BaseHTTPRequestHandler):
    def answer(self):
        with open('heard', 'a') as heard:
            heard.write('%s %s %s\n' % (self.command, self.path, self.headers.get('authorization', '-')))
        path, _, query = self.path.partition('?')
        body = self.rfile.read(int(self.headers.get('content-length') or 0))
        what = path.split('/')[2]
        if what == 'moved':
            self.send_response(302); self.send_header('location', 'https://evil.test/%1b[31m'); self.end_headers(); return
        if os.path.exists('hang') and self.command == 'POST' and path.endswith('/git-receive-pack'):
            threading.Event().wait()
        if what in EVIL:
            self.evil(what, path, body); return
        if self.headers.get('authorization') != 'Basic ' + BASIC:
            self.send_response(401); self.end_headers(); return
        env = {'PATH': os.environ['PATH'], 'GIT_PROJECT_ROOT': os.getcwd(), 'GIT_HTTP_EXPORT_ALL': '1',
               'REMOTE_USER': 'agent', 'REQUEST_METHOD': self.command, 'PATH_INFO': path, 'QUERY_STRING': query,
               'CONTENT_TYPE': self.headers.get('content-type') or '', 'CONTENT_LENGTH': str(len(body)),
               'GIT_PROTOCOL': self.headers.get('git-protocol') or '', 'GIT_CONFIG_NOSYSTEM': '1', 'HOME': '/nowhere',
               'GIT_CONFIG_COUNT': '1', 'GIT_CONFIG_KEY_0': 'safe.directory', 'GIT_CONFIG_VALUE_0': '*'}
        said = subprocess.run(['git', 'http-backend'], input=body, env=env, stdout=subprocess.PIPE).stdout
        if os.path.exists('lose') and path.endswith('/git-receive-pack'):
            self.connection.close(); return
        head, _, rest = said.partition(b'\r\n\r\n')
        lines = [line.split(': ', 1) for line in head.decode().split('\r\n')]
        status = [int(value.split(' ')[0]) for name, value in lines if name == 'Status']
        self.send_response(status[0] if status else 200)
        for name, value in lines:
            if name != 'Status': self.send_header(name, value)
        self.send_header('content-length', str(len(rest)))
        self.end_headers()
        self.wfile.write(rest)
    def evil(self, what, path, body):
        kind = 'advertisement' if path.endswith('/info/refs') else 'result'
        greets = line(b'version 2\n') + b'0000' if kind == 'advertisement' else b''
        refs = line(ID.encode() + b' refs/heads/main\n') + b'0000' if b'ls-refs' in body else b''
        pack = greets or refs or line(b'packfile\n')
        said = {
            'garbled': b'zzzz', 'short': b'00ff', 'older': line(b'version 1\n') + b'0000', 'endless': b'0000' * (1 << 22),
            'errs': greets + line(b'ERR \x1b]0;owned\x07'),
            'names': greets or line(b'zz' * 20 + b' refs/heads/main\n') + b'0000',
            'empty': pack + line(b'\x01' + EMPTY) + b'0000' if pack[4:5] == b'p' else pack,
            'bomb': pack + line(b'\x01PACK') + b'0000' if pack[4:5] == b'p' else pack,
            'sideband': pack + line(b'\x03no \x1b[31m\n') + b'0000' if pack[4:5] == b'p' else pack,
        }[what]
        self.send_response(200)
        self.send_header('content-type', 'application/x-git-upload-pack-' + kind)
        self.send_header('content-length', str(len(said)))
        self.end_headers()
        self.wfile.write(said)
    do_GET = do_POST = answer
def line(text): return b'%04x' % (len(text) + 4) + text
EVIL = ('garbled', 'short', 'older', 'endless', 'errs', 'names', 'empty', 'bomb', 'sideband')
ID = '1' * 40
EMPTY = b'PACK\0\0\0\2\0\0\0\0' + hashlib.sha1(b'PACK\0\0\0\2\0\0\0\0').digest()
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Git)
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain(sys.argv[1], sys.argv[2])
server.socket = tls.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
"#;

/// Runs git where no configuration but the repository's own is, and says what it said.
fn git(directory: &Path, arguments: &[&str]) -> String {
    let mut git = Command::new("git");
    git.args(["-c", "user.name=a", "-c", "user.email=a@a.test", "-c", "init.defaultBranch=main"]).args(arguments);
    git.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null").current_dir(directory);
    git.env("GIT_CONFIG_COUNT", "1").env("GIT_CONFIG_KEY_0", "safe.directory").env("GIT_CONFIG_VALUE_0", "*");
    let said = git.output().unwrap();
    assert!(said.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&said.stderr));
    String::from_utf8(said.stdout).unwrap().trim().to_owned()
}

/// A home whose agent may speak with one repository of the test's, and has an empty one of its own.
struct Forge {
    home: Sandboxed,
    served: tempfile::TempDir,
    server: Echo,
}

impl Forge {
    /// `grant` stands beside the URL in its grant; `rules` are further tables of the agent's.
    fn new(grant: &str, rules: &str) -> Self {
        let home = Sandboxed::home("[\"git\"]", "");
        let served = tempfile::tempdir().unwrap();
        let at = |name: &str| served.path().join(name);
        git(served.path(), &["init", "-q", "work"]);
        std::fs::write(at("work/a.txt"), "the anchor is green").unwrap();
        git(&at("work"), &["add", "a.txt"]);
        git(&at("work"), &["commit", "-q", "-m", "one"]);
        std::fs::create_dir(at("acme")).unwrap();
        git(served.path(), &["clone", "-q", "--bare", "work", "acme/app.git"]);
        git(&at("acme/app.git"), &["config", "http.receivepack", "true"]);
        let place = &home.place;
        let (cert, key) =
            certified(place, "localhost", &["subjectAltName=DNS:localhost", "basicConstraints=critical,CA:FALSE"]);
        let server = SERVER.replace("BASIC", &format!("'{BASIC}'"));
        let server = Echo::running(&server, &cert, &key, served.path());
        let port = server.port;
        let rules = rules.replace("PORT", &port.to_string());
        let granted = format!(
            "programs = [\"git\"]\nsecrets = [\"forge\"]\n\
             git = [{{ url = \"https://localhost:{port}/acme\", allow_private = [\"127.0.0.1\", \"::1\"]{grant} }}]"
        );
        let config = place.config().replace("programs = [\"git\"]", &granted);
        let config = config.replace("\"run_command\"", "\"git_fetch\", \"git_push\", \"run_command\"");
        place.write_config(&format!(
            "[home]\nsecrets_key = \"{}\"\n{config}\n[network]\nca = \"{}\"\n[secrets.forge]\nbind = {{ host = \"localhost\", \
             port = {port}, method = [\"GET\", \"POST\"], path_prefix = \"/acme/app.git\", \
             query = \"service\", tools = [\"git_fetch\", \"git_push\"], header = \"authorization\", scheme = \"Basic\" }}\n{rules}\n",
            vault::key(place).display(),
            cert.display()
        ));
        place.pipe(&["secrets", "set", "forge"], BASIC).expect(0);
        let forge = Self { home, served, server };
        git(&forge.home.workspace(), &["init", "-q"]);
        forge.owned();
        forge
    }

    fn url(&self) -> String {
        format!("https://localhost:{}/acme/app.git", self.server.port)
    }

    /// Beneath which its refs are kept.
    fn kept(&self) -> String {
        let digest = Command::new("sh").args(["-c", "printf %s \"$0\" | sha256sum", &self.repo()]).output().unwrap();
        let digest = String::from_utf8(digest.stdout).unwrap();
        format!("refs/backstay/localhost_{}/acme/app+{}", self.server.port, &digest[..8])
    }

    /// As rules and results name it.
    fn repo(&self) -> String {
        format!("localhost:{}/acme/app", self.server.port)
    }

    fn owned(&self) {
        self.home.own(&self.home.workspace());
    }

    fn bare(&self) -> std::path::PathBuf {
        self.served.path().join("acme/app.git")
    }

    fn heard(&self) -> Vec<String> {
        let heard = std::fs::read_to_string(self.served.path().join("heard")).unwrap_or_default();
        heard.lines().map(str::to_owned).collect()
    }

    /// What the model is told at once, or what waits for a person.
    fn push(&self, arguments: &Value) -> Value {
        let place = &self.home.place;
        place.run(&["run", &format!("/call git_push {arguments}")]);
        let waits = place.run(&["approvals", "--json"]).json(0)["approvals"].clone();
        let of_this = |waits: &&Value| waits["args"] == *arguments;
        let found = waits.as_array().unwrap().iter().find(of_this);
        found.cloned().unwrap_or_else(|| self.home.latest())
    }

    /// The same with a yes.
    fn pushed(&self, arguments: &Value) -> Value {
        let waits = self.push(arguments);
        self.home.place.run(&["approve", waits["id"].as_str().unwrap_or_else(|| panic!("{waits}"))]).expect(0);
        self.home.latest()
    }

    /// A commit of the workspace, on a branch of its own.
    fn commits(&self, branch: &str, from: &str, files: &[(&str, &str)]) -> String {
        let workspace = self.home.workspace();
        git(&workspace, &["checkout", "-q", "-B", branch, from]);
        for (name, text) in files {
            let path = workspace.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
            git(&workspace, &["add", "-f", name]);
        }
        git(&workspace, &["commit", "-q", "--allow-empty", "-m", &format!("on {branch}")]);
        self.owned();
        git(&workspace, &["rev-parse", "HEAD"])
    }

    fn stands(&self, name: &str) -> Option<String> {
        let all = git(&self.bare(), &["for-each-ref", "--format=%(objectname) %(refname)"]);
        all.lines().find_map(|line| line.strip_suffix(name)?.strip_suffix(' ').map(str::to_owned))
    }

    fn fetch(&self, arguments: &Value) -> Value {
        self.home.place.run(&["run", &format!("/call git_fetch {arguments}")]).expect(0);
        self.home.latest()
    }
}

#[test]
fn refs_of_a_granted_repository_come_into_one_of_the_workspace() {
    let t = Forge::new("", "");
    let one = git(&t.bare(), &["rev-parse", "main"]);
    let kept = t.kept();
    let said = t.fetch(&json!({ "url": t.url() }));
    assert_eq!(said["refs"], json!([{ "ref": "HEAD", "id": one, "as": format!("{kept}/HEAD") }]), "{said}");
    let workspace = t.home.workspace();
    assert_eq!(git(&workspace, &["show", &format!("{kept}/HEAD:a.txt")]), "the anchor is green");
    // What came since, and nothing that is there already.
    let work = t.served.path().join("work");
    std::fs::write(work.join("b.txt"), "b").unwrap();
    git(&work, &["add", "b.txt"]);
    git(&work, &["commit", "-q", "-m", "two"]);
    git(&work, &["push", "-q", "../acme/app.git", "main", "main:refs/heads/feature/x"]);
    let two = git(&t.bare(), &["rev-parse", "main"]);
    let said = t.fetch(&json!({ "url": t.url(), "refs": ["HEAD", "feature/x"] }));
    let named = |name: &str, id: &str, at: &str| json!({ "ref": name, "id": id, "as": format!("{kept}/{at}") });
    let both = json!([named("HEAD", &two, "HEAD"), named("refs/heads/feature/x", &two, "heads/feature/x")]);
    assert_eq!(said["refs"], both, "{said}");
    assert!(said["bytes"].as_u64().unwrap() < 600, "{said}");
    assert_eq!(git(&workspace, &["log", "--format=%s", &format!("{kept}/heads/feature/x")]), "two\none");
    git(&workspace, &["fsck", "--strict", "--no-dangling"]);
    let said = t.fetch(&json!({ "url": t.url(), "refs": ["HEAD", "feature/x"] }));
    assert_eq!(said["bytes"], 0, "{said}");
    // One secret, where it is bound, and told to nobody.
    assert!(t.heard().iter().all(|line| line.ends_with(&format!("Basic {BASIC}"))), "{:?}", t.heard());
    let judged = "SELECT data ->> '$.facts.class', data ->> '$.facts.git.repo', data ->> '$.facts.destination.path' \
                  FROM v_records WHERE kind = 'judged' LIMIT 1";
    assert_eq!(rows(&t.home.place, judged)[0], json!(["write", t.repo(), "/acme/app.git"]));
    let reached = "SELECT json_array_length(data ->> '$.connections'), data ->> '$.connections[0].secret' \
                   FROM v_records WHERE kind = 'connected' ORDER BY at";
    assert_eq!(rows(&t.home.place, reached), json!([[3, "forge"], [3, "forge"], [2, "forge"]]));
}

#[test]
fn what_is_not_granted_not_there_or_somewhere_else_moves_nothing() {
    let t = Forge::new("", "");
    let refused = |arguments: Value, why: &str| {
        let said = t.fetch(&arguments);
        assert!(said.as_str().unwrap_or_else(|| panic!("{said}")).contains(why), "{arguments}: {said}");
    };
    let port = t.server.port;
    refused(json!({ "url": format!("https://localhost:{port}/other/app.git") }), "is not granted; nothing was sent");
    refused(json!({ "url": format!("http://localhost:{port}/acme2/app.git") }), "is not granted; nothing was sent");
    refused(json!({ "url": format!("{}?x=1", t.url()) }), "no query");
    refused(json!({ "url": t.url(), "refs": ["--upload-pack=x"] }), "no name of a ref");
    let many: Vec<String> = (0..17).map(|number| format!("b{number}")).collect();
    refused(json!({ "url": t.url(), "refs": many }), "`refs` names more than 16");
    refused(json!({ "url": t.url(), "repo": "elsewhere" }), "no directory `.git`");
    assert_eq!(t.heard(), Vec::<String>::new());
    refused(json!({ "url": t.url(), "refs": ["main2"] }), "it has no ref `refs/heads/main2`; no ref was moved");
    refused(json!({ "url": format!("https://localhost:{port}/acme/none.git") }), "it answers 401");
    assert!(!t.home.workspace().join(".git/refs/backstay").exists());
}

/// Whatever a server says, nothing comes of it but words, and those steer no terminal.
#[test]
fn a_hostile_server_gets_nothing_into_the_repository() {
    let t = Forge::new("", "");
    for (what, why) in [
        ("moved", "it leads to `https://evil.test/"),
        ("garbled", "none of git's protocol"),
        ("short", "none of git's protocol"),
        ("older", "version 2"),
        ("endless", "it says more than 8388608 bytes"),
        ("errs", "it says: "),
        ("names", "it has no ref"),
        ("empty", "git says: "),
        ("bomb", "git says: "),
        ("sideband", "it says: no "),
    ] {
        let url = format!("https://localhost:{}/acme/{what}", t.server.port);
        let said = t.fetch(&json!({ "url": url, "refs": ["main"] }));
        let text = said.as_str().unwrap_or_else(|| panic!("{what}: {said}"));
        assert!(text.contains(why) && text.contains("no ref was moved"), "{what}: {text}");
        assert!(!text.contains('\u{1b}') && !text.contains('\u{7}'), "{what}: {text:?}");
    }
    assert!(!t.home.workspace().join(".git/refs/backstay").exists());
    let left = std::fs::read_dir(t.home.workspace().join(".git/objects/pack")).unwrap();
    let left: Vec<_> = left.flatten().filter(|file| file.path().extension().is_some()).collect();
    assert!(left.len() <= 3, "an empty pack at most: {left:?}");
    assert!(t.heard().iter().all(|line| line.ends_with(" -")), "the secret is bound to another: {:?}", t.heard());
}

/// Whatever the repository's own configuration says, no git reads it.
#[test]
fn nothing_in_the_repository_decides_how_or_where_it_is_fetched() {
    let t = Forge::new(PUSHES, "");
    let workspace = t.home.workspace();
    let canary = workspace.join("canary");
    let touch = format!("touch {}", canary.display());
    for (key, value) in [
        ("core.sshCommand", touch.as_str()),
        ("core.fsmonitor", &touch),
        ("core.gitProxy", &touch),
        ("core.alternateRefsCommand", &touch),
        ("credential.helper", &format!("!{touch}")),
        ("uploadpack.packObjectsHook", &touch),
        ("url.https://evil.test/.insteadOf", "https://localhost"),
        ("http.proxy", "http://evil.test"),
        ("http.sslVerify", "false"),
        ("extensions.partialClone", "evil"),
        ("remote.evil.promisor", "true"),
        ("remote.evil.url", &format!("ext::sh -c {touch}")),
        ("transfer.fsckObjects", "true"),
        ("include.path", "/nowhere/config"),
        ("push.recurseSubmodules", "on-demand"),
        ("remote.pushDefault", "evil"),
        ("filter.evil.clean", &touch),
        ("pack.packSizeLimit", "1"),
    ] {
        git(&workspace, &["config", key, value]);
    }
    for hook in ["post-checkout", "reference-transaction", "post-index-change", "pre-push"] {
        let path = workspace.join(".git/hooks").join(hook);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, format!("#!/bin/sh\n{touch}\n")).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    t.owned();
    let said = t.fetch(&json!({ "url": t.url() }));
    let one = said["refs"][0]["id"].as_str().unwrap_or_else(|| panic!("{said}"));
    assert_eq!(one, git(&t.bare(), &["rev-parse", "main"]));
    let tree = git(&t.bare(), &["rev-parse", "main^{tree}"]);
    let two = git(&workspace, &["commit-tree", "-p", one, "-m", "two", &tree]);
    t.owned();
    let said = t.pushed(&json!({ "url": t.url(), "ref": "agent/x", "from": two, "base": one }));
    assert_eq!(t.stands("refs/heads/agent/x"), Some(two), "{said}");
    assert!(!canary.exists());
}

const PUSHES: &str = ", push = [\"refs/heads/agent/*\"], audience = \"home\"";

/// With what is there in the workspace, and where it stands.
fn pushing(rules: &str) -> (Forge, String) {
    let t = Forge::new(PUSHES, rules);
    let said = t.fetch(&json!({ "url": t.url() }));
    let one = said["refs"][0]["id"].as_str().unwrap_or_else(|| panic!("{said}")).to_owned();
    (t, one)
}

#[test]
fn a_branch_is_pushed_with_a_yes_to_exactly_what_is_sent() {
    let (t, one) = pushing("");
    let two = t.commits("agent/x", &one, &[("src/b.txt", "b")]);
    let call = json!({ "url": t.url(), "ref": "agent/x", "base": one });
    let waits = t.push(&call);
    let judged = json!({
        "repo": t.repo(), "refs": ["refs/heads/agent/x"],
        "push": { "old": null, "new": two, "force": false, "changed": ["src/b.txt"], "acts": false },
    });
    assert_eq!(waits["facts"]["git"], judged, "{waits}");
    let shown = t.home.place.run(&["approvals"]).expect(0).stdout.clone();
    assert!(shown.contains(&format!("moves refs/heads/agent/x of {} from nothing", t.repo())), "{shown}");
    assert!(shown.contains("sends ") && shown.contains(" bytes there, before they are packed"), "{shown}");
    assert!(shown.contains(&format!(" to {two}")) && shown.contains("changes 1 paths there: \"src/b.txt\""), "{shown}");
    assert_eq!(t.stands("refs/heads/agent/x"), None);
    // A yes to one commit is none to another.
    let three = t.commits("agent/x", &two, &[("src/c.txt", "c")]);
    t.home.place.run(&["approve", waits["id"].as_str().unwrap()]);
    assert_eq!(t.stands("refs/heads/agent/x"), None);
    let said = t.pushed(&json!({ "url": t.url(), "ref": "agent/x", "base": one, "from": two }));
    assert_eq!(
        (said["new"].as_str(), t.stands("refs/heads/agent/x")),
        (Some(two.as_str()), Some(two.clone())),
        "{said}"
    );
    let said = t.pushed(&json!({ "url": t.url(), "ref": "refs/heads/agent/x", "old": two }));
    assert_eq!((said["old"].as_str(), said["new"].as_str()), (Some(two.as_str()), Some(three.as_str())), "{said}");
    assert_eq!(git(&t.bare(), &["show", "agent/x:src/c.txt"]), "c");
    git(&t.bare(), &["fsck", "--strict"]);
    let reached = "SELECT json_array_length(data ->> '$.connections'), data ->> '$.connections[1].secret' \
                   FROM v_records WHERE kind = 'connected' ORDER BY at DESC LIMIT 1";
    assert_eq!(rows(&t.home.place, reached), json!([[2, "forge"]]));
}

#[test]
fn what_is_not_granted_or_stands_elsewhere_is_not_pushed() {
    let (t, one) = pushing("");
    let two = t.commits("agent/x", &one, &[("b.txt", "b")]);
    let heard = t.heard().len();
    let refused = |call: Value, why: &str| {
        let said = t.push(&call);
        assert!(said.as_str().unwrap_or_else(|| panic!("{said}")).contains(why), "{call}: {said}");
    };
    refused(json!({ "url": t.url(), "ref": "main", "from": two, "old": one }), "push = [\"refs/heads/main\"]");
    refused(json!({ "url": t.url(), "ref": "agent/x", "from": "none" }), "no branch, ref or commit");
    refused(json!({ "url": t.url(), "ref": "agent/x", "old": "main" }), "`old` is no id");
    refused(json!({ "url": t.url(), "ref": "agent/x", "old": "1".repeat(40) }), "git_fetch brings 1111");
    // More than is held in memory.
    let workspace = t.home.workspace();
    let mut noise = std::fs::File::open("/dev/urandom").unwrap().take((64 << 20) + 1);
    std::io::copy(&mut noise, &mut std::fs::File::create(workspace.join("noise")).unwrap()).unwrap();
    git(&workspace, &["config", "core.compression", "0"]);
    let large = t.commits("large", &one, &[]);
    git(&workspace, &["add", "noise"]);
    let tree = git(&workspace, &["write-tree"]);
    let large = git(&workspace, &["commit-tree", "-p", &large, "-m", "large", &tree]);
    t.owned();
    refused(json!({ "url": t.url(), "ref": "agent/x", "from": large, "base": one }), "more than 67108864 bytes");
    assert_eq!(t.heard().len(), heard, "nothing was asked");
    // Somebody else was there first, after the judgement or before.
    git(&t.bare(), &["update-ref", "refs/heads/agent/x", &one]);
    let said = t.pushed(&json!({ "url": t.url(), "ref": "agent/x", "base": one }));
    assert!(said.as_str().unwrap().contains(&format!("stands at {one} there")), "{said}");
    let said = t.pushed(&json!({ "url": t.url(), "ref": "agent/y", "from": two, "base": two }));
    assert!(said.as_str().unwrap().contains("no branch and no tag stands at"), "{said}");
    let said = t.pushed(&json!({ "url": t.url(), "ref": "agent/y", "from": two, "old": one }));
    assert!(said.as_str().unwrap().contains("is not there"), "{said}");
    assert_eq!((t.stands("refs/heads/agent/x"), t.stands("refs/heads/agent/y")), (Some(one), None));
    // What its server refuses is a no, and told.
    let hook = t.bare().join("hooks/update");
    std::fs::write(&hook, "#!/bin/sh\nexit 1\n").unwrap();
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let said = t.pushed(&json!({ "url": t.url(), "ref": "agent/z", "from": two }));
    assert!(said.as_str().unwrap().contains("it says: refs/heads/agent/z hook declined"), "{said}");
    assert_eq!(t.stands("refs/heads/agent/z"), None);
}

#[test]
fn commits_are_taken_away_by_force_alone_and_rules_see_it() {
    let deny = "[[agents.main.rules]]\nname = \"no force there\"\nverdict = \"deny\"\n\
                match = { ref = \"refs/heads/agent/kept\", force = true }\n";
    let (t, one) = pushing(deny);
    let two = t.commits("agent/x", &one, &[("b.txt", "b")]);
    let other = t.commits("other", &one, &[("c.txt", "c")]);
    for name in ["agent/x", "agent/kept"] {
        t.pushed(&json!({ "url": t.url(), "ref": name, "from": two, "base": one }));
    }
    let call = |name: &str, from: &str, more: Value| {
        let mut call = json!({ "url": t.url(), "ref": name, "from": from, "old": two });
        call.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        call
    };
    let said = t.push(&call("agent/x", &other, json!({})));
    assert!(said.as_str().unwrap().contains("merge them first, or `force`"), "{said}");
    assert_eq!(t.push(&call("agent/kept", &other, json!({ "force": true })))["digest"], Value::Null, "denied");
    let waits = t.push(&call("agent/x", &other, json!({ "force": true })));
    assert_eq!(waits["facts"]["git"]["push"]["force"], true, "{waits}");
    assert_eq!(waits["facts"]["reversible"], false, "{waits}");
    assert_eq!(waits["facts"]["git"]["push"]["changed"], json!(["b.txt", "c.txt"]), "{waits}");
    t.home.place.run(&["approve", waits["id"].as_str().unwrap()]).expect(0);
    assert_eq!(t.stands("refs/heads/agent/x"), Some(other.clone()));
    // Back to where it was: there is nothing that the other side does not have.
    let back = json!({ "url": t.url(), "ref": "agent/x", "from": one, "old": other, "force": true });
    t.pushed(&back);
    assert_eq!((t.stands("refs/heads/agent/x"), t.stands("refs/heads/agent/kept")), (Some(one), Some(two)));
}

#[test]
fn no_rule_lets_a_branch_pass_that_nobody_named_or_that_others_act_by() {
    let allow = "[[agents.main.rules]]\nname = \"push agent branches\"\nverdict = \"allow\"\n\
                 match = { tool = \"git_push\", repo = \"localhost:PORT/acme/app\", ref = { glob = \"refs/heads/agent/*\" }, force = false }\n\
                 unless = { changed = { intersects = [\"docs/**\"] } }\n";
    let (t, one) = pushing(allow);
    let call = |name: &str| json!({ "url": t.url(), "ref": name, "base": one });
    let typed = |name: &str| {
        let mut terminal = Terminal::open(&t.home.place, &["chat"], 300);
        terminal.wait_for("> ");
        terminal.key_in(&format!("/call git_push {}\n", call(name)));
        terminal
    };

    let two = t.commits("agent/x", &one, &[("src/b.txt", "b")]);
    let mut terminal = typed("agent/x");
    // The session has seen nothing, and nobody has said that what lies in the directory be pushed there.
    terminal.wait_for("or the directory that it pushes from");
    terminal.wait_for("Allow this?");
    assert_eq!(t.stands("refs/heads/agent/x"), None);
    terminal.key_in("y\n");
    terminal.wait_for("\"new\":");
    terminal.wait_for("> ");
    // What came back is untrusted, and nobody looks into commits.
    t.commits("agent/y", &one, &[("src/c.txt", "c")]);
    terminal.key_in(&format!("/call git_push {}\n", call("agent/y")));
    terminal.wait_for("information flow");
    drop(terminal);
    assert_eq!(t.stands("refs/heads/agent/x"), Some(two));
    for (name, file, why) in [
        ("agent/ci", ".github/workflows/ci.yml", "names by which other programs act"),
        ("agent/build", "sub/build.rs", "names by which other programs act"),
        ("agent/attributes", ".gitattributes", "names by which other programs act"),
        ("agent/docs", "docs/a.md", "rule: class"),
    ] {
        t.commits(name, &one, &[(file, "x")]);
        let mut terminal = typed(name);
        terminal.wait_for(why);
        drop(terminal);
        assert_eq!(t.stands(&format!("refs/heads/{name}")), None, "{name}");
    }
    // Of a branch that began nowhere all is new.
    t.commits("agent/all", &one, &[("src/d.txt", "d")]);
    let waits = t.push(&json!({ "url": t.url(), "ref": "agent/all" }));
    let all = waits["facts"]["git"]["push"]["changed"].clone();
    assert_eq!(all, json!(["a.txt", "src/d.txt"]), "{waits}");
}

#[test]
fn a_lost_answer_is_looked_for_and_a_push_that_was_cut_off_is_in_doubt() {
    let (t, one) = pushing("");
    let two = t.commits("agent/x", &one, &[("b.txt", "b")]);
    let call = json!({ "url": t.url(), "ref": "agent/x", "base": one });
    let flag = |name: &str| t.served.path().join(name);
    std::fs::write(flag("lose"), "").unwrap();
    let said = t.pushed(&call);
    assert_eq!(
        (said["new"].as_str(), t.stands("refs/heads/agent/x")),
        (Some(two.as_str()), Some(two.clone())),
        "{said}"
    );
    std::fs::remove_file(flag("lose")).unwrap();
    std::fs::write(flag("hang"), "").unwrap();
    t.commits("agent/x", &two, &[("c.txt", "c")]);
    let waits = t.push(&json!({ "url": t.url(), "ref": "agent/x", "old": two }));
    let sent = || t.heard().iter().filter(|line| line.starts_with("POST") && line.contains("receive")).count();
    let before = sent();
    let served = t.home.place.serve();
    let mut approves = t.home.place.command(&["approve", waits["id"].as_str().unwrap()]);
    let mut approves =
        approves.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    until(|| sent() > before);
    served.kill();
    approves.wait().unwrap();
    let _served = t.home.place.serve();
    until(|| t.home.place.run(&["doubts", "--json"]).stdout.contains("git_push"));
    assert_eq!(t.stands("refs/heads/agent/x"), Some(two));
}

/// Waits for what must become so; a test that hangs is ended by its runner.
fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        std::thread::yield_now();
    }
}
