//! The simulated world: development only, never part of the product.
pub mod explorer;
