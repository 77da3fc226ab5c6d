//! HTTP/1.1 as bytes: heads and the framing of bodies, read strictly and written anew.
//!
//! Why not hyper's server, which the rest of svinit uses: it hides what a gateway must refuse. Lines that end with a bare LF, and a
//! Content-Length beside a Transfer-Encoding, are gone by the time a handler sees the request. What is read here is pure:
//! bytes in, a [`head::Head`] or a reason out.

pub mod body;
pub mod head;
pub mod intake;
