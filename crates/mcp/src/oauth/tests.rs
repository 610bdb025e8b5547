//! Servers that say what a test wants, at every place where one is asked.
use std::collections::{BTreeMap, HashMap};
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use backstay_egress::{Credential, Network, Took};
use backstay_kernel::destination::{Audience, HostGrant, Method};
use backstay_kernel::url::Url;
use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use rmcp::model::ClientJsonRpcMessage;
use rmcp::transport::streamable_http_client::StreamableHttpClient as _;
use serde_json::{Value, json};

use super::bounds::Bounds;
use super::discover::{Found, discover};
use super::grant::{Drawn, Redemption, Registered, Returned, address, client, returned};
use super::logins::{Keeper, Login, Logins, Made, Pass};
use super::token::{Client, Key, Proof};
use crate::limits::DOCUMENT_BYTES_MAX;
use crate::remote::{At, CredentialOf, Remote, Way};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const CODE: &str = "code-0123456789";

/// What a request is answered with, by its path.
type Says = BTreeMap<&'static str, String>;

struct Server {
    at: SocketAddr,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn new(says: impl FnOnce(SocketAddr) -> Says) -> Self {
        Self::counting(says, |_, answer| answer)
    }

    /// `nth`: what becomes of an answer, by how many requests there were to its path before.
    fn counting(says: impl FnOnce(SocketAddr) -> Says, nth: impl Fn(usize, String) -> String + Send + 'static) -> Self {
        let listener = TcpListener::bind((LOOPBACK, 0)).unwrap();
        let at = listener.local_addr().unwrap();
        let (says, heard) = (says(at), Arc::<Mutex<Vec<String>>>::default());
        let all = Arc::clone(&heard);
        // Ends with the test's process: nobody connects any more.
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let request = request(&mut stream);
                let path = path_of(&request).to_owned();
                let before = all.lock().unwrap().iter().filter(|heard| path_of(heard) == path).count();
                all.lock().unwrap().push(request);
                let answer = says.get(path.as_str()).cloned().unwrap_or_else(|| status(404, ""));
                let _ = stream.write_all(nth(before, answer).as_bytes());
            }
        });
        Self { at, heard }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.at)
    }

    fn asked(&self, path: &str) -> Vec<String> {
        let heard = self.heard.lock().unwrap();
        heard.iter().filter(|heard| path_of(heard) == path).cloned().collect()
    }

    fn tools(&self) -> At {
        at(&self.url("/mcp"))
    }

    async fn discovered(&self) -> Result<Found, String> {
        discover(&self.bounds(), &self.tools(), None, None).await
    }

    fn bounds(&self) -> Bounds {
        Bounds::of(Network::default(), &self.tools())
    }
}

