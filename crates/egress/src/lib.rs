//! The one way out of the process, but for model APIs: a request of a tool goes to the host that was judged,
//! at an address that was checked, and nowhere else; a command goes through the [`proxy`], held to the same.
//!
//! For tools there is no pool, no cookie, no proxy of the environment and no redirect: one call is one connection, on a
//! runtime of its own that ends with it.

pub mod address;
mod count;
mod dial;
mod headers;
mod limits;
mod page;
pub mod proxy;
mod request;

#[cfg(test)]
mod tests;

pub use dial::{BadAuthority, Network};
pub use headers::{BadHeader, chosen};
pub use limits::{BODY_BYTES_MAX, WHOLE_MS};
pub use page::text_of_html;
pub use request::{Answer, Ask, Coming, Credential, Fault, Made, Piece, Reached, Took};
