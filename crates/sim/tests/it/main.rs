//! The one integration-test binary of the simulated world.
mod explorer;