fn request(stream: &mut std::net::TcpStream) -> String {
    let (mut text, mut buffer) = (Vec::new(), vec![0u8; 64 << 10]);
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        text.extend_from_slice(&buffer[..read]);
        let said = String::from_utf8_lossy(&text).into_owned();
        let Some((head, body)) = said.split_once("\r\n\r\n") else { continue };
        let wanted = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
        if body.len() >= wanted.unwrap_or(0) {
            break;
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn path_of(request: &str) -> &str {
    request.split(' ').nth(1).unwrap_or_default().split('?').next().unwrap_or_default()
}

fn status(status: u16, headers: &str) -> String {
    format!("HTTP/1.1 {status} X\r\n{headers}content-length: 0\r\n\r\n")
}

fn document(status: u16, said: &Value) -> String {
    let said = said.to_string();
    format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{said}", said.len())
}

fn at(url: &str) -> At {
    let url = Url::read(url).unwrap();
    let grant = HostGrant {
        host: url.host.as_str().to_owned(),
        port: url.port,
        methods: vec![Method::Post],
        path_prefix: url.path.clone(),
        allow_private: vec![LOOPBACK],
        audience: Audience::default(),
        secrets: false,
        tunnel: false,
    };
    At { url, grant }
}

const RESOURCE: &str = "/.well-known/oauth-protected-resource/mcp";
const METADATA: &str = "/.well-known/oauth-authorization-server";

fn resource(at: SocketAddr) -> Value {
    json!({ "resource": format!("http://{at}/mcp"), "authorization_servers": [format!("http://{at}")] })
}

fn metadata(at: SocketAddr) -> Value {
    let url = |path: &str| format!("http://{at}{path}");
    json!({
        "issuer": url(""),
        "authorization_endpoint": url("/authorize"),
        "token_endpoint": url("/token"),
        "registration_endpoint": url("/register"),
        "code_challenge_methods_supported": ["plain", "S256"],
    })
}

/// A server as it should be.
fn sound(at: SocketAddr) -> Says {
    BTreeMap::from([
        ("/mcp", status(401, "www-authenticate: Bearer scope=\"a b\"\r\n")),
        (RESOURCE, document(200, &resource(at))),
        (METADATA, document(200, &metadata(at))),
    ])
}

/// The same, but for this.
fn but(at: SocketAddr, path: &'static str, answer: String) -> Says {
    let mut says = sound(at);
    says.insert(path, answer);
    says
}

fn with(mut said: Value, field: &str, value: Value) -> Value {
    said[field] = value;
    said
}

async fn refused(says: impl FnOnce(SocketAddr) -> Says) -> String {
    Server::new(says).discovered().await.unwrap_err()
}

#[tokio::test]
async fn what_a_server_says_of_a_login_is_found_and_asked_for_once() {
    let server = Server::new(sound);
    let found = server.discovered().await.unwrap();
    assert_eq!((found.resource, found.issuer), (server.url("/mcp"), server.url("")));
    assert_eq!((found.scopes, found.token.text()), (vec!["a".to_owned(), "b".to_owned()], server.url("/token")));
    let heard: Vec<String> = server.heard.lock().unwrap().iter().map(|heard| path_of(heard).to_owned()).collect();
    assert_eq!(heard, ["/mcp", RESOURCE, METADATA]);
    // What a token is for may be said of all that stands at a place.
    for above in ["", "/"] {
        let server = Server::new(|at| {
            but(at, RESOURCE, document(200, &with(resource(at), "resource", format!("http://{at}{above}").into())))
        });
        assert_eq!(server.discovered().await.unwrap().resource, server.url(above), "as it was said");
    }
}

#[tokio::test]
async fn what_speaks_for_somebody_else_is_not_believed() {
    let issuer =
        |to: &'static str| move |at| but(at, METADATA, document(200, &with(metadata(at), "issuer", to.into())));
    for other in ["https://evil.test", "http://127.0.0.1:1", "", "none"] {
        assert!(refused(issuer(other)).await.contains("speaks for"), "{other}");
    }
    let tenant = |at: SocketAddr| {
        but(at, METADATA, document(200, &with(metadata(at), "issuer", format!("http://{at}/tenant").into())))
    };
    assert!(refused(tenant).await.contains("and not for"), "another one of the same host");
    let of = |to: &'static str| {
        move |at: SocketAddr| {
            let to = if to.starts_with('/') { format!("http://{at}{to}") } else { to.to_owned() };
            but(at, RESOURCE, document(200, &with(resource(at), "resource", to.into())))
        }
    };
    for other in ["https://evil.test/mcp", "/mcp/other", "/mc", "/mcp2", "http://127.0.0.1/mcp", "/mcp/../mcp", ""] {
        assert!(refused(of(other)).await.contains("its tokens are for"), "{other}");
    }
}

/// Servers of the first revision say nothing of a resource; what then speaks for them must stand where they do.
#[tokio::test]
async fn a_server_that_names_nobody_is_its_own_authorization_server_or_has_none() {
    let none = |path: &'static str, issuer: &'static str| {
        move |at: SocketAddr| {
            let issuer = if issuer.starts_with('/') { format!("http://{at}{issuer}") } else { issuer.to_owned() };
            let mut says = but(at, METADATA, document(200, &with(metadata(at), "issuer", issuer.into())));
            says.remove(path);
            says
        }
    };
    let server = Server::new(none(RESOURCE, "/oauth"));
    let found = server.discovered().await.unwrap();
    assert_eq!((found.issuer, found.resource), (server.url("/oauth"), server.url("/mcp")));
    assert!(refused(none(RESOURCE, "https://evil.test")).await.contains("which is elsewhere"));
    let why = refused(|at| BTreeMap::from([(METADATA, document(200, &metadata(at)))])).await;
    assert!(why.contains("it asks for no token, and names no authorization server"), "{why}");
    let why = refused(none(METADATA, "")).await;
    assert!(why.contains("says nothing of itself") && why.contains("openid-configuration answered 404"), "{why}");
}

#[tokio::test]
async fn nothing_leads_to_a_private_address_to_clear_text_elsewhere_or_to_another_scheme() {
    let named = |url: &str| format!("www-authenticate: Bearer resource_metadata=\"{url}\"\r\n");
    for (url, why) in [
        ("http://169.254.169.254/latest", "it is in clear text"),
        ("https://169.254.169.254/latest", "a link-local address"),
        ("https://10.0.0.1/x", "a private address"),
        ("file:///etc/passwd", "no other scheme is spoken"),
        ("https://a@b.test/x", "no user or password"),
        ("https://a.test/../x", "the path holds"),
    ] {
        let said = refused(|at| but(at, "/mcp", status(401, &named(url)))).await;
        assert!(said.contains(why), "{url}: {said}");
    }
    for (field, url) in [
        ("authorization_endpoint", "javascript://x/%0aalert(1)"),
        ("authorization_endpoint", "http://evil.test/authorize"),
        ("token_endpoint", "http://evil.test/token"),
        ("token_endpoint", "ftp://evil.test/token"),
        ("registration_endpoint", "http://10.0.0.1/register"),
        ("revocation_endpoint", "gopher://evil.test"),
    ] {
        let said = refused(|at| but(at, METADATA, document(200, &with(metadata(at), field, url.into())))).await;
        assert!(said.contains("is not used"), "{field} {url}: {said}");
    }
    // A server that is spoken with sealed has nothing in clear text, not even here.
    let sealed = Bounds::of(Network::default(), &at("https://127.0.0.1/mcp"));
    assert!(sealed.url("x", "http://127.0.0.1/token").is_err() && sealed.url("x", "https://127.0.0.1/token").is_ok());
}

#[tokio::test]
async fn a_server_that_does_not_say_that_it_checks_pkce_is_not_used() {
    for methods in [json!(null), json!([]), json!(["plain"])] {
        let says =
            |at| but(at, METADATA, document(200, &with(metadata(at), "code_challenge_methods_supported", methods)));
        assert!(refused(says).await.contains("does not say that it checks PKCE by S256"));
    }
}

#[tokio::test]
async fn a_document_has_bounds() {
    let padded = |bytes: usize| {
        move |at: SocketAddr| {
            let spare = bytes - metadata(at).to_string().len() - "\"pad\":\"\",".len();
            but(at, METADATA, document(200, &with(metadata(at), "pad", "x".repeat(spare).into())))
        }
    };
    assert!(Server::new(padded(DOCUMENT_BYTES_MAX)).discovered().await.is_ok());
    let why = refused(padded(DOCUMENT_BYTES_MAX + 1)).await;
    assert!(why.contains("is longer than 262144 bytes"), "{why}");
    // One that does not come.
    let hangs = |at| but(at, METADATA, "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{".to_owned());
    let server = Server::counting(hangs, |_, answer| {
        if answer.ends_with('{') {
            std::thread::park();
        }
        answer
    });
    tokio::time::pause();
    let why = server.discovered().await.unwrap_err();
    assert!(why.contains("within 20 s"), "{why}");
}

#[tokio::test]
async fn who_asks_is_known_beforehand_named_by_a_document_or_registered() {
    let given = |method: Option<&str>, secret: Option<&str>| {
        let mut said = json!({ "client_id": "given" });
        said.as_object_mut()
            .unwrap()
            .extend(method.map(|method| ("token_endpoint_auth_method".to_owned(), json!(method))));
        said.as_object_mut().unwrap().extend(secret.map(|secret| ("client_secret".to_owned(), json!(secret))));
        document(201, &said)
    };
    let server = |answer: String, extra: Value| {
        Server::new(move |at| {
            let mut said = metadata(at);
            said.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            let mut says = but(at, METADATA, document(200, &said));
            says.insert("/register", answer);
            says
        })
    };
    let registered = |id: Option<&str>, document: Option<&str>| Registered {
        id: id.map(str::to_owned),
        secret: id.map(|_| "kept".to_owned()),
        document: document.map(str::to_owned),
    };
    let asked = async |server: &Server, own: Registered| {
        let found = server.discovered().await.unwrap();
        client(&server.bounds(), &found, &own, "http://127.0.0.1:1/callback").await
    };
    let documents = json!({ "client_id_metadata_document_supported": true });
    let known = server(given(None, None), documents);
    let of = asked(&known, registered(Some("own"), Some("https://a.test/c.json"))).await.unwrap();
    assert!(of.id == "own" && matches!(of.proof, Proof::Basic(Key::Kept(name)) if name == "kept"));
    let of = asked(&known, registered(None, Some("https://a.test/c.json"))).await.unwrap();
    assert!(of.id == "https://a.test/c.json" && matches!(of.proof, Proof::None));
    assert!(known.asked("/register").is_empty());
    // One that takes no documents registers.
    let server_of = |answer| server(answer, json!({ "token_endpoint_auth_methods_supported": ["client_secret_post"] }));
    for (answer, is_good) in [
        (given(None, Some("s3cret-value")), true),
        (given(Some("client_secret_post"), Some("s3cret-value")), true),
        (given(Some("private_key_jwt"), None), false),
        (status(403, ""), false),
    ] {
        let server = server_of(answer);
        let of = asked(&server, registered(None, Some("https://a.test/c.json"))).await;
        assert_eq!(of.is_ok_and(|of| matches!(of.proof, Proof::Post(Key::Given(_)))), is_good);
        let heard = server.asked("/register").remove(0);
        assert!(heard.contains("\"redirect_uris\":[\"http://127.0.0.1:1/callback\"]"), "{heard}");
        assert!(heard.contains("refresh_token") && heard.contains("\"client_secret_post\""), "{heard}");
    }
}

fn found(server: &Server) -> Found {
    let url = |path: &str| Url::read(&server.url(path)).unwrap();
    Found {
        issuer: server.url(""),
        resource: server.url("/mcp"),
        scopes: vec!["a".to_owned()],
        authorization: url("/authorize?tenant=1"),
        token: url("/token"),
        registration: None,
        revocation: None,
        proofs: None,
        takes_documents: false,
        names_itself: false,
        renews: true,
    }
}

#[test]
fn a_person_opens_an_address_that_says_what_is_asked_for_and_not_by_what_it_is_redeemed() {
    let server = Server::new(sound);
    let drawn = Drawn { state: "the-state".to_owned(), verifier: "the-verifier".to_owned() };
    let client = Client { id: "a&b".to_owned(), proof: Proof::None };
    let open = address(&found(&server), &client, &drawn, "http://127.0.0.1:1/callback");
    assert!(open.starts_with(&format!("{}/authorize?tenant=1&response_type=code&client_id=a%26b&", server.url(""))));
    // Of `the-verifier`, by another's hand.
    let digest = "code_challenge=sP6XQ2T7IHwj7eBkdcI9xyC8WxEik0RMQk0tVGDKZPI&code_challenge_method=S256";
    assert!(open.contains(digest), "{open}");
    assert!(open.contains("&state=the-state&") && open.contains("&resource=http%3A%2F%2F127.0.0.1%3A"), "{open}");
    assert!(!open.contains("the-verifier") && open.ends_with("&scope=a"));
    let (one, other) = (Drawn::new().unwrap(), Drawn::new().unwrap());
    assert!(one.state != other.state && one.verifier != other.verifier && one.verifier.len() == 43);
}

#[test]
fn what_comes_back_is_taken_from_this_login_and_this_server_alone() {
    let server = Server::new(sound);
    let drawn = Drawn { state: "s".to_owned(), verifier: "v".to_owned() };
    let plain = found(&server);
    let named = Found { names_itself: true, ..plain.clone() };
    let iss = super::bounds::escaped(&server.url(""));
    let code = Returned::Code("c d".to_owned());
    assert_eq!(returned("code=c+d&state=s", &plain, &drawn), code);
    assert_eq!(returned(&format!("code=c%20d&state=s&iss={iss}"), &named, &drawn), code);
    let foreign = |query: &str, found: &Found| matches!(returned(query, found, &drawn), Returned::Foreign(_));
    for query in [
        "code=c",
        "code=c&state=",
        "code=c&state=t",
        "code=c&state=s&state=t",
        "state=s",
        "code=&state=s",
        "",
        "code=a&code=b&state=s",
    ] {
        assert!(foreign(query, &plain), "{query}");
    }
    assert!(foreign("code=c&state=s&iss=https%3A%2F%2Fevil.test", &plain));
    assert!(foreign(&format!("code=c&state=s&iss={iss}&iss=x"), &plain));
    assert!(foreign("code=c&state=s", &named));
    assert!(foreign("error=access_denied&state=t", &plain), "nobody else ends it");
    assert!(matches!(returned("error=access_denied&state=s", &plain, &drawn), Returned::Refused(_)));
}

/// Logins in memory.
#[derive(Default)]
struct Memory {
    login: Mutex<Option<Login>>,
    kept: Mutex<Vec<String>>,
    now: AtomicU64,
    is_full: bool,
}

impl Keeper for Memory {
    fn login(&self, _server: &str) -> Option<Login> {
        self.login.lock().unwrap().clone()
    }

    fn renew(&self, _server: &str, login: &Login) -> Result<(), String> {
        if self.is_full {
            return Err("the disk is full".to_owned());
        }
        self.kept.lock().unwrap().push(login.access.clone());
        *self.login.lock().unwrap() = Some(login.clone());
        Ok(())
    }

    fn secret(&self, name: &str) -> Option<String> {
        (name == "kept").then(|| "kept:value".to_owned())
    }

    fn took(&self, _name: &str, _forms: u64) {}

    fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }
}

