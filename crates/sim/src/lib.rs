//! The simulated world: development only, never part of the product.
pub mod dice;
pub mod disk;
pub mod explorer;
pub mod life;
pub mod world;
