//! Hosts as they are written, in grants and in rules, in the one form in which they are compared and dialled.
use backstay_kernel::destination::{Audience, HostGrant, Method};
use backstay_kernel::rule::Test;
use backstay_kernel::url::{BadUrl, Host, decoded_path, host_and_port};

use super::check::Checker;
use super::mistake::{Code, Place, quoted};
use super::raw::View;
use super::value::Spot;

/// Every name below one, and not that one.
const ANY_BELOW: &str = "*.";
/// The mode of a host to which commands speak sealed.
const TUNNEL: &str = "tunnel";

impl<'a> Checker<'a> {
    /// What is mistaken is reported and left out.
    pub fn hosts(&mut self, grants: View<'a>) -> Vec<HostGrant> {
        let rows = grants.rows("hosts");
        rows.into_iter().filter_map(|row| self.host_grant(row)).collect()
    }

    fn host_grant(&mut self, row: View<'a>) -> Option<HostGrant> {
        let written = row.text("host")?;
        let (below, rest) = match written.value.strip_prefix(ANY_BELOW) {
            Some(rest) => (ANY_BELOW, rest),
            None => ("", written.value),
        };
        let read = host_and_port(rest).and_then(|(host, port)| {
            if below.is_empty() || host.address().is_none() { Ok((host, port)) } else { Err(BadUrl::Host) }
        });
        let prefix = row.text("path_prefix")?;
        let path_prefix = self.path_of_url("path_prefix", &prefix);
        let named = row.texts("methods")?;
        let methods: Vec<Method> = named.value.iter().filter_map(|spot| Method::read(&spot.value)).collect();
        if methods.is_empty() {
            self.mistakes.add(named.place, Code::BadValue, "`methods` is empty, which grants nothing");
        }
        let allow_private = row.addresses("allow_private");
        match read {
            Ok((host, port)) => {
                let host = format!("{below}{}", host.as_str());
                let audience = row.text("audience").and_then(|word| Audience::read(word.value)).unwrap_or_default();
                let secrets = row.flag("secrets");
                let tunnel = row.text("mode").is_some_and(|mode| mode.value == TUNNEL);
                if tunnel && !secrets {
                    let message = "`mode = \"tunnel\"` needs `secrets = true`: nobody sees what a command sends there";
                    self.mistakes.add(written.place, Code::BadValue, message);
                }
                self.told_to_some(written.place, audience, secrets);
                let path_prefix = path_prefix?;
                Some(HostGrant { host, port, methods, path_prefix, allow_private, audience, secrets, tunnel })
            }
            Err(problem) => {
                let message = format!("`hosts`: {}: {problem}", quoted(written.value));
                let out = "a host and its port, such as \"api.example.com:443\"; \"*.example.com:443\" for all names below one";
                self.mistakes.suggest(written.place, Code::BadValue, message, out);
                None
            }
        }
    }

    pub fn told_to_some(&mut self, place: Place, audience: Audience, secrets: bool) {
        if secrets && audience == Audience::Public {
            let message = "`secrets` needs an `audience` other than \"public\"";
            self.mistakes.add(place, Code::BadValue, message);
        }
    }

    fn path_of_url(&mut self, key: &str, written: &Spot<&str>) -> Option<String> {
        let read = decoded_path(written.value);
        if let Err(problem) = &read {
            self.mistakes.add(written.place, Code::BadValue, format!("{}: {problem}", quoted(key)));
        }
        read.ok()
    }

    /// What a rule says of a host.
    pub fn hosts_of_rule(&mut self, place: Place, test: &Test) -> Option<Test> {
        let host = |text: &String| Host::read(text).map(|host| host.as_str().to_owned());
        let domain = |text: &String| Host::read(text).filter(|host| host.address().is_none());
        let read = if let Test::SubdomainOf(text) = test {
            domain(text).map(|host| Test::SubdomainOf(host.as_str().to_owned()))
        } else {
            test.map(|text| host(text).ok_or(()), |_| Err(())).ok()
        };
        if read.is_none() {
            self.mistakes.add(place, Code::BadValue, format!("`host`: {}", BadUrl::Host));
        }
        read
    }

    /// What a rule says of the path of a URL; a glob is compared as it is written.
    pub fn url_paths_of_rule(&mut self, place: Place, test: &Test) -> Option<Test> {
        let read = test.map(|text| decoded_path(text), |glob| Ok(glob.clone()));
        if let Err(problem) = &read {
            self.mistakes.add(place, Code::BadValue, format!("`url_path`: {problem}"));
        }
        read.ok()
    }
}
