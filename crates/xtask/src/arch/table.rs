//! The table of crates: who may depend on whom. It stands in ARCHITECTURE.md in words.

pub struct Row {
    pub package: &'static str,
    /// Crates of this workspace that it may depend on, for its tests too.
    pub may_use: &'static [&'static str],
}

const KERNEL: &str = "backstay-kernel";
const SHELL: &str = "backstay-shell";
const STORE: &str = "backstay-store";
const ENGINE: &str = "backstay-engine";
const PROVIDERS: &str = "backstay-providers";
const EGRESS: &str = "backstay-egress";
const SANDBOX: &str = "backstay-sandbox";
const SECRETS: &str = "backstay-secrets";
const MCP: &str = "backstay-mcp";
const TOOLS: &str = "backstay-tools";
const CHANNELS: &str = "backstay-channels";
const CONSOLE: &str = "backstay-console";
pub const APP: &str = "backstay";

/// The product, lowest first.
pub const ROWS: &[Row] = &[
    Row { package: KERNEL, may_use: &[] },
    Row { package: SHELL, may_use: &[KERNEL] },
    Row { package: STORE, may_use: &[KERNEL] },
    Row { package: ENGINE, may_use: &[KERNEL, STORE] },
    Row { package: PROVIDERS, may_use: &[KERNEL] },
    Row { package: EGRESS, may_use: &[KERNEL] },
    Row { package: SANDBOX, may_use: &[] },
    Row { package: SECRETS, may_use: &[] },
    Row { package: MCP, may_use: &[KERNEL, EGRESS, SANDBOX] },
    Row { package: TOOLS, may_use: &[KERNEL, SHELL, EGRESS, SANDBOX, SECRETS, MCP] },
    Row { package: CHANNELS, may_use: &[KERNEL, ENGINE] },
    Row { package: CONSOLE, may_use: &[KERNEL, ENGINE, STORE] },
    Row { package: APP, may_use: &[KERNEL, STORE, ENGINE, PROVIDERS, SANDBOX, SECRETS, MCP, TOOLS, CHANNELS, CONSOLE] },
];

/// They may use anything; the product may use them in tests only.
pub const DEV_ONLY: &[&str] = &["backstay-bench", "backstay-sim", "xtask"];

/// (crate from outside, who alone may name it in its manifest, tests included)
pub const CONFINED: &[(&str, &[&str])] = &[
    ("rusqlite", &[STORE]),
    ("tokio", &[ENGINE, PROVIDERS, EGRESS, MCP, TOOLS, CHANNELS, CONSOLE, APP]),
    // The command line calls the doors' own router where no process serves the home.
    ("axum", &[CHANNELS, CONSOLE, APP]),
    ("reqwest", &[PROVIDERS]),
    // The doors are served by it, and the command line speaks through the local socket by it. Requests to other
    // machines are made by two crates: for models by `reqwest`, for tools by the one that checks addresses.
    ("hyper", &[CHANNELS, EGRESS, APP]),
    ("hyper-util", &[CHANNELS, EGRESS, APP]),
    ("rustls", &[PROVIDERS]),
    ("tokio-rustls", &[EGRESS, CHANNELS]),
    ("webpki-roots", &[PROVIDERS, EGRESS]),
    ("html5gum", &[EGRESS]),
    ("rcgen", &[EGRESS]),
    ("ureq", &[]),
    ("attohttpc", &[]),
    ("isahc", &[]),
    ("curl", &[]),
    ("surf", &[]),
    ("rmcp", &[MCP]),
    ("landlock", &[SANDBOX]),
    ("seccompiler", &[SANDBOX]),
    ("brush-parser", &[SHELL]),
    ("ring", &[SECRETS]),
];

/// Everything that the kernel links, by itself or through another (the last three lines: idna's and unicode-normalization's, serde_json's, sha2's);
/// without std, which `no_std` in the kernel alone would not keep out.
#[rustfmt::skip]
pub const KERNEL_LINKS: &[&str] = &[
    "serde", "serde_core", "serde_json", "sha2", "thiserror",
    "idna", "unicode-normalization",
    "idna_adapter", "smallvec", "utf8_iter", "utf_types", "tinyvec",
    "itoa", "memchr", "zmij",
    "block-buffer", "cfg-if", "cpufeatures", "crypto-common", "digest", "generic-array", "typenum",
];

/// What runs in the compiler for the kernel and is not linked.
pub const KERNEL_MACROS: &[&str] = &["serde_derive", "thiserror-impl", "proc-macro2", "quote", "syn", "unicode-ident"];

/// Locked packages that a build for Linux takes in, this workspace's own included: each is code that somebody has
/// to watch.
pub const PACKAGES_MAX: usize = 300;
