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
        query: vec!["page".into(), "per_page".into(), "filter[name]".into()],
        tools: vec!["http_request".into()],
        header: "Authorization".into(),
        scheme: Some("Bearer".into()),
    }
}

const GOOD: Request<'static> = Request {
    tls: true,
    host: "api.example.com",
    port: 443,
    method: "GET",
    path: "/v1/contacts/7",
    query: "",
    tool: "http_request",
};

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
    told(&binding(), request).unwrap()
}

fn told(binding: &Binding, request: &Request<'_>) -> Result<Option<String>, NotGiven> {
    let (_place, vault) = vault(&["crm"]);
    let bindings = BTreeMap::from([("crm".to_owned(), binding.clone().checked().unwrap())]);
    let given = Credentials::new(vault, &bindings, &["crm".to_owned()]).header(request)?;
    Ok(given.map(|header| format!("{}: {}", header.name, header.value.expose_secret())))
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
fn a_query_that_goes_along_has_keys_that_are_listed_each_once_and_as_they_are() {
    let of = |query: &str| told(&binding(), &Request { query, ..GOOD }).map(|given| given.unwrap());
    let header = Ok("authorization: Bearer Canary-Value".to_owned());
    for query in ["", "page=2", "per_page=5&page=2", "page", "page=", "page=a=b", "page=%3B%26x%3D1?", "filter[name]=x"]
    {
        assert_eq!(of(query), header, "{query}");
    }
    let key = |key: &str| Err(NotGiven::Key("crm".into(), key.into()));
    for (query, unlisted) in
        [("admin=1", "admin"), ("page=1&admin", "admin"), ("Page=1", "Page"), ("filter=x", "filter")]
    {
        assert_eq!(of(query), key(unlisted), "{query}");
    }
    let unclear = Err(NotGiven::Unclear("crm".into()));
    for query in [
        "page=1&page=2",
        "page=1&PAGE=2",
        "%70age=1",
        "page%3D1",
        "p+age=1",
        "filter%5Bname%5D=x",
        "page=1;admin=1",
        ";",
        "&",
        "=1",
        "page=1&",
        "page=1&&per_page=2",
        "page\u{e9}=1",
    ] {
        assert_eq!(of(query), unclear, "{query}");
    }
    // Nothing is listed: a plain request alone.
    let none = Binding { query: Vec::new(), ..binding() };
    assert!(told(&none, &GOOD).is_ok());
    assert_eq!(told(&none, &Request { query: "page=2", ..GOOD }), Err(NotGiven::Key("crm".into(), "page".into())));
    let said = told(&none, &Request { query: "page=2", ..GOOD }).unwrap_err().to_string();
    assert!(said.contains("adds \"page\" to `query` in `[secrets.crm] bind`"), "{said}");
}

proptest! {
    /// Whatever goes along, however a server splits and decodes it, it finds only keys that are listed, each once.
    #[test]
    fn no_query_hides_a_key(query in "(page|per_page|admin|PAGE|=|&|;|%26|%3B|%70|%61dmin|\\+|a|1){0,8}") {
        let Ok(Some(_)) = told(&binding(), &Request { query: &query, ..GOOD }) else { return Ok(()) };
        let keys: Vec<_> = query.split(['&', ';']).filter(|pair| !pair.is_empty()).map(|pair| pair.split('=').next().unwrap()).collect();
        let decoded = |key: &&str| !key.contains(['%', '+']) && ["page", "per_page"].contains(key);
        prop_assert!(keys.iter().all(decoded), "{query}");
        prop_assert!(keys.len() < 2 || keys[0] != keys[1], "{query}");
    }
}

#[test]
fn only_a_tool_that_is_named_makes_a_request_that_carries_it() {
    for tool in ["web_fetch", "git_push", "mcp.http_request", "HTTP_REQUEST", ""] {
        let refused = told(&binding(), &Request { tool, ..GOOD });
        assert_eq!(refused, Err(NotGiven::Tool("crm".into(), tool.into())));
        assert!(
            refused.unwrap_err().to_string().contains(&format!("adds \"{tool}\" to `tools` in `[secrets.crm] bind`"))
        );
        assert_eq!(told(&binding(), &Request { tool, path: "/v2", ..GOOD }), Ok(None), "it is bound to nothing there");
    }
    // Two secrets of one place, each for its own tool, are two.
    let (_place, vault) = vault(&["crm", "other"]);
    let other = Binding { tools: vec!["git_push".into()], ..binding() };
    let bindings =
        [("crm", binding()), ("other", other)].map(|(name, bound)| (name.to_owned(), bound.checked().unwrap()));
    let credentials = Credentials::new(vault, &bindings.into(), &["crm".to_owned(), "other".to_owned()]);
    for (tool, secret) in [("http_request", "crm"), ("git_push", "other")] {
        assert_eq!(credentials.header(&Request { tool, ..GOOD }).unwrap().unwrap().secret, secret);
    }
}

/// A prefix that covers such an endpoint is no way to it either.
#[test]
fn where_one_post_makes_many_calls_nothing_goes_along() {
    let many = [
        "/graphql",
        "/api/GraphQL",
        "/v1/graphql.json/x",
        "/batch",
        "/batch/drive/v3",
        "/v1/$batch",
        "/%24batch",
        "/gr%61phql",
    ];
    let wide = Binding { path_prefix: "/".into(), ..binding() };
    for path in many {
        let post = told(&wide, &Request { path, method: "POST", ..GOOD });
        assert_eq!(post, Err(NotGiven::TakesMany("crm".into())), "{path}");
        assert!(matches!(told(&wide, &Request { path, ..GOOD }), Ok(Some(_))), "{path}: a GET is one call");
    }
    for path in ["/graphql-docs", "/batches", "/v1/batching/7", "/a.graphql"] {
        assert!(matches!(told(&wide, &Request { path, method: "POST", ..GOOD }), Ok(Some(_))), "{path}");
    }
    for path in many.into_iter().filter(|path| !path.contains('%')) {
        let bound = Binding { path_prefix: path.into(), ..binding() };
        assert_eq!(bound.clone().checked().err(), Some(BadBinding::TakesMany), "{path}");
        assert!(Binding { methods: vec!["GET".into()], ..bound }.checked().is_ok(), "{path}");
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
    assert_eq!(of(&|binding| binding.tools.clear()), Some(BadBinding::Tools));
    for keys in [&[""][..], &["a b"], &["%61"], &["a+b"], &["a;b"], &["a=b"], &["a&b"], &["\u{e9}"], &["page", "Page"]]
    {
        let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        assert_eq!(of(&|binding| binding.query.clone_from(&keys)), Some(BadBinding::Query), "{keys:?}");
    }
    for header in ["Authorization", "X-Api-Key", "PRIVATE-TOKEN", "Cookie"] {
        assert_eq!(of(&|binding| binding.header = header.into()), None, "{header}");
    }
}
