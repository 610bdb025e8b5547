//! The simulated world, and the world under direction of the engine's and the doors' own tests:
//! development only, never part of the product.
pub mod commands;
pub mod configs;
pub mod dice;
pub mod disk;
pub mod explorer;
pub mod heads;
pub mod life;
pub mod setting;
pub mod stage;
pub mod urls;
pub mod wire;
pub mod words;
pub mod world;