fn redemption(server: &Server, proof: Proof) -> Redemption {
    Redemption {
        url: server.url("/mcp"),
        issuer: server.url(""),
        resource: server.url("/mcp"),
        token: server.url("/token"),
        revocation: Some(server.url("/revoke")),
        scopes: vec!["a".to_owned()],
        client: Client { id: "own id".to_owned(), proof },
        redirect: "http://127.0.0.1:1/callback".to_owned(),
        code: CODE.to_owned(),
        verifier: "the-verifier".to_owned(),
    }
}

fn granted(n: usize, more: Value) -> Value {
    let mut said = json!({ "access_token": format!("access-{n}"), "token_type": "bearer", "refresh_token": format!("refresh-{n}") });
    said.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    said
}

fn tokens(answer: String) -> Server {
    Server::new(|_| BTreeMap::from([("/token", answer)]))
}

async fn redeemed(server: &Server, proof: Proof) -> Result<Login, String> {
    let logins = Logins::new(Arc::new(Memory::default()), Network::default());
    logins.redeem(&server.tools(), redemption(server, proof)).await
}

#[tokio::test]
async fn a_code_is_redeemed_as_the_client_proves_itself_and_kept_with_its_end() {
    let server = tokens(document(200, &granted(1, json!({ "expires_in": "600", "scope": "a c" }))));
    let login = redeemed(&server, Proof::Basic(Key::Kept("kept".to_owned()))).await.unwrap();
    assert_eq!((login.access.as_str(), login.refresh.as_deref()), ("access-1", Some("refresh-1")));
    assert_eq!(
        (login.until, login.renew_at, login.scopes),
        (Some(600_000), Some(540_000), vec!["a".into(), "c".into()])
    );
    let heard = server.asked("/token").remove(0);
    // `own%20id:kept%3Avalue`
    assert!(heard.contains("authorization: Basic b3duJTIwaWQ6a2VwdCUzQXZhbHVl\r\n"), "{heard}");
    let body = heard.split("\r\n\r\n").nth(1).unwrap();
    let wanted = format!(
        "grant_type=authorization_code&code={CODE}&redirect_uri=http%3A%2F%2F127.0.0.1%3A1%2Fcallback&\
         code_verifier=the-verifier&resource=http%3A%2F%2F127.0.0.1%3A{}%2Fmcp",
        server.at.port()
    );
    assert_eq!(body, wanted);
    let server = tokens(document(200, &granted(1, json!({ "expires_in": 30 }))));
    let login = redeemed(&server, Proof::Post(Key::Given("given".to_owned()))).await.unwrap();
    assert_eq!((login.until, login.renew_at), (Some(30_000), Some(15_000)));
    assert!(server.asked("/token")[0].ends_with("&client_id=own%20id&client_secret=given"));
    let server = tokens(document(200, &granted(1, json!({}))));
    let login = redeemed(&server, Proof::None).await.unwrap();
    assert_eq!((login.until, login.renew_at), (None, None));
    assert!(server.asked("/token")[0].ends_with("&client_id=own%20id"));
    let why = redeemed(&server, Proof::Basic(Key::Kept("gone".to_owned()))).await.err().unwrap();
    assert_eq!(why, "the secret `gone` has no value: backstay secrets set gone");
}

