//! The client against a server that plays recorded answers, whole, cut, late and wrong.

mod faults;
mod recorded;
mod replies;
mod server;
