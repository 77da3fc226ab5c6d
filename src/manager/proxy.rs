//! One connection of a client, request by request: filter, route, instance, answer.
//!
//! The order of the steps is that of `docs/manager.md`. What is easy to get wrong: a request is tried again only when no service can
//! have acted on it, and a client that goes away is never held against an instance.

use std::borrow::Cow;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::manager::access::Record;
use crate::manager::client::{Arrival, Client};
use crate::manager::config::spec::{HashOn, Route};
use crate::manager::cors;
use crate::manager::fault::{Again, Fault, Whose, reason};
use crate::manager::filter::{Admitted, Refused, admit};
use crate::manager::gateway::{Gateway, Running};
use crate::manager::headers::{self, Asker, line};
use crate::manager::probe::words;
use crate::manager::relay::{self, Answer, Broken, NoAnswer};
use crate::manager::router::rewritten;
use crate::manager::service::{Live, Place, TurnedAway, count};
use crate::manager::traffic::Traffic;
use crate::manager::upgrade::{Moved, Tunnel};
use crate::manager::upload::{Ended, Patience, Upload, gone};
use crate::manager::upstream::{Outcome, hash, mark};
use crate::manager::wire::body::{Framing, Rewrite};
use crate::manager::wire::head::Head;
use crate::manager::wire::intake::{Intake, within, write_all};

/// What is told when no connection could be made.
const UNREACHED: &str = "the service cannot be reached";

/// Preliminary answers to one request; a service that sends more is broken.
const PRELIMINARY_MAX: usize = 16;

/// What follows a request.
enum Next {
    /// Another request.
    Another,
    /// The end.
    Close,
    /// The end, once the client has read what it was sent.
    Linger,
    /// The connection belongs to another protocol from here on.
    Switched,
}

/// Serves one connection until it ends.
pub async fn serve(gateway: Arc<Gateway>, stream: TcpStream, peer: SocketAddr, port: u16) {
    let mut leaving = gateway.leaving();
    let mut client = Client::new(stream, peer, port);
    let mut is_first = true;
    loop {
        let running = gateway.running();
        match client.arrival(&running, is_first, &mut leaving).await {
            Arrival::Nothing => break,
            Arrival::Wrong(refused) => {
                let mut exchange = Exchange::new(&gateway, running, &client);
                exchange.refuse(&mut client, &refused).await;
                exchange.tell();
                client.linger().await;
                break;
            }
            Arrival::Head(length) => {
                let mut exchange = Exchange::new(&gateway, running, &client);
                let next = exchange.run(client, length, &mut leaving).await;
                exchange.tell();
                match next {
                    (Next::Another, Some(back)) => client = back,
                    (Next::Linger, Some(mut back)) => {
                        back.linger().await;
                        break;
                    }
                    (Next::Close | Next::Switched | Next::Another | Next::Linger, _) => break,
                }
            }
        }
        is_first = false;
    }
}

/// One request and its answer.
struct Exchange<'a> {
    gateway: &'a Gateway,
    running: Arc<Running>,
    began: Instant,
    record: Record,
    live: Option<Arc<Live>>,
    traffic: Option<Arc<Mutex<Traffic>>>,
    origin: Option<Vec<u8>>,
    keeps_alive: bool,
    minor: u8,
    is_head: bool,
}

/// Why one attempt to get an answer did not bring one.
enum Missed {
    /// Nothing was sent: any request can be tried again.
    Unsent(String),
    /// It was sent, and nothing came back.
    Unanswered(String),
    /// Something came back that is no answer.
    Wrong(String),
    /// Nothing came back in time.
    Late,
    /// The client is to blame, or gone.
    Client(Ended),
}

/// An answer whose head has come, and where the rest comes from.
struct Begun {
    answer: Answer,
    stream: TcpStream,
    intake: Intake,
    upload: Upload,
    place: Place,
}

