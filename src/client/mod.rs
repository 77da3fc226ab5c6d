//! HTTP/1.1 over the control socket, by hand: one request a connection, blocking, no runtime and no threads.
//!
//! A call costs a connect, a write and a read. Everything that comes back is bounded, because whoever answers at the
//! socket may be anything. Two deadlines must not be confused: how long the supervisor may take to *answer*, and how
//! long a stream may take to *end*; see [`connection::Patience`].

pub mod body;
pub mod connection;
pub mod error;
pub mod head;
pub mod query;
pub mod stream;

#[cfg(test)]
pub(crate) mod server;
#[cfg(test)]
mod tests;
