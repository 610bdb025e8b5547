//! The client against a server that plays recorded answers, whole, cut, late and wrong.

mod deliveries;
mod faults;
mod recorded;
mod replies;
mod server;