impl<'a> Exchange<'a> {
    fn new(gateway: &'a Gateway, running: Arc<Running>, client: &Client) -> Self {
        Self {
            gateway,
            running,
            began: Instant::now(),
            record: Record { client: Some(client.peer.ip().to_canonical()), ..Record::default() },
            live: None,
            traffic: None,
            origin: None,
            keeps_alive: false,
            minor: 1,
            is_head: false,
        }
    }

    fn tell(&mut self) {
        self.record.took = self.began.elapsed();
        self.gateway.tally(&self.record, self.traffic.as_deref());
        if let Some(live) = &self.live {
            count(&live.tally.requests);
            if self.record.status == 499 {
                count(&live.tally.abandoned);
            }
        }
        self.record.tell(self.running.config.access_log, &self.gateway.journal);
    }

    /// Answers the request whose head has come. The client comes back if its connection is still one of ours.
    async fn run(
        &mut self,
        mut client: Client,
        length: usize,
        leaving: &mut watch::Receiver<bool>,
    ) -> (Next, Option<Client>) {
        client.intake.take(length);
        let admitted = match admit(&client.head) {
            Ok(admitted) => admitted,
            Err(refused) => {
                self.refuse(&mut client, &refused).await;
                return (Next::Linger, Some(client));
            }
        };
        let trusted = &self.running.config.trusted_proxies;
        let asker = Asker::of(&client.head, &admitted, client.peer.ip(), client.port, trusted, || {
            self.gateway.new_id()
        });
        let method = client.head.slice(&admitted.method).to_vec();
        self.note(&client.head, &admitted, &asker, &method);
        if let Some(cors) = &self.running.config.cors
            && cors::is_preflight(&method, &client.head)
        {
            let mut lines = Vec::new();
            cors.preflight(&client.head, &mut lines);
            let next = self.answer_own(&mut client, 204, lines, &[], &admitted).await;
            return (next, Some(client));
        }
        let running = self.running.clone();
        let Some(route) = running.router.find(&admitted.host, &admitted.path) else {
            let fault = Fault::client(404, "no route leads from here to a service");
            return self.fail(client, &fault, &admitted).await;
        };
        self.traffic = running.traffic(route);
        let Some(live) = self.gateway.services.get(&route.service) else {
            // The configuration was read anew this moment.
            let fault = Fault::ourselves(503, "the service is about to change");
            return self.fail(client, &fault, &admitted).await;
        };
        self.record.service.clone_from(&route.service);
        self.live = Some(live.clone());
        let limit = route.body_size.unwrap_or(running.config.limits.body_size);
        if let Framing::Length(length) = admitted.framing
            && limit > 0
            && length > limit
        {
            let fault = Fault::client(413, "its body is too large");
            return self.fail(client, &fault, &admitted).await;
        }
        let upgrade = admitted
            .upgrade
            .as_deref()
            .filter(|wanted| live.spec().upgrade.iter().any(|known| known == wanted));
        if upgrade.is_some()
            && let Some(cors) = &running.config.cors
            && !cors.allows_upgrade(client.head.get("origin"), &admitted.authority)
        {
            let fault = Fault::client(403, "pages of this origin may not connect here");
            return self.fail(client, &fault, &admitted).await;
        }
        match self.begin(&mut client, &live, route, &admitted, &asker, upgrade, limit).await {
            Ok(begun) => self.finish(client, begun, &live, upgrade, leaving).await,
            Err(None) => {
                self.record.status = 499;
                (Next::Close, None)
            }
            Err(Some(fault)) => self.fail(client, &fault, &admitted).await,
        }
    }

