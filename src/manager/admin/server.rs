//! The listener itself: who comes in, how many, and for how long.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper::service::service_fn;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::sync::watch;

use crate::http::door::Limits;
use crate::http::door::Pause;
use crate::http::door::connection;
use crate::manager::admin::door;
use crate::manager::admin::routes::Visitor;
use crate::manager::admin::routes::app_of;
use crate::manager::admin::routes::closing;
use crate::manager::config::spec::Admin;
use crate::manager::gateway::Gateway;
use crate::manager::journal::Journal;
use crate::manager::listener::Given;
use crate::manager::news::News;
use crate::manager::reach::engine::Engine;
use crate::manager::repair::Asks;
use crate::net::token::Token;
use crate::os::credentials;

/// Connections at a time, streams among them. Further ones wait in the kernel's backlog.
const CONNECTIONS_MAX: usize = 64;

const LIMITS: Limits = Limits { head_timeout: Duration::from_secs(5), head_bytes: 16 << 10, headers: 64 };

/// An open listener that is not served yet.
pub struct Listening {
    listener: TcpListener,
    lock: Lock,
}

/// What opens the listener: a token, or nothing. When another one is put in, or the lock is dropped, every connection that was let
/// in by the one before is closed.
pub struct Lock(watch::Sender<Arc<Option<Token>>>);

impl Lock {
    fn new(token: Option<Token>) -> Self {
        Self(watch::Sender::new(Arc::new(token)))
    }

    /// Another token counts from now on; the same one changes nothing.
    pub fn change(&self, token: Option<Token>) {
        self.0.send_if_modified(|own| {
            let is_same = match (own.as_ref(), &token) {
                (Some(own), Some(token)) => own.is_same(token),
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            };
            if !is_same {
                *own = Arc::new(token);
            }
            !is_same
        });
    }
}

impl Listening {
    /// Opens what `admin` says, or takes what was held for it; `None`: it is off.
    ///
    /// # Errors
    /// It cannot be listened on, or its token cannot be had.
    pub fn open(admin: &Admin, given: &mut Given) -> Result<Option<Self>, String> {
        let Some(at) = admin.listen else { return Ok(None) };
        let token = token_of(admin)?;
        let listener = given.listener(at)?;
        Ok(Some(Self { listener, lock: Lock::new(token) }))
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }

    /// The lock, and what serves for ever.
    pub fn serve(
        self,
        gateway: Arc<Gateway>,
        engine: Arc<Engine>,
        asks: Asks,
        news: News,
    ) -> (Lock, impl Future<Output = ()> + Send + use<>) {
        let journal = gateway.journal.clone();
        let app = app_of(gateway, engine, asks, news);
        let key = self.lock.0.subscribe();
        (self.lock, accept(self.listener, key, app, journal))
    }
}

async fn accept(
    listener: TcpListener,
    key: watch::Receiver<Arc<Option<Token>>>,
    app: Router,
    journal: Journal,
) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut pause = Pause::default();
    while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, peer)) => {
                pause.over("the admin listener");
                let mut key = key.clone();
                let token = Arc::clone(&key.borrow_and_update());
                let visited = visit(stream, peer, app.clone(), token, journal.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        () = visited => {}
                        _ = key.changed() => {}
                    }
                    drop(slot);
                });
            }
            Err(error) => pause.after("the admin listener", &error).await,
        }
    }
}

/// The token that `admin` names, if it names one.
///
/// # Errors
/// It cannot be read, or is none.
pub fn token_of(admin: &Admin) -> Result<Option<Token>, String> {
    admin.token_file.as_deref().map(token).transpose()
}

/// The token in this file.
///
/// # Errors
/// It cannot be read, or is none.
pub fn token(path: &Path) -> Result<Token, String> {
    let text = credentials::read_secret(path).map_err(|error| error.to_string())?;
    Token::new(&text).map_err(|why| format!("the token in {} {why}", path.display()))
}

async fn visit(
    stream: TcpStream,
    peer: SocketAddr,
    app: Router,
    token: Arc<Option<Token>>,
    journal: Journal,
) {
    // An answer is one write, and who asked waits for it.
    let _ = stream.set_nodelay(true);
    let app = TowerToHyperService::new(app);
    let service = service_fn(move |request: Request<Incoming>| {
        let admitted = door::admit(&request, token.as_ref().as_ref());
        if let Err(refused) = &admitted {
            journal.say(&format!(
                "admin: {} {} was refused to {peer}: {}",
                request.method(),
                request.uri().path(),
                refused.message
            ));
        }
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Visitor(peer));
        let app = app.clone();
        async move {
            match admitted {
                Ok(()) => app.call(request).await,
                Err(refused) => Ok(closing(refused.into_response())),
            }
        }
    });
    connection(stream, service, LIMITS).await;
}