#[tokio::test]
async fn what_is_no_token_is_not_kept_and_what_was_sent_is_not_repeated() {
    let elsewhere = Server::new(|_| Says::new());
    for (answer, why) in [
        (status(302, &format!("location: {}\r\n", elsewhere.url("/token"))), "leads elsewhere and is not followed"),
        (status(500, ""), "answered 500"),
        (document(200, &json!({ "access_token": "x", "token_type": "mac" })), "it is not a bearer's"),
        (document(200, &json!({ "access_token": "a b", "token_type": "bearer" })), "no header can hold"),
        (document(200, &json!({ "access_token": "a\r\nx: y", "token_type": "bearer" })), "no header can hold"),
        (document(200, &json!({ "access_token": "", "token_type": "bearer" })), "no header can hold"),
        (document(200, &json!({ "token_type": "bearer" })), "it is not read"),
        (document(400, &json!({ "error": "invalid_client", "error_description": "who?" })), "invalid_client who?"),
    ] {
        let said = redeemed(&tokens(answer), Proof::None).await.err().unwrap();
        assert!(said.contains(why), "{why}: {said}");
    }
    assert!(elsewhere.heard.lock().unwrap().is_empty());
    for repeated in [CODE, "the-verifier", "given-value"] {
        let said = document(400, &json!({ "error": "bad", "error_description": format!("not <{repeated}>") }));
        let said = redeemed(&tokens(said), Proof::Post(Key::Given("given-value".to_owned()))).await.err().unwrap();
        assert!(said.ends_with("answered 400"), "{said}");
    }
}

