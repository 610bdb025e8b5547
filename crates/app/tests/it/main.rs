//! The command line, tried with the real binary in homes of its own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod agentdojo;
mod backup;
mod bad_model;
mod busy;
mod canary;
mod carried;
mod chat;
mod checkpointed;
mod coding;
mod commands;
mod config;
mod declared;
mod doctor;
mod door;
mod doors;
mod exported;
mod gate;
mod git;
mod guide;
mod hanging_model;
mod held;
mod hints;
mod init;
mod journal;
mod logins;
mod merged;
mod modes;
mod network;
mod notify;
mod people;
mod place;
mod policy;
mod provenance;
mod reaching;
mod reference;
mod remote;
mod roots;
mod run;
mod sandboxed;
mod scope;
mod scripted;
mod secrets;
mod servers;
mod terminal;
mod tier;
mod tls;
#[path = "../both/tokens.rs"]
mod tokens;
mod transfer;
mod trouble;
mod vault;

#[test]
fn no_test_file_is_forgotten() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let main = include_str!("main.rs");
    for entry in std::fs::read_dir(directory).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let module = name.trim_end_matches(".rs");
        assert!(module == "main" || main.contains(&format!("\nmod {module};\n")), "{name} is not compiled");
    }
}
