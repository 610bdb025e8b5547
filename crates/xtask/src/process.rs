//! Other programs, and where this repository lies. Errors are sentences for the person who typed the task.
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The repository's root, from this package's directory, which cargo hands to what it runs.
pub fn root() -> Result<PathBuf, String> {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").ok_or("xtask is run by cargo: `cargo xtask TASK`")?;
    Ok(Path::new(&package).ancestors().nth(2).ok_or("xtask lies in crates/xtask")?.to_path_buf())
}

pub fn command(root: &Path, line: &[&str]) -> Command {
    let (program, arguments) = line.split_first().unwrap_or((&"", &[]));
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root).stdin(Stdio::null());
    command
}

/// Runs it with its output shown.
pub fn run(root: &Path, line: &[&str]) -> Result<(), String> {
    let status = command(root, line).status().map_err(|e| format!("`{}`: {e}", line.join(" ")))?;
    if status.success() { Ok(()) } else { Err(format!("`{}` failed: {status}", line.join(" "))) }
}

/// Runs it and returns what it printed.
pub fn read(root: &Path, line: &[&str]) -> Result<String, String> {
    let shown = line.join(" ");
    let output = command(root, line).output().map_err(|e| format!("`{shown}`: {e}"))?;
    if !output.status.success() {
        return Err(format!("`{shown}` failed: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)));
    }
    String::from_utf8(output.stdout).map_err(|_| format!("`{shown}` printed what is not UTF-8"))
}

/// Whether it starts and ends well; its output is dropped.
pub fn works(root: &Path, line: &[&str]) -> bool {
    let quiet = command(root, line).stdout(Stdio::null()).stderr(Stdio::null()).status();
    quiet.is_ok_and(|status| status.success())
}

/// A file of this repository.
pub fn file(root: &Path, path: &str) -> Result<String, String> {
    std::fs::read_to_string(root.join(path)).map_err(|e| format!("{path}: {e}"))
}

/// One task's findings: silence is a pass.
pub fn report(task: &str, findings: &[String]) -> Result<(), String> {
    let count = findings.len();
    if count == 0 { Ok(()) } else { Err(format!("{}\n{task}: {count} to mend", findings.join("\n"))) }
}