struct Held {
    server: Server,
    memory: Arc<Memory>,
    pass: Pass,
    made: Made,
}

impl Held {
    /// A login that wants to be renewed from 100 on and ends at 200; `answer` is the token endpoint's, by how often it
    /// was asked before.
    fn new(answer: impl Fn(usize) -> String + Send + 'static) -> Self {
        Self::kept(answer, Memory::default())
    }

    fn kept(answer: impl Fn(usize) -> String + Send + 'static, memory: Memory) -> Self {
        Self::behind(&[], answer, memory)
    }

    /// Where the server of tools answers one call after the other so, and then as the last.
    fn behind(tools: &[String], answer: impl Fn(usize) -> String + Send + 'static, memory: Memory) -> Self {
        let tools = tools.to_vec();
        let says = |_| BTreeMap::from([("/token", String::new()), ("/mcp", "tools".to_owned())]);
        let server = Server::counting(says, move |n, said| match said.as_str() {
            "" => answer(n),
            "tools" => tools.get(n).or(tools.last()).cloned().unwrap_or_default(),
            _ => said,
        });
        let Redemption { url, issuer, resource, token, revocation, scopes, client, .. } =
            redemption(&server, Proof::None);
        let login = Login {
            url,
            issuer,
            resource,
            token,
            revocation,
            client,
            scopes,
            access: "access-0".to_owned(),
            refresh: Some("refresh-0".to_owned()),
            until: Some(200),
            renew_at: Some(100),
        };
        *memory.login.lock().unwrap() = Some(login);
        let memory = Arc::new(memory);
        let keeper: Arc<dyn Keeper> = Arc::<Memory>::clone(&memory);
        let pass = Logins::new(keeper, Network::default()).pass("far", &server.tools());
        Self { server, memory, pass, made: Made::default() }
    }

