//! The one integration-test binary of the simulated world.
#![allow(clippy::panic, reason = "a test that meets what it does not expect stops there")]
mod explorer;
