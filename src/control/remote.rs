//! The control API over TCP, for a manager in another container: the same routes, opened by a token.
//!
//! The kernel does not say who is at the other end, so every request has to show the token; one that does not is
//! answered 403 and its connection ends. It has seats of its own: strangers on the network cannot keep `svctl` out.

use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, ORIGIN};
use hyper::service::{Service, service_fn};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};

use crate::control::peer::{Access, Who};
use crate::control::refusal::Refused;
use crate::control::routes::app;
use crate::control::server::{LIMITS, Seats, Visitor, canned, go_on};
use crate::http::door::{self, Pause};
use crate::net::token::Token;
use crate::runtime::clients::{Clients, Door, Rejoined, Watched, Wire};
use crate::runtime::handle::Handle;

/// Serves until it is dropped.
pub async fn serve(listener: TcpListener, handle: Handle, token: Token, rejoined: Vec<Rejoined>) {
    let app = app(handle.clone());
    let seats = Seats::default();
    let token = Arc::new(token);
    let clients = handle.clients().clone();
    for Rejoined { fd, answer, .. } in rejoined {
        let stream = TcpStream::from_std(std::net::TcpStream::from(fd));
        match (stream, answer) {
            (Ok(stream), Some(answer)) => go_on(stream, Door::Remote, answer, &handle, seats.take(None)),
            (Ok(stream), None) => receive(stream, &app, &seats, &token, &clients),
            // It is none, and nothing is lost with it.
            (Err(_), _) => {}
        }
    }
    let mut pause = Pause::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) if !door::leaves_room(&stream) => {
                drop(stream);
                pause.after("the control listener", &door::few_are_left()).await;
            }
            Ok((stream, _)) => {
                pause.over("the control listener");
                receive(stream, &app, &seats, &token, &clients);
            }
            Err(error) => pause.after("the control listener", &error).await,
        }
    }
}

fn receive(stream: TcpStream, app: &Router, seats: &Seats, token: &Arc<Token>, clients: &Clients) {
    let Ok(address) = stream.peer_addr() else {
        // It was gone before it could be looked at.
        return;
    };
    let Some(seat) = seats.take(Some(number(address.ip()))) else {
        let refused = Refused::busy("there are too many connections; close some, or try again");
        let _ = stream.try_write(canned(&refused.refusal).as_bytes());
        return;
    };
    // An answer is one write, and who asked waits for it.
    let _ = stream.set_nodelay(true);
    let plugged = clients.plug(stream.as_raw_fd(), Door::Remote);
    let visited =
        visit(stream, app.clone(), Who::Remote(address), Arc::clone(token), Arc::clone(&plugged.wire));
    tokio::spawn(async move {
        visited.await;
        drop(plugged);
        drop(seat);
    });
}

/// Addresses are counted as users are at the socket; of IPv6 a whole network is one.
fn number(address: IpAddr) -> u32 {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_bits(),
        IpAddr::V6(address) => {
            let half = address.segments();
            (u32::from(half[0]) ^ u32::from(half[2])) << 16 | u32::from(half[1] ^ half[3])
        }
    }
}

async fn visit(stream: TcpStream, app: Router, who: Who, token: Arc<Token>, wire: Arc<Wire>) {
    let app = TowerToHyperService::new(app);
    let stream = Watched::new(stream, Arc::clone(&wire));
    let service = service_fn(move |request: Request<Incoming>| {
        let admitted = admit(&request, &token);
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Visitor { who, admitted });
        request.extensions_mut().insert(Arc::clone(&wire));
        let (answer, wire) = (app.call(request), Arc::clone(&wire));
        async move {
            let answer = answer.await;
            wire.is_about_to_be_answered();
            answer
        }
    });
    door::connection(stream, service, LIMITS).await;
}

/// Whoever holds the token may do everything. A browser has no business here: one that shows an origin is refused even
/// with the token, so that no page can use a token that a person has put into it.
fn admit<B>(request: &Request<B>, token: &Token) -> Result<Access, String> {
    if request.headers().contains_key(ORIGIN) {
        return Err("this is not for browsers".to_owned());
    }
    let mut shown = request.headers().get_all(AUTHORIZATION).iter();
    match (shown.next(), shown.next()) {
        (Some(header), None) if token.is_in(header.as_bytes()) => Ok(Access::Operate),
        (None, _) => Err("show the token: \"Authorization: Bearer TOKEN\" ([control] token_file)".to_owned()),
        (Some(_), _) => Err("this is not the token of this svinit".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::admit;
    use crate::control::peer::Access;
    use crate::net::token::Token;

    #[test]
    fn one_header_with_the_token_opens_and_nothing_else() {
        let token = Token::new("0123456789abcdef").unwrap();
        let asked = |headers: &[(&str, &str)]| {
            let mut request = Request::get("/v1/units");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            admit(&request.body(()).unwrap(), &token)
        };
        let right = ("authorization", "Bearer 0123456789abcdef");
        assert_eq!(asked(&[right]), Ok(Access::Operate));
        assert!(asked(&[]).unwrap_err().contains("token_file"));
        for wrong in [
            &[("authorization", "Bearer 0123456789abcdee")][..],
            &[("authorization", "Basic 0123456789abcdef")],
            &[right, right],
            &[("x-authorization", "Bearer 0123456789abcdef")],
            &[right, ("origin", "http://localhost")],
        ] {
            let why = asked(wrong).unwrap_err();
            assert!(!why.contains("0123456789abcde"), "{why}");
        }
    }
}
