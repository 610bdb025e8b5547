//! A place for one home, the binary run in it, and a process that serves it.
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::JoinHandle;

use serde_json::Value;
use tempfile::TempDir;

/// A directory for a test; the home lies in it and is not made yet.
pub struct Place {
    directory: TempDir,
}

/// How one command ended.
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Self { code: output.status.code().unwrap(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// Stdout as the one JSON document that it must be, after the expected exit code.
    pub fn json(&self, code: i32) -> Value {
        self.expect(code);
        assert_eq!(self.stdout.lines().count(), 1, "{}", self.stdout);
        serde_json::from_str(&self.stdout).unwrap()
    }

    /// The error object on stderr.
    pub fn error(&self, code: i32) -> Value {
        self.expect(code);
        assert_eq!(self.stdout, "", "stdout is data");
        let line = self.stderr.lines().last().unwrap_or_default();
        let error: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{}", self.stderr));
        error["error"].clone()
    }

    pub fn expect(&self, code: i32) -> &Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }
}

impl Place {
    pub fn empty() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    /// With a home that talks to the rehearsal model, and listens where nobody else does.
    pub fn with_home() -> Self {
        let place = Self::empty();
        place.run(&["init"]).expect(0);
        place.write_config(&place.config().replace("127.0.0.1:7717", "127.0.0.1:0"));
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn home(&self) -> PathBuf {
        self.path("home")
    }

    pub fn config(&self) -> String {
        std::fs::read_to_string(self.home().join("backstay.toml")).unwrap()
    }

    pub fn write_config(&self, text: &str) {
        std::fs::write(self.home().join("backstay.toml"), text).unwrap();
    }

    /// The binary with this home and nothing of this machine's.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_backstay"));
        command.args(arguments).env_clear().stdin(Stdio::null());
        command.env("HOME", self.directory.path()).env("BACKSTAY_HOME", self.home());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(&self.command(arguments).output().unwrap())
    }

    /// The same with something on stdin.
    pub fn pipe(&self, arguments: &[&str], stdin: &str) -> Ran {
        let mut command = self.command(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
        Ran::of(&child.wait_with_output().unwrap())
    }

    pub fn serve(&self) -> Served {
        Self::served(self.command(&["serve", "--json"]))
    }

    /// A command that serves, once it does.
    pub fn served(mut command: Command) -> Served {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("\"listen\""), "it does not serve: {line}");
        let told: Value = serde_json::from_str(&line).unwrap();
        Served { child, listen: told["listen"].as_str().unwrap().to_owned() }
    }

    /// Everything that lies in the home.
    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.home()).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

pub struct Served {
    child: Child,
    /// Address and port of the HTTP door.
    pub listen: String,
}

impl Served {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// As a crash would: no handler runs.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// As an operator would; the exit code.
    pub fn stop(mut self) -> i32 {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        self.child.wait().unwrap().code().unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// As Ctrl-C would.
pub fn interrupt(child: &Child) {
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
}

/// Answers the next connection with this body, and returns the request's first line.
pub fn models_server(body: &'static str) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let answer = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut line = String::new();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        reader.read_line(&mut line).unwrap();
        let mut rest = String::new();
        while rest.is_empty() || rest.trim_end() != "" {
            rest.clear();
            reader.read_line(&mut rest).unwrap();
        }
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
        line
    });
    (url, answer)
}

pub fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}