    async fn token(&self) -> Result<String, String> {
        self.pass.token(&self.made).await.map(|token| token.unwrap().access().to_owned())
    }

    fn at(&self, now: u64) {
        self.memory.now.store(now, Ordering::Relaxed);
    }

    fn change(&self, change: impl FnOnce(&mut Login)) {
        change(self.memory.login.lock().unwrap().as_mut().unwrap());
    }
}

/// As a server that hands out each token for one use.
fn rotating(n: usize) -> String {
    document(200, &granted(n + 1, json!({ "expires_in": 1 })))
}

#[tokio::test]
async fn a_token_is_renewed_before_its_end_and_what_renews_it_is_kept_before_it_is_used() {
    let held = Held::new(rotating);
    held.at(99);
    assert_eq!(held.token().await.unwrap(), "access-0");
    assert!(held.server.asked("/token").is_empty() && held.made.lock().unwrap().is_empty());
    held.at(100);
    assert_eq!(held.token().await.unwrap(), "access-1");
    // The next time with what came instead.
    held.at(1_000);
    assert_eq!(held.token().await.unwrap(), "access-2");
    let asked = held.server.asked("/token");
    assert!(asked[0].contains("refresh_token=refresh-0&resource=") && asked[1].contains("refresh_token=refresh-1&"));
    assert_eq!(*held.memory.kept.lock().unwrap(), ["access-1", "access-2"]);
    let made: Vec<_> = held.made.lock().unwrap().iter().map(|reached| reached().secret).collect();
    assert_eq!(made, [Some("mcp.far".to_owned()), Some("mcp.far".to_owned())]);
    // What cannot be kept is not used either.
    let held = Held::kept(rotating, Memory { is_full: true, ..Memory::default() });
    held.at(200);
    let why = held.token().await.unwrap_err();
    assert!(why.contains("cannot be kept: the disk is full; `backstay mcp login far`"), "{why}");
}

#[tokio::test]
async fn several_at_once_renew_once_and_all_have_what_came() {
    let held = Held::new(rotating);
    held.at(100);
    let stale = async || held.pass.renewed("access-0", &held.made).await.map(|token| token.access().to_owned());
    let (a, b, c) = tokio::join!(stale(), stale(), held.token());
    assert_eq!([a, b, c].map(Result::unwrap), ["access-1", "access-1", "access-1"]);
    assert_eq!(held.server.asked("/token").len(), 1);
}

