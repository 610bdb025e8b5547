//! The one way out of a sandbox that has one: a port in its own, otherwise empty network, at which the runtime
//! listens from outside. Nothing else of the network is there, so there is no way past it.
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;

use crate::control;
use crate::helper::{Step, step};
use crate::raw;

/// The port; no other program listens in that network.
const PORT: u16 = 3128;
/// Where the certificates are that the command trusts: many programs look there by themselves.
pub const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// And by these the others are told.
const BY_FILE: [&str; 7] = [
    "CARGO_HTTP_CAINFO",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "NODE_EXTRA_CA_CERTS",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
];
const BY_PROXY: [&str; 5] = ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "http_proxy", "https_proxy"];

/// What a command with a way out is given.
pub struct Exit<'a> {
    /// In PEM, whom it trusts.
    pub certificates: &'a str,
    /// Called once, before the command can have run, with where it will connect.
    pub serve: &'a dyn Fn(TcpListener) -> std::io::Result<()>,
}

/// How a command finds it.
pub fn environment() -> BTreeMap<String, String> {
    let proxy = format!("http://{}:{PORT}", Ipv4Addr::LOCALHOST);
    let by_file = BY_FILE.map(|name| (name, CERTIFICATES.to_owned()));
    let by_proxy = BY_PROXY.map(|name| (name, proxy.clone()));
    let node = [("NODE_USE_ENV_PROXY", "1".to_owned())];
    by_file.into_iter().chain(by_proxy).chain(node).map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Hands the listener to the runtime and keeps nothing of it.
pub fn open(control: &OwnedFd) -> Step<()> {
    raw::loopback_up().map_err(step("a network of its own"))?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)).map_err(step("a port of its own"))?;
    control::give_listener(control, &listener).map_err(step("handing over its port"))
}
