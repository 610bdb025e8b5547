//! A served process, the product's or the floor's: started and timed, looked at through `/proc`,
//! killed.
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

use crate::Outcome;

pub struct Process {
    child: Child,
    pub address: SocketAddr,
    /// The moment before `exec`.
    pub began: Instant,
    /// From there to an accepted connection.
    pub ready: Duration,
}

#[derive(Deserialize)]
struct Told {
    listen: SocketAddr,
}

impl Process {
    /// Returns when a connection was accepted. The program says on its first line where it listens.
    pub fn start(command: &mut Command) -> Outcome<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let began = Instant::now();
        let mut child = command.spawn()?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let Ok(Told { listen }) = serde_json::from_str(&line) else {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("{command:?} does not serve; it said `{line}`").into());
        };
        TcpStream::connect(listen)?;
        Ok(Self { child, address: listen, began, ready: began.elapsed() })
    }

    /// As a crash would.
    pub fn kill(mut self) -> Outcome<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// As an operator would: the product ends cleanly, and what traces it ends with it.
    pub fn stop(mut self) -> Outcome<()> {
        let traced = self.children();
        let ids = if traced.is_empty() { vec![Pid::from_child(&self.child)] } else { traced };
        ids.into_iter().try_for_each(|id| kill_process(id, Signal::TERM))?;
        self.child.wait()?;
        Ok(())
    }

    /// What this process has started: the product, where this is a tracer.
    fn children(&self) -> Vec<Pid> {
        let id = self.child.id();
        let text = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        text.split_whitespace().filter_map(|id| Pid::from_raw(id.parse().ok()?)).collect()
    }

    /// Proportional set size, KiB.
    pub fn pss_kib(&self) -> Outcome<u64> {
        self.field("smaps_rollup", "Pss:")
    }

    /// Bytes that the process has caused to be written to the disk.
    pub fn device_bytes(&self) -> Outcome<u64> {
        self.field("io", "write_bytes:")
    }

    /// User and system time of all its threads, also of those that have ended.
    pub fn cpu(&self) -> Outcome<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name in parentheses may hold anything; after it the 12th and 13th field.
        let (_, rest) = stat.rsplit_once(')').ok_or("/proc/PID/stat has no name")?;
        let ticks: u64 = rest.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        Ok(Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second()))
    }

    fn field(&self, file: &str, name: &str) -> Outcome<u64> {
        let path = format!("/proc/{}/{file}", self.child.id());
        let text = std::fs::read_to_string(&path)?;
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let value = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        value.ok_or_else(|| format!("{path} says nothing of `{name}`").into())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        for id in self.children() {
            let _ = kill_process(id, Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
