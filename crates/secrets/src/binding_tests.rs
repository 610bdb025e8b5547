//! A secret goes to the place that it is bound to, and nowhere that merely looks like it.
use std::os::unix::fs::PermissionsExt as _;

use proptest::prelude::*;

use super::*;
use crate::key::Key;

fn binding() -> Binding {
    Binding {
        host: "api.example.com".into(),
        port: 443,
        methods: vec!["GET".into(), "POST".into()],
        path_prefix: "/v1/contacts".into(),
        header: "Authorization".into(),
        scheme: Some("Bearer".into()),
    }
}

const GOOD: Request<'static> =
    Request { tls: true, host: "api.example.com", port: 443, method: "GET", path: "/v1/contacts/7" };

/// A vault that holds `crm`, in a home that goes away with what is returned beside it.
fn vault(names: &[&str]) -> (tempfile::TempDir, Vault) {
    let place = tempfile::tempdir().unwrap();
    let key = place.path().join("key");
    std::fs::write(&key, "k".repeat(40)).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let vault = Vault::open(place.path(), Key::find(Some(&key)).unwrap()).unwrap();
    for name in names {
        vault.put(name, "v".into(), 0, SecretString::from("Canary-Value")).unwrap();
    }
    (place, vault)
}

fn asked(request: &Request<'_>) -> Option<String> {
    let (_place, vault) = vault(&["crm"]);
    let bindings = BTreeMap::from([("crm".to_owned(), binding().checked().unwrap())]);
    let given = Credentials::new(vault, &bindings, &["crm".to_owned()]).header(request).unwrap();
    given.map(|header| format!("{}: {}", header.name, header.value.expose_secret()))
}

#[test]
fn the_request_that_is_meant_gets_the_header() {
    let header = Some("authorization: Bearer Canary-Value".to_owned());
    assert_eq!(asked(&GOOD), header);
    for path in ["/v1/contacts", "/v1/contacts/", "/v1/contacts/%41nn", "/v1/contacts/a.b/..c"] {
        assert_eq!(asked(&Request { path, ..GOOD }), header, "{path}");
    }
}

#[test]
fn what_only_looks_like_it_gets_none() {
    for request in [
        Request { tls: false, ..GOOD },
        Request { port: 8443, ..GOOD },
        Request { method: "DELETE", ..GOOD },
        Request { method: "get", ..GOOD },
    ] {
        assert_eq!(asked(&request), None, "{request:?}");
    }
    for host in ["example.com", "api.example.com.", "API.example.com", "api.example.com.evil.test", "xapi.example.com"]
    {
        assert_eq!(asked(&Request { host, ..GOOD }), None, "{host}");
    }
    for path in [
        "",
        "/",
        "/v1",
        "/v1/contactsX",
        "/V1/contacts",
        "/v1/contacts/../admin",
        "/v1/contacts/%2e%2e/admin",
        "/v1/contacts/..",
        "/v1/contacts/.",
        "//v1/contacts",
        "/v1//contacts",
        "/v1%2fcontacts",
        "/v1/contacts%2F..",
        "/v1/contacts;x=1",
        "/v1/contacts\\..",
        "/v1/contacts%5c",
        "/v1/contacts%00",
        "/v1/contacts/%252e%252e",
        "/v1/contacts/%zz",
        "/v1/contacts/%4",
        "/v1/contacts?x",
        "/v1/contacts/%ff",
        "x/v1/contacts",
    ] {
        assert_eq!(asked(&Request { path, ..GOOD }), None, "{path}");
    }
}

proptest! {
    /// Whatever path gets the secret stays below the prefix however often a server decodes it.
    #[test]
    fn no_path_that_leads_out_gets_it(tail in "([/a-z.;\\\\%?#]|%2e|%2f|%5C|%25|%00){0,12}") {
        let path = format!("/v1/contacts{tail}");
        if asked(&Request { path: &path, ..GOOD }).is_some() {
            let decoded = path.to_ascii_lowercase().replace("%2e", ".");
            prop_assert!(tail.is_empty() || tail.starts_with('/'));
            prop_assert!(!decoded.contains("/../") && !decoded.ends_with("/..") && !decoded.contains(['%', ';', '\\', '?', '#']));
        }
    }
}

#[test]
fn a_secret_that_is_not_granted_or_has_no_value_is_not_given() {
    let (_place, vault) = vault(&[]);
    let bindings = BTreeMap::from([("crm".to_owned(), binding().checked().unwrap())]);
    let of = |granted: &[String]| Credentials::new(vault.clone(), &bindings, granted).header(&GOOD);
    assert!(of(&[]).unwrap().is_none());
    assert_eq!(of(&["crm".into()]).unwrap_err(), NotGiven::NoValue("crm".into()));
}

#[test]
fn two_secrets_for_one_request_are_none() {
    let (_place, vault) = vault(&["crm", "other"]);
    let wider = Binding { path_prefix: "/".into(), ..binding() }.checked().unwrap();
    let bindings = BTreeMap::from([("crm".to_owned(), binding().checked().unwrap()), ("other".to_owned(), wider)]);
    let credentials = Credentials::new(vault, &bindings, &["crm".to_owned(), "other".to_owned()]);
    assert_eq!(credentials.header(&GOOD).unwrap_err(), NotGiven::Ambiguous("crm".into(), "other".into()));
    assert_eq!(credentials.header(&Request { path: "/v2", ..GOOD }).unwrap().unwrap().secret, "other");
}

#[test]
fn a_binding_that_could_leak_is_none() {
    let of = |change: &dyn Fn(&mut Binding)| {
        let mut changed = binding();
        change(&mut changed);
        changed.checked().err()
    };
    let hosts = [
        "",
        "https://api.example.com",
        "*.example.com",
        "127.0.0.1",
        "[::1]",
        "::1",
        "a b",
        "API.example.com",
        "a..b",
        "api.example.com.",
        "-a.test",
        "a.test:443",
        "ü.test",
        "10.1",
        "user@a.test",
    ];
    for host in hosts {
        assert_eq!(of(&|binding| binding.host = host.into()), Some(BadBinding::Host), "{host}");
    }
    assert_eq!(of(&|binding| binding.port = 80), Some(BadBinding::Port));
    for methods in [vec![], vec!["get".to_owned()], vec!["GET".to_owned(), "A B".to_owned()]] {
        assert_eq!(of(&|binding| binding.methods.clone_from(&methods)), Some(BadBinding::Method), "{methods:?}");
    }
    for path in ["", "v1", "/v1/../x", "/v1//x", "/v1?x", "/v1#x", "/v1;x", "/v%31", "/v1\\x"] {
        assert_eq!(of(&|binding| binding.path_prefix = path.into()), Some(BadBinding::Path), "{path}");
    }
    let headers =
        ["", "a b", "a:b", "Host", "connection", "Transfer-Encoding", "Upgrade", "Content-Length", "X-Forwarded-For"];
    for header in headers.into_iter().chain(NOT_FOR_SECRETS.iter().copied()) {
        assert_eq!(of(&|binding| binding.header = header.into()), Some(BadBinding::Header), "{header}");
    }
    assert_eq!(of(&|binding| binding.scheme = Some("Bearer x".into())), Some(BadBinding::Scheme));
    for header in ["Authorization", "X-Api-Key", "PRIVATE-TOKEN", "Cookie"] {
        assert_eq!(of(&|binding| binding.header = header.into()), None, "{header}");
    }
}