/// A server has taken the old one, and nobody waits for the new.
#[tokio::test]
async fn what_came_is_kept_though_nobody_waits_for_it_any_more() {
    let (release, released) = std::sync::mpsc::channel::<()>();
    let held = Held::new(move |n| {
        let _ = released.recv();
        rotating(n)
    });
    let is_asked = async {
        while held.server.asked("/token").is_empty() {
            tokio::task::yield_now().await;
        }
    };
    // Begun, and left.
    tokio::select! {
        _ = held.pass.renewed("access-0", &held.made) => panic!("it was there at once"),
        () = is_asked => {}
    }
    drop(release);
    assert_eq!(held.pass.renewed("access-0", &held.made).await.unwrap().access(), "access-1");
    assert_eq!(held.server.asked("/token").len(), 1);
}

#[tokio::test]
async fn a_login_that_has_ended_says_what_to_do_and_is_not_asked_with_again() {
    let ended = |_| document(400, &json!({ "error": "invalid_grant" }));
    let held = Held::new(ended);
    held.at(200);
    let why = held.token().await.unwrap_err();
    assert!(why.contains("has ended") && why.ends_with("`backstay mcp login far`"), "{why}");
    assert!(held.token().await.unwrap_err().contains("has ended"));
    assert_eq!(held.server.asked("/token").len(), 1);
    assert!(held.pass.scopes() == ["a"] && held.memory.login("far").unwrap().has_ended(200));
    // Where it is not over yet, it is used until it is, also without what would renew it.
    let held = Held::new(ended);
    held.at(150);
    assert_eq!(held.token().await.unwrap(), "access-0");
    assert_eq!(held.token().await.unwrap(), "access-0");
    assert_eq!(held.server.asked("/token").len(), 1);
}

#[tokio::test]
async fn a_server_that_is_down_is_asked_again_and_nothing_is_given_up() {
    let held = Held::new(|n| if n == 0 { status(503, "") } else { rotating(n) });
    held.at(200);
    let why = held.token().await.unwrap_err();
    assert!(why.contains("was not renewed: ") && why.contains("answered 503"), "{why}");
    assert_eq!(held.token().await.unwrap(), "access-2");
}

/// It is for one URL, and asked for where a person has agreed.
#[tokio::test]
async fn a_token_goes_to_the_url_that_it_is_for_and_is_renewed_nowhere_else() {
    let held = Held::new(rotating);
    for url in [held.server.url("/mcp/more"), held.server.url("/"), "https://127.0.0.1/mcp".to_owned()] {
        held.change(|login| login.url = url);
        let why = held.token().await.unwrap_err();
        assert!(why.contains("where the server was then; `backstay mcp login far`"), "{why}");
    }
    // A person has logged in where the server is by now, while a call waited for the answer of where it was.
    let held = Held::new(rotating);
    held.change(|login| {
        (login.url, login.access) = ("https://new.example.com/mcp".to_owned(), "access-new".to_owned())
    });
    let why = held.pass.renewed("access-0", &held.made).await.err().unwrap();
    assert!(why.contains("where the server was then"), "{why}");
    let elsewhere = Server::new(|_| Says::new());
    let held = Held::new(move |_| status(307, &format!("location: {}\r\n", elsewhere.url("/token"))));
    held.at(200);
    assert!(held.token().await.unwrap_err().contains("leads elsewhere and is not followed"));
    for (token, why) in
        [("https://10.0.0.1/token", "a private address"), ("http://10.0.0.1/token", "it is in clear text")]
    {
        held.change(|login| login.token = token.to_owned());
        let said = held.token().await.unwrap_err();
        assert!(said.contains(why), "{said}");
    }
}

#[tokio::test]
async fn what_is_given_back_is_named_and_where_there_is_no_place_for_it_that_is_said() {
    let server = Server::new(|_| BTreeMap::from([("/revoke", document(200, &json!({}))), ("/token", rotating(0))]));
    let logins = Logins::new(Arc::new(Memory::default()), Network::default());
    let login = logins.redeem(&server.tools(), redemption(&server, Proof::None)).await.unwrap();
    logins.revoke(&server.tools(), &login).await.unwrap();
    let asked = server.asked("/revoke");
    assert!(asked[0].contains("token=refresh-1&token_type_hint=refresh_token&client_id=own%20id"));
    assert!(asked[1].contains("token=access-1&token_type_hint=access_token"));
    let echo = document(400, &json!({ "error": "bad", "error_description": "not <given-value>" }));
    let other = Server::new(|_| BTreeMap::from([("/revoke", echo)]));
    let client = Client { id: "own id".to_owned(), proof: Proof::Post(Key::Given("given-value".to_owned())) };
    let there = Login { revocation: Some(other.url("/revoke")), client, ..login.clone() };
    assert!(logins.revoke(&other.tools(), &there).await.unwrap_err().ends_with("answered 400"));
    let nowhere = Login { revocation: None, ..login };
    assert!(
        logins.revoke(&server.tools(), &nowhere).await.unwrap_err().contains("no place where tokens are given back")
    );
}

