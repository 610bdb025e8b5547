//! The one integration-test binary of the kernel. Everything is driven through `harness`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test that meets what it does not expect stops there"
)]
mod arrows;
mod asks;
mod backoff;
mod counted;
mod edits;
mod fields;
mod flow;
mod git;
mod golden;
mod harness;
mod known;
mod labels;
mod laws;
mod limits;
mod modes;
mod people;
mod provenance;
mod reached;
mod recovery;
mod reuse;
mod roots;
mod rules;
mod scope;
mod standing;
mod urls;
mod words;
