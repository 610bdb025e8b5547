//! Logins at servers of tools (OAuth 2.1, as the protocol's authorization has it, revision 2025-11-25). Finding out
//! where to log in, and asking a person to, is the command line's; the runtime renews what it was given, where it was
//! given it, and nothing else.
mod bounds;
mod challenge;
mod discover;
mod grant;
mod logins;
mod token;

#[cfg(test)]
mod tests;

pub use bounds::Bounds;
pub use challenge::{Challenge, scopes};
pub use discover::{Found, discover, is_same, origin};
pub use grant::{Drawn, NoClient, Redemption, Registered, Returned, address, client, returned};
pub(crate) use logins::locked;
pub use logins::{Keeper, Login, Logins, Made, Pass, Token, secret_of, server_of};
pub use token::{Client, Key, Proof};
