//! The official SDK as a client.
use crate::served::{Served, python, root};

#[test]
fn the_openai_sdk_works_against_an_agent() {
    let served = Served::start(None, &[]);
    let script = root().join("tests/peers/openai_sdk.py");
    let out = python().arg(script).args([&served.url, &served.token]).output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{said}\n{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(said.lines().filter(|line| line.starts_with("held: ")).count(), 13, "{said}");
    let kept = served.home.path().join("home/workspace/out/sdk.txt");
    assert_eq!(std::fs::read_to_string(kept).unwrap(), "x");
}
