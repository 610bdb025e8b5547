//! What waits, told to a receiver that verifies by the official library of Standard Webhooks.
use std::io::{BufRead as _, BufReader, Lines};
use std::process::{ChildStdout, Stdio};

use serde_json::{Value, json};

use crate::served::{Peer, Served, python, root};

const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

fn receiver() -> (Peer, Lines<BufReader<ChildStdout>>) {
    let script = root().join("tests/peers/webhooks.py");
    let mut child = python().arg(script).args([KEY, OTHER]).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (Peer(child), lines)
}

#[test]
fn the_official_library_of_standard_webhooks_believes_a_notice_and_no_other() {
    let (_peer, mut lines) = receiver();
    let port = lines.next().unwrap().unwrap();
    let notify = format!("[notify]\nurl = \"http://127.0.0.1:{port}/hook\"\nkey_env = \"NOTIFY_KEY\"\n");
    let rules = "[[agents.main.rules]]\nname = \"ask\"\nverdict = \"ask\"\nmatch = { tool = \"write_file\" }\n";
    let served = Served::start_and(&["write_file"], &[("NOTIFY_KEY", KEY)], &format!("{rules}{notify}"));
    let (session, _) = served.say("/call write_file {\"path\":\"a.txt\",\"content\":\"x\"}");
    let told: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    let verified = &told["verified"];
    assert_eq!(verified["type"], "waits.approval");
    assert_eq!((&verified["data"]["id"], &verified["data"]["session"]), (&told["id"], &json!(session)));
}