/// A call, as the protocol's own client makes it, and why it has no answer; with what is known of it then.
async fn called(held: &Held, credential: CredentialOf) -> (Option<String>, bool) {
    let way = Way { network: Network::default(), credential, pass: Some(held.pass.clone()) };
    let remote = Remote::new(held.server.tools(), way, Arc::default());
    let _open = remote.open(Instant::now() + Duration::from_secs(60), &Arc::default());
    let call = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"t"}}"#;
    let message: ClientJsonRpcMessage = serde_json::from_str(call).unwrap();
    let sent = remote.post_message("".into(), message, Some("s1".into()), None, HashMap::new()).await;
    assert_eq!(sent.is_ok(), remote.why().is_none());
    (remote.why(), remote.is_undone())
}

fn nothing_bound() -> CredentialOf {
    Arc::new(|_| Ok(None))
}

#[tokio::test]
async fn what_a_server_refused_for_want_of_a_token_is_sent_again_once_and_was_not_done() {
    let good = document(200, &json!({ "jsonrpc": "2.0", "id": 7, "result": { "content": [] } }));
    let held = Held::behind(&[status(401, ""), good.clone()], rotating, Memory::default());
    assert_eq!(called(&held, nothing_bound()).await, (None, false));
    let asked = held.server.asked("/mcp");
    assert!(asked[0].contains("authorization: Bearer access-0\r\n") && asked[1].contains("Bearer access-1\r\n"));
    assert_eq!((asked.len(), held.server.asked("/token").len()), (2, 1));
    // A server that takes none at all is not asked for ever.
    let held = Held::behind(&[status(401, "")], rotating, Memory::default());
    let (why, is_undone) = called(&held, nothing_bound()).await;
    assert_eq!(why.unwrap(), "it answered 401: it does not take the login; `backstay mcp login far`");
    assert!(is_undone);
    assert_eq!((held.server.asked("/mcp").len(), held.server.asked("/token").len()), (2, 1));
    // Where nobody is logged in it is asked once.
    *held.memory.login.lock().unwrap() = None;
    let (why, is_undone) = called(&held, nothing_bound()).await;
    assert!(why.unwrap().contains("it wants to know who asks; `backstay mcp login far`, or `backstay secrets set`"));
    assert!(is_undone && held.server.asked("/mcp").len() == 3);
    // Of whatever else nobody knows what was done before.
    let held = Held::behind(&[status(500, "")], rotating, Memory::default());
    assert!(!called(&held, nothing_bound()).await.1);
}

/// What it says is put into a command that a person may run.
#[tokio::test]
async fn scopes_that_a_server_wants_are_named_beside_those_there_are_and_only_if_they_are_plain() {
    for (header, more) in [
        ("error=\"insufficient_scope\", scope=\"b:write a x;rm $(id) `id` 'q' c/*\"", " --scope 'a b:write c/*'"),
        ("error=\"insufficient_scope\"", " --scope 'a'"),
    ] {
        let no = status(403, &format!("www-authenticate: Bearer {header}\r\n"));
        let held = Held::behind(&[no], rotating, Memory::default());
        let (why, is_undone) = called(&held, nothing_bound()).await;
        let wanted = format!("it answered 403: it wants more than its login allows; `backstay mcp login far{more}`");
        assert_eq!((why.unwrap(), is_undone), (wanted, true));
        assert!(held.server.asked("/token").is_empty(), "nobody but a person asks for more");
    }
}

#[tokio::test]
async fn a_login_and_a_bound_secret_are_not_both_sent_and_nothing_is_renewed_for_nobody() {
    let held = Held::behind(&[status(200, "")], rotating, Memory::default());
    let bound: CredentialOf = Arc::new(|_| {
        let value = HeaderValue::from_static("Bearer bound");
        Ok(Some(Credential {
            secret: "crm".to_owned(),
            header: AUTHORIZATION,
            value,
            here: true,
            took: Took::default(),
        }))
    });
    let (why, is_undone) = called(&held, bound).await;
    assert_eq!(why.unwrap(), "the secret `crm` and the login `mcp.far` are both for this; nothing was sent");
    assert!(is_undone && held.server.asked("/mcp").is_empty());
    held.at(200);
    let way = Way { network: Network::default(), credential: nothing_bound(), pass: Some(held.pass.clone()) };
    let remote = Remote::new(held.server.tools(), way, Arc::default());
    let asked = remote.ask(Method::Post, &HeaderMap::new(), Bytes::new()).await;
    assert_eq!(asked.err().unwrap().why, "nobody waits for it");
    assert!(held.server.asked("/token").is_empty());
}