    fn note(&mut self, head: &Head, admitted: &Admitted, asker: &Asker, method: &[u8]) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        self.minor = admitted.minor;
        self.is_head = method == b"HEAD";
        self.keeps_alive = admitted.keeps_alive;
        self.origin = head.get("origin").map(<[u8]>::to_vec);
        self.record.client = Some(asker.client);
        self.record.method = text(method);
        self.record.host.clone_from(&admitted.host);
        self.record.target = format!("{}{}", admitted.path, admitted.query);
        self.record.id.clone_from(&asker.id);
        self.record.agent = head.get("user-agent").map(text).unwrap_or_default();
    }

    /// Gets the head of an answer from an instance, from another one where that is safe, waiting for one if it must.
    /// Without a fault the client has gone away.
    #[expect(clippy::too_many_arguments, reason = "all that is known about one request")]
    async fn begin(
        &mut self,
        client: &mut Client,
        live: &Arc<Live>,
        route: &Route,
        admitted: &Admitted,
        asker: &Asker,
        upgrade: Option<&str>,
        limit: u64,
    ) -> Result<Begun, Option<Fault>> {
        let spec = live.spec();
        let path = rewritten(route, &admitted.path);
        let mut head = Vec::with_capacity(1024);
        headers::request(&mut head, &client.head, admitted, asker, &path, &spec.name, upgrade);
        let key = self.key(&spec.hash_on, &client.head, admitted, asker);
        let wanted = spec
            .sticky
            .as_ref()
            .and_then(|name| cookie(&client.head, name))
            .and_then(|value| u64::from_str_radix(&value, 16).ok());
        let is_idempotent =
            matches!(client.head.slice(&admitted.method), b"GET" | b"HEAD" | b"OPTIONS" | b"PUT" | b"DELETE");
        let mut tried: Vec<SocketAddr> = Vec::new();
        let mut until = None;
        let mut tries = 0;
        let mut continued = !admitted.expects_continue;
        loop {
            let place = {
                let waited = Instant::now();
                let (mut client_in, _) = client.stream.split();
                let place = tokio::select! {
                    place = live.admit(key, wanted, &tried, &mut until) => place,
                    _ = gone(&mut client_in) => return Err(None),
                };
                if until.is_some() {
                    self.record.parked += waited.elapsed();
                }
                place
            };
            let place = place.map_err(|why| Some(turned_away(why)))?;
            let at = place.at;
            self.record.instance = Some(at);
            // Has it to be a new connection? Not when the request can be repeated.
            let upload = Upload::new(head.clone(), admitted.framing, limit);
            let timeout = route.response_timeout.unwrap_or(spec.response_timeout);
            let can_repeat = is_idempotent && upload.is_read();
            let attempt = self
                .attempt(client, live, place, upload, can_repeat, timeout, upgrade.is_some(), &mut continued)
                .await;
            let (missed, has_begun, was_kept) = match attempt {
                Ok(begun) => return Ok(begun),
                Err(missed) => missed,
            };
            let (fault, is_safe) = match missed {
                Missed::Client(Ended::Gone) => return Err(None),
                Missed::Client(ended) => return Err(Some(blamed(&ended))),
                Missed::Unsent(why) => {
                    live.answered(at, Outcome::NoConnection(format!("no connection: {why}")));
                    (Fault::upstream(502, UNREACHED, why, Again::Safe), true)
                }
                Missed::Unanswered(why) => {
                    // A kept connection that ends was closed before we knew, as all others that were kept may be; that says
                    // nothing about the instance.
                    if was_kept {
                        live.forget(at);
                    } else {
                        live.answered(at, Outcome::Bad(why.clone()));
                    }
                    let again = if is_idempotent { Again::Safe } else { Again::Unknown };
                    (Fault::upstream(502, "the service did not answer", why, again), is_idempotent)
                }
                Missed::Wrong(why) => {
                    live.answered(at, Outcome::Bad(why.clone()));
                    (Fault::upstream(502, "the service did not answer in HTTP", why, Again::Unknown), false)
                }
                Missed::Late => {
                    live.answered(at, Outcome::Bad("no answer in time".to_owned()));
                    (
                        Fault::upstream(
                            504,
                            "the service did not answer in time",
                            "no answer in time",
                            Again::Unknown,
                        ),
                        false,
                    )
                }
            };
            if !is_safe || has_begun {
                return Err(Some(fault));
            }
            // Whoever found nobody there may try for as long as others wait, and a connection that was stale is no try.
            let is_unsent = fault.detail == UNREACHED;
            let may_wait = is_unsent && spec.park.max_requests > 0;
            if may_wait {
                let until = *until.get_or_insert_with(|| Instant::now() + spec.park.timeout);
                if Instant::now() >= until {
                    return Err(Some(fault));
                }
            } else if !was_kept {
                tries += 1;
                if tries > spec.retries {
                    return Err(Some(fault));
                }
            }
            self.record.retries += 1;
            count(&live.tally.retried);
            tried.push(at);
        }
    }

    /// One attempt. With what was missed comes whether some of the body is gone, and whether the connection had been kept.
    #[expect(clippy::too_many_arguments, reason = "all that is known about one attempt")]
    async fn attempt(
        &mut self,
        client: &mut Client,
        live: &Arc<Live>,
        place: Place,
        mut upload: Upload,
        can_repeat: bool,
        timeout: Duration,
        is_upgrade: bool,
        continued: &mut bool,
    ) -> Result<Begun, (Missed, bool, bool)> {
        let spec = live.spec();
        let kept = if is_upgrade { None } else { live.take_idle(place.at, can_repeat) };
        let was_kept = kept.is_some();
        let mut stream = match kept {
            Some(stream) => stream,
            None => {
                let dialled = within(spec.connect_timeout, TcpStream::connect(place.at)).await;
                let stream = dialled.map_err(|error| (Missed::Unsent(words(&error)), false, false))?;
                // Small answers must not wait for the next one.
                let _ = stream.set_nodelay(true);
                stream
            }
        };
        let patience = Patience { client: self.running.config.timeouts.client, service: spec.idle_timeout };
        let mut intake = Intake::default();
        let mut answer = Answer::default();
        let size_max = self.running.config.limits.response_header_size;
        let (mut service_in, mut service_out) = stream.split();
        let (mut client_in, mut client_out) = client.stream.split();
        if !*continued {
            *continued = true;
            if client.intake.unread().is_empty()
                && write_all(&mut client_out, b"HTTP/1.1 100 Continue\r\n\r\n", patience.client)
                    .await
                    .is_err()
            {
                return Err((Missed::Client(Ended::Gone), true, was_kept));
            }
        }
        let mut late = Instant::now() + timeout;
        let mut preliminary = 0;
        let mut is_broken: Option<String> = None;
        let missed = loop {
            let asleep = async {
                if timeout.is_zero() {
                    std::future::pending::<()>().await;
                } else {
                    tokio::time::sleep_until(late).await;
                }
            };
            let read = answer.read(&mut intake, &mut service_in, self.is_head, size_max);
            let send = upload.run(&mut client.intake, &mut client_in, &mut service_out, patience);
            tokio::select! {
                biased;
                read = read => match read {
                    Ok(()) if answer.status == 101 && is_upgrade => break None,
                    Ok(()) if answer.status == 101 => break Some(Missed::Wrong("it switched protocols unasked".to_owned())),
                    Ok(()) if answer.status < 200 => {
                        preliminary += 1;
                        if preliminary > PRELIMINARY_MAX {
                            break Some(Missed::Wrong("it sends preliminary answers without end".to_owned()));
                        }
                        if answer.status != 100 && self.minor == 1 {
                            let mut out = Vec::new();
                            status(&mut out, answer.status, &answer.head);
                            headers::answer(&mut out, &answer.head, false);
                            out.extend_from_slice(b"\r\n");
                            if write_all(&mut client_out, &out, patience.client).await.is_err() {
                                break Some(Missed::Client(Ended::Gone));
                            }
                        }
                    }
                    Ok(()) => break None,
                    Err(NoAnswer::Silent(why)) => break Some(Missed::Unanswered(is_broken.take().unwrap_or(why))),
                    Err(NoAnswer::Wrong(why)) => break Some(Missed::Wrong(why)),
                },
                ended = send, if is_broken.is_none() => match ended {
                    // It may have answered before it stopped reading.
                    Ended::Service(error) => is_broken = Some(words(&error)),
                    ended @ (Ended::Gone | Ended::Slow | Ended::BadChunk | Ended::TooLarge) => {
                        break Some(Missed::Client(ended));
                    }
                },
                () = asleep => {
                    // The time begins when all was sent.
                    let due = upload.sent_at.map_or(Instant::now() + timeout, |sent| sent + timeout);
                    if is_broken.is_some() || due <= Instant::now() {
                        break Some(Missed::Late);
                    }
                    late = due;
                }
            }
        };
        match missed {
            None => Ok(Begun { answer, stream, intake, upload, place }),
            Some(missed) => Err((missed, upload.has_begun, was_kept)),
        }
    }

    /// Passes the answer on.
    async fn finish(
        &mut self,
        mut client: Client,
        begun: Begun,
        live: &Arc<Live>,
        upgrade: Option<&str>,
        leaving: &mut watch::Receiver<bool>,
    ) -> (Next, Option<Client>) {
        let Begun { answer, mut stream, mut intake, mut upload, place } = begun;
        self.record.answered_after = Some(self.began.elapsed());
        self.record.status = answer.status;
        let spec = live.spec();
        let cors = self.running.config.cors.as_ref();
        let mut out = Vec::with_capacity(1024);
        status(&mut out, answer.status, &answer.head);
        headers::answer(&mut out, &answer.head, cors.is_some());
        if let Some(cors) = cors {
            cors.answer(self.origin.as_deref(), &mut out);
        }
        line(&mut out, b"X-Request-Id", self.record.id.as_bytes());
        if let Some(name) = &spec.sticky
            && cookie(&client.head, name).as_deref() != Some(&format!("{:016x}", mark(place.at)))
        {
            // Writing to memory does not fail.
            let _ =
                write!(out, "Set-Cookie: {name}={:016x}; Path=/; HttpOnly; SameSite=Lax\r\n", mark(place.at));
        }
        if answer.status == 101
            && let Some(protocol) = upgrade
        {
            let _ = write!(out, "Connection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n");
            self.record.upgrade = protocol.to_owned();
            let moved = self.switch(client, (stream, intake), out, live, &place, leaving).await;
            (self.record.received, self.record.sent) = (moved.received, moved.sent);
            return (Next::Switched, None);
        }
        let rewrite = if self.minor == 1 { Rewrite::Chunked } else { Rewrite::Plain };
        match (answer.framing, answer.head.get("content-length")) {
            // What a HEAD would have got, and what an answer without a body says about itself.
            (Framing::None, Some(length)) if answer.status != 204 => {
                line(&mut out, b"Content-Length", length)
            }
            (Framing::Chunked | Framing::Close, _) if rewrite == Rewrite::Plain => self.keeps_alive = false,
            (Framing::Chunked | Framing::Close, _) => headers::frame(&mut out, Framing::Chunked),
            (framing, _) => headers::frame(&mut out, framing),
        }
        if *leaving.borrow() {
            self.keeps_alive = false;
        }
        self.connection(&mut out);
        out.extend_from_slice(b"\r\n");
        let patience = Patience { client: self.running.config.timeouts.client, service: spec.idle_timeout };
        let mut is_sending = true;
        let passed = {
            let (mut service_in, mut service_out) = stream.split();
            let (mut client_in, mut client_out) = client.stream.split();
            let down = relay::body(
                out,
                answer.framing,
                rewrite,
                &mut intake,
                &mut service_in,
                &mut client_out,
                patience,
                &mut self.record.sent,
            );
            let up = upload.run(&mut client.intake, &mut client_in, &mut service_out, patience);
            tokio::pin!(down, up);
            loop {
                tokio::select! {
                    biased;
                    passed = &mut down => break passed,
                    ended = &mut up, if is_sending => match ended {
                        Ended::Service(_) => is_sending = false,
                        Ended::Gone | Ended::Slow | Ended::BadChunk | Ended::TooLarge => break Err(Broken::Client),
                    },
                }
            }
        };
        self.record.received = upload.received;
        match passed {
            Ok(()) => {
                let outcome = if answer.status >= 500 {
                    Outcome::Bad(format!("it answered {}", answer.status))
                } else {
                    Outcome::Good
                };
                live.answered(place.at, outcome);
                let is_whole = upload.sent_at.is_some();
                if answer.keeps_alive && is_whole && intake.unread().is_empty() {
                    live.keep(place.at, stream);
                }
                if !upload.is_read() {
                    return (Next::Linger, Some(client));
                }
                if self.keeps_alive { (Next::Another, Some(client)) } else { (Next::Linger, Some(client)) }
            }
            Err(Broken::Client) => {
                self.record.error = "the client went away".to_owned();
                self.record.status = 499;
                (Next::Close, None)
            }
            Err(Broken::Service(why)) => {
                live.answered(place.at, Outcome::Bad(why.clone()));
                self.record.error = format!("upstream: {why}");
                // The client knows by the missing end.
                (Next::Close, None)
            }
        }
    }

    async fn switch(
        &mut self,
        client: Client,
        service: (TcpStream, Intake),
        out: Vec<u8>,
        live: &Arc<Live>,
        place: &Place,
        leaving: &mut watch::Receiver<bool>,
    ) -> Moved {
        let Client { mut stream, intake, .. } = client;
        if write_all(&mut stream, &out, self.running.config.timeouts.client).await.is_err() {
            return Moved::default();
        }
        live.answered(place.at, Outcome::Good);
        let tunnel = Tunnel {
            client: (stream, intake),
            service,
            is_websocket: self.record.upgrade == "websocket",
            patience: live.spec().upgrade_timeout,
        };
        tunnel.run(live, place, leaving).await
    }

    fn key(&self, on: &HashOn, head: &Head, admitted: &Admitted, asker: &Asker) -> u64 {
        let client = || Cow::Owned(asker.client.to_string().into_bytes());
        let text: Cow<'_, [u8]> = match on {
            HashOn::Client => client(),
            HashOn::Path => Cow::Borrowed(admitted.path.as_bytes()),
            HashOn::Header(name) => head.get(name).map_or_else(client, |value| Cow::Owned(value.to_vec())),
            HashOn::Cookie(name) => {
                cookie(head, name).map_or_else(client, |value| Cow::Owned(value.into_bytes()))
            }
        };
        hash(&text)
    }

    /// Answers what the filter does not let in.
    async fn refuse(&mut self, client: &mut Client, refused: &Refused) {
        if self.record.id.is_empty() {
            self.record.id = self.gateway.new_id();
        }
        if self.origin.is_none() {
            self.origin = client.head.get("origin").map(<[u8]>::to_vec);
        }
        self.keeps_alive = false;
        let fault = Fault::client(refused.status, refused.why.clone());
        self.write_fault(client, &fault).await;
    }

    async fn fail(
        &mut self,
        mut client: Client,
        fault: &Fault,
        admitted: &Admitted,
    ) -> (Next, Option<Client>) {
        // What is left of the body is not the next request.
        if !matches!(admitted.framing, Framing::None | Framing::Length(0)) {
            self.keeps_alive = false;
        }
        self.write_fault(&mut client, fault).await;
        (if self.keeps_alive { Next::Another } else { Next::Linger }, Some(client))
    }

    async fn write_fault(&mut self, client: &mut Client, fault: &Fault) {
        if fault.whose != Whose::Client
            && let Some(live) = &self.live
        {
            count(&live.tally.failed);
        }
        let cause = if fault.cause.is_empty() { &fault.detail } else { &fault.cause };
        self.record.error = format!("{}: {cause}", fault.whose.as_str());
        let (mut lines, mut body) = (Vec::new(), Vec::new());
        fault.write(&self.record.id, &mut lines, &mut body);
        if let Some(cors) = &self.running.config.cors {
            cors.answer(self.origin.as_deref(), &mut lines);
        }
        self.write_own(client, fault.status, &lines, &body).await;
    }

    async fn answer_own(
        &mut self,
        client: &mut Client,
        status: u16,
        lines: Vec<u8>,
        body: &[u8],
        admitted: &Admitted,
    ) -> Next {
        if !matches!(admitted.framing, Framing::None | Framing::Length(0)) {
            self.keeps_alive = false;
        }
        self.write_own(client, status, &lines, body).await;
        if self.keeps_alive { Next::Another } else { Next::Linger }
    }

    async fn write_own(&mut self, client: &mut Client, status: u16, lines: &[u8], body: &[u8]) {
        self.record.status = status;
        let mut out = Vec::with_capacity(512);
        let _ = write!(out, "HTTP/1.1 {status} {}\r\n", reason(status));
        out.extend_from_slice(lines);
        line(&mut out, b"X-Request-Id", self.record.id.as_bytes());
        if status != 204 {
            headers::frame(&mut out, Framing::Length(body.len() as u64));
        }
        self.connection(&mut out);
        out.extend_from_slice(b"\r\n");
        if !self.is_head {
            out.extend_from_slice(body);
            self.record.sent = body.len() as u64;
        }
        let patience = self.running.config.timeouts.client;
        if write_all(&mut client.stream, &out, patience).await.is_err() {
            self.keeps_alive = false;
        }
    }

    /// Says what becomes of the connection, where the version would say otherwise.
    fn connection(&self, out: &mut Vec<u8>) {
        match (self.minor, self.keeps_alive) {
            (1, false) => line(out, b"Connection", b"close"),
            (0, true) => line(out, b"Connection", b"keep-alive"),
            _ => {}
        }
    }
}

