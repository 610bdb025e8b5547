//! The doors over a real engine and a real journal, with a model that the test directs.
mod access;
mod house;
mod listeners;
mod openai;
mod people;
mod sessions;
mod streams;
