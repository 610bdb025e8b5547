//! An authority of one call's own: it vouches for the hosts that the call may reach, for as long as the call may
//! take, and for nothing else. Its key never leaves this process's memory.
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use backstay_kernel::destination::HostGrant;
use backstay_kernel::url::Host;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CidrSubnet, DistinguishedName, DnType, Error,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyPair, KeyUsagePurpose, NameConstraints, SanType,
};
use tokio_rustls::rustls::crypto::ring::{default_provider, sign::any_ecdsa_type};
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::{ServerConfig, sign::CertifiedKey};

/// A certificate is good from a little before now: two clocks may differ.
const BEFORE: Duration = Duration::from_secs(60);

pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    until: SystemTime,
}

impl Authority {
    pub fn new(open: &[HostGrant], lifetime: Duration) -> Result<Self, Error> {
        let until = SystemTime::now() + lifetime;
        let mut params = params("Backstay, for one command", until);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        params.name_constraints = Some(constraints(open));
        Ok(Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate()?)?, until })
    }

    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A server's side of TLS for this host, and for whoever names it.
    pub fn server(&self, host: &Host) -> Result<ServerConfig, String> {
        let failed = |error: &dyn std::fmt::Display| format!("no certificate for `{}`: {error}", host.as_str());
        let key = KeyPair::generate().map_err(|error| failed(&error))?;
        let mut params = params(host.as_str(), self.until);
        params.subject_alt_names = vec![match host.address() {
            Some(address) => SanType::IpAddress(address),
            None => SanType::DnsName(host.as_str().to_owned().try_into().map_err(|error: Error| failed(&error))?),
        }];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer).map_err(|error| failed(&error))?;
        let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let signing = any_ecdsa_type(&der).map_err(|error| failed(&error))?;
        let chain = vec![certificate.der().clone(), self.issuer.der().clone()];
        let only = Only { host: host.clone(), certificate: Arc::new(CertifiedKey::new(chain, signing)) };
        let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_safe_default_protocol_versions().map_err(|error| failed(&error))?;
        let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::new(only));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn params(name: &str, until: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    // A common name has 64 characters at most; what counts stands in the alternative one.
    params.distinguished_name.push(DnType::CommonName, name.chars().take(64).collect::<String>());
    params.not_before = (SystemTime::now() - BEFORE).into();
    params.not_after = until.into();
    params
}

/// A kind of name of which nothing is said may be anything: so each kind is spoken of.
fn constraints(open: &[HostGrant]) -> NameConstraints {
    let (mut permitted, mut excluded) = (Vec::new(), Vec::new());
    let (mut names, mut fours, mut sixes) = (0, 0, 0);
    for grant in open {
        let host = grant.host.strip_prefix("*.").unwrap_or(&grant.host);
        match Host::read(host).and_then(|host| host.address()) {
            None => {
                names += 1;
                permitted.push(GeneralSubtree::DnsName(host.to_owned()));
            }
            Some(address @ IpAddr::V4(_)) => {
                fours += 1;
                permitted.push(GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(address, 32)));
            }
            Some(address @ IpAddr::V6(_)) => {
                sixes += 1;
                permitted.push(GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(address, 128)));
            }
        }
    }
    if names == 0 {
        excluded.push(GeneralSubtree::DnsName(String::new()));
    }
    if fours == 0 {
        excluded.push(GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([0; 4], 0)));
    }
    if sixes == 0 {
        excluded.push(GeneralSubtree::IpAddress(CidrSubnet::from_v6_prefix([0; 16], 0)));
    }
    NameConstraints { permitted_subtrees: permitted, excluded_subtrees: excluded }
}

/// Whoever names another host than the one it said to the proxy is given no certificate.
#[derive(Debug)]
struct Only {
    host: Host,
    certificate: Arc<CertifiedKey>,
}

impl ResolvesServerCert for Only {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let is_host = match hello.server_name() {
            Some(name) => Host::read(name).is_some_and(|name| name == self.host),
            // An address is not named in TLS.
            None => self.host.address().is_some(),
        };
        is_host.then(|| Arc::clone(&self.certificate))
    }
}
