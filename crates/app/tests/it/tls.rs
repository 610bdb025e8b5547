//! The door over TLS, spoken to by a client of other make: Python's, which is OpenSSL's.
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::place::{Place, Ran, Served};

/// A certificate that vouches for itself, with these extensions, and its key, by their paths.
pub fn certified(place: &Place, name: &str, extensions: &[&str]) -> (PathBuf, PathBuf) {
    let (cert, key) = (place.path(&format!("{name}.pem")), place.path(&format!("{name}.key")));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", &format!("/CN={name}")])
        .args(extensions.iter().flat_map(|extension| ["-addext", extension]))
        .arg("-out")
        .arg(&cert)
        .arg("-keyout")
        .arg(&key)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (cert, key)
}

/// One for this machine, and its key.
fn certificate(place: &Place, name: &str) -> (String, String) {
    let (cert, key) = certified(place, name, &["subjectAltName=IP:127.0.0.1"]);
    (std::fs::read_to_string(cert).unwrap(), std::fs::read_to_string(key).unwrap())
}

/// Puts them where the config says that they are.
fn install(place: &Place, cert: &str, key: &str) {
    let directory = place.home().join("tls");
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("cert.pem"), cert).unwrap();
    std::fs::write(directory.join("key.pem"), key).unwrap();
}

fn secure(place: &Place) {
    let tls = "tls = { cert = \"tls/cert.pem\", key = \"tls/key.pem\" }";
    place.write_config(&place.config().replace("[server]", &format!("[server]\n{tls}")));
}

/// Asks whether the process lives, and believes only this certificate.
fn ask(served: &Served, believed: &Path) -> Ran {
    const CLIENT: &str = "import ssl, sys, urllib.request as r\n\
        c = ssl.create_default_context(cafile=sys.argv[2])\n\
        print(r.urlopen('https://%s/live' % sys.argv[1], context=c, timeout=20).read().decode())";
    Ran::of(&Command::new("python3").args(["-c", CLIENT, &served.listen]).arg(believed).output().unwrap())
}

#[test]
fn a_client_is_served_over_tls_and_a_renewed_certificate_needs_no_restart() {
    let place = Place::with_home();
    let (cert, key) = certificate(&place, "first");
    install(&place, &cert, &key);
    secure(&place);
    let served = place.serve();
    let (first, second) = (place.path("first.pem"), place.path("second.pem"));
    assert_eq!(ask(&served, &first).expect(0).stdout, "{\"live\":true}\n");

    let (renewed, its_key) = certificate(&place, "second");
    // Half a renewal is refused, and the door goes on with what it has.
    install(&place, &renewed, &key);
    let refused = place.run(&["reload"]);
    refused.expect(2);
    assert!(refused.stderr.contains("server.tls") && refused.stderr.contains("cert.pem"), "{}", refused.stderr);
    ask(&served, &first).expect(0);

    install(&place, &renewed, &its_key);
    assert_eq!(place.run(&["reload", "--json"]).json(0)["changed"], false, "the config is the same");
    assert_eq!(ask(&served, &second).expect(0).stdout, "{\"live\":true}\n");
    assert!(ask(&served, &first).stderr.contains("CERTIFICATE_VERIFY_FAILED"));
}

#[test]
fn files_that_are_no_certificate_or_no_key_keep_the_door_shut_and_are_named() {
    let place = Place::with_home();
    let (cert, key) = certificate(&place, "first");
    let (_, other) = certificate(&place, "other");
    install(&place, &cert, &key);
    secure(&place);
    for (cert, key, named) in [
        (cert.as_str(), "no key", "key.pem"),
        ("no certificate", key.as_str(), "cert.pem"),
        ("", key.as_str(), "cert.pem"),
        (cert.as_str(), "", "key.pem"),
        (cert.as_str(), other.as_str(), "cert.pem"),
    ] {
        install(&place, cert, key);
        let error = place.run(&["serve", "--json"]).error(2);
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("server.tls") && message.contains(named), "{message}");
        assert!(!message.contains("PRIVATE KEY"), "{message}");
    }
}

#[test]
fn a_reload_names_the_keys_that_need_a_restart() {
    let place = Place::with_home();
    let _served = place.serve();
    let config = place.config();
    place.write_config(&config.replace("[server]", "[server]\ntrusted_proxies = [\"10.0.0.1\"]"));
    let told = place.run(&["reload", "--json"]).json(0);
    assert_eq!((&told["changed"], &told["needs_restart"][0]), (&true.into(), &"server.trusted_proxies".into()));
    place.write_config(&config);
    assert_eq!(place.run(&["reload", "--json"]).json(0)["needs_restart"].as_array().unwrap().len(), 0);
}