fn turned_away(why: TurnedAway) -> Fault {
    let cause = match why {
        TurnedAway::Full => "as many requests as may wait for it are waiting",
        TurnedAway::Late => "no instance could take it in time",
    };
    Fault::upstream(503, "the service is away for a moment", cause, Again::Safe)
}

/// The fault of a client that does not send what it has begun.
fn blamed(ended: &Ended) -> Fault {
    match ended {
        Ended::Gone | Ended::Service(_) => Fault::client(400, "its body does not end"),
        Ended::Slow => Fault::client(408, "its body did not come in time"),
        Ended::BadChunk => Fault::client(400, "its chunks are none"),
        Ended::TooLarge => Fault::client(413, "its body is too large"),
    }
}

/// The status line that a service has sent, its words if there are any.
fn status(out: &mut Vec<u8>, status: u16, head: &Head) {
    // Writing to memory does not fail.
    let _ = write!(out, "HTTP/1.1 {status} ");
    match head.first().get(13..) {
        Some(words) if !words.is_empty() => out.extend_from_slice(words),
        _ => out.extend_from_slice(reason(status).as_bytes()),
    }
    out.extend_from_slice(b"\r\n");
}

/// The value of a cookie.
fn cookie(head: &Head, name: &str) -> Option<String> {
    let mut pairs = head.all("cookie").flat_map(|value| value.split(|byte| *byte == b';'));
    let value = pairs.find_map(|pair| {
        let pair = pair.trim_ascii();
        pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")
    })?;
    Some(String::from_utf8_lossy(value).into_owned())
}
