//! The network of one command: the granted hosts that its call names, and a proxy that it reaches them by. No secret
//! is bound to a request of a command: what it runs may be anybody's.
use std::cell::RefCell;
use std::time::Duration;

use backstay_egress::proxy::{Proxy, Reached, Serving};
use backstay_kernel::destination::{HostGrant, Method, Reachable};
use backstay_kernel::facts::Invalid;
use backstay_kernel::url::{Host, host_and_port};
use backstay_sandbox::Exit;

use crate::fetch::Hosts;
use crate::limits::NETWORK_HOSTS_MAX;
use crate::prepare::Refused;
use crate::text::plain;

/// Where the machine keeps the certificates that its programs trust.
const SYSTEM: &str = "/etc/ssl/certs/ca-certificates.crt";

/// What a command may reach: the facts of it, and each grant narrowed to the very host that was named.
#[derive(Debug, Default)]
pub struct Network {
    pub places: Vec<Reachable>,
    pub open: Vec<HostGrant>,
}

/// # Errors
/// One that is no host and port, or not granted.
pub fn named(hosts: Option<&Hosts>, named: &[String]) -> Result<Network, Refused> {
    if named.len() > NETWORK_HOSTS_MAX {
        let detail = format!("`network` names more than {NETWORK_HOSTS_MAX} hosts");
        return Err(Refused::new(Invalid::BadArguments, detail));
    }
    let mut network = Network::default();
    for text in named {
        let bad = |error| Refused::new(Invalid::BadArguments, format!("`network`: `{}`: {error}", plain(text)));
        let (host, port) = host_and_port(text).map_err(bad)?;
        if network.places.iter().any(|place| place.host == host.as_str() && place.port == port) {
            continue;
        }
        network.add(hosts.map_or(&[][..], |hosts| &hosts.granted), &host, port)?;
    }
    // The order in which they were named says nothing.
    network.places.sort_by(|one, other| (&one.host, one.port).cmp(&(&other.host, other.port)));
    Ok(network)
}

impl Network {
    fn add(&mut self, granted: &[HostGrant], host: &Host, port: u16) -> Result<(), Refused> {
        let at = granted.iter().filter(|grant| grant.is_at(host.as_str(), port));
        let at: Vec<HostGrant> =
            at.map(|grant| HostGrant { host: host.as_str().to_owned(), ..grant.clone() }).collect();
        if at.is_empty() {
            let place = format!("{}:{port}", host.as_str());
            let detail = format!(
                "{place} is not granted; nothing was run. An operator allows it by \"{place}\" in `hosts` of this agent's grants"
            );
            return Err(Refused::new(Invalid::OutsideGrants, detail));
        }
        let methods = Method::ALL.into_iter().filter(|method| at.iter().any(|grant| grant.methods.contains(method)));
        self.places.push(Reachable {
            host: host.as_str().to_owned(),
            port,
            methods: methods.collect(),
            tunnel: at.iter().any(|grant| grant.tunnel),
        });
        self.open.extend(at);
        Ok(())
    }
}

/// Lets `run` run with a way out to these hosts, and says what was reached by it. Without hosts there is none.
///
/// # Errors
/// Nothing was run: there is no key for its certificates.
pub fn with_exit<T>(
    hosts: Option<&Hosts>,
    open: Vec<HostGrant>,
    lifetime: Duration,
    run: impl FnOnce(Option<&Exit<'_>>) -> T,
) -> Result<(T, Reached), String> {
    let Some(hosts) = hosts.filter(|_| !open.is_empty()) else { return Ok((run(None), Reached::default())) };
    // Whoever speaks to a host sealed trusts whom the machine trusts.
    let is_sealed = open.iter().any(|grant| grant.tunnel);
    let of_machine = if is_sealed { std::fs::read_to_string(SYSTEM).unwrap_or_default() } else { String::new() };
    let proxy = Proxy::new(hosts.network.clone(), open, lifetime)?;
    let certificates = format!("{}{of_machine}", proxy.certificate());
    let serving: RefCell<Option<Serving>> = RefCell::default();
    let serve = |listener| {
        *serving.borrow_mut() = Some(proxy.serve_at(listener)?);
        Ok(())
    };
    let ran = run(Some(&Exit { certificates: &certificates, serve: &serve }));
    Ok((ran, serving.take().map(Serving::end).unwrap_or_default()))
}
