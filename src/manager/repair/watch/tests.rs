//! A watch beside an engine that tells what happens. Its own listing would come in an hour, so whatever is known sooner is known by an
//! event.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Mutex;

use serde_json::Value;
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixListener;
use tokio::net::UnixStream;
use tokio::sync::broadcast;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::*;
use crate::manager::gate::Floor;
use crate::manager::gate::Gate;
use crate::manager::gate::Report;
use crate::manager::gate::ServiceView;
use crate::manager::guard::rules::Permits;
use crate::manager::guard::server::Guard;
use crate::manager::reach::Reach;
use crate::manager::reach::docker::Docker;
use crate::manager::reach::docker::Which;
use crate::manager::reach::engine::Engine;
use crate::manager::repair::ears::Ears;

/// Bounds every wait; none takes nearly so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// In the place of an event: the stream ends.
const END: &str = "";

/// An engine with containers of the Compose service `app`, in which nothing can be executed.
struct Fake {
    /// State by number.
    containers: Mutex<BTreeMap<String, &'static str>>,
    events: broadcast::Sender<String>,
    /// What it was asked.
    asked: Mutex<Vec<String>>,
}

impl Fake {
    fn number(letter: char) -> String {
        letter.to_string().repeat(64)
    }

    /// It is in `state` from now on.
    fn set(&self, letter: char, state: &'static str) {
        self.containers.lock().unwrap().insert(Self::number(letter), state);
    }

    fn tell(&self, letter: char, action: &str, attributes: &Value) {
        let actor = json!({ "ID": Self::number(letter), "Attributes": attributes });
        let event = json!({ "Type": "container", "Action": action, "Actor": actor });
        // Nobody may be listening.
        let _ = self.events.send(format!("{event}\n"));
    }

    async fn serve(self: Arc<Self>, listener: UnixListener) {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(Arc::clone(&self).answer(stream));
        }
    }

    async fn answer(self: Arc<Self>, mut stream: UnixStream) -> Option<()> {
        let mut bytes = Vec::new();
        while !bytes.windows(4).any(|end| end == b"\r\n\r\n") {
            (stream.read_buf(&mut bytes).await.ok()? > 0).then_some(())?;
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let target = text.split(' ').nth(1)?.to_owned();
        let path = target.split('?').next()?.trim_start_matches("/v1.45").to_owned();
        // Before it is known that somebody listens, so that nothing that is told then is missed.
        let mut events = self.events.subscribe();
        self.asked.lock().unwrap().push(path.clone());
        let (status, value) = match path.as_str() {
            "/version" => (200, json!({ "ApiVersion": "1.45", "MinAPIVersion": "1.24" })),
            "/containers/json" => (200, self.listed()),
            "/events" => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await.ok()?;
                while let Ok(line) = events.recv().await
                    && line != END
                {
                    let chunk = format!("{:x}\r\n{line}\r\n", line.len());
                    stream.write_all(chunk.as_bytes()).await.ok()?;
                }
                return None;
            }
            path if path.ends_with("/json") => {
                let id = path.split('/').nth(2)?;
                let labels = json!({ "svinit.managed": "true" });
                (200, json!({ "Id": id, "State": {}, "Config": { "Labels": labels } }))
            }
            _ => (500, json!({ "message": "nothing is executed here" })),
        };
        let body = value.to_string();
        let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(head.as_bytes()).await.ok()
    }

    fn listed(&self) -> Value {
        let containers = self.containers.lock().unwrap();
        let of = |(id, state): (&String, &&str)| json!({ "Id": id, "Names": [format!("/{}", &id[..1])], "State": state });
        containers.iter().map(of).collect()
    }

    fn count(&self, path: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| *asked == path).count()
    }
}

/// A gateway of which only look-ups of names are counted.
#[derive(Default)]
struct Names(Mutex<usize>);

impl Floor for Names {
    fn begin_away(&self, _: &str) {}
    fn end_away(&self, _: &str) {}
    fn look_up(&self) {
        *self.0.lock().unwrap() += 1;
    }
    fn set_draining(&self, _: &str, _: SocketAddr, _: bool) {}
    fn report(&self, _: &str, _: SocketAddr, _: Report) {}
    fn services(&self) -> Vec<ServiceView> {
        Vec::new()
    }
    fn when_drained(&self, _: &str, _: SocketAddr) -> oneshot::Receiver<()> {
        oneshot::channel().1
    }
}

/// All of it, through the guard.
struct World {
    _dir: tempfile::TempDir,
    engine: PathBuf,
    fake: Arc<Fake>,
    names: Arc<Names>,
    told: mpsc::Receiver<Told>,
    serving: AbortHandle,
}

impl World {
    async fn start(containers: &[(char, &'static str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (docker, guard) = (dir.path().join("docker.sock"), dir.path().join("guard.sock"));
        let fake = Arc::new(Fake {
            containers: Mutex::default(),
            events: broadcast::Sender::new(16),
            asked: Mutex::default(),
        });
        containers.iter().for_each(|(letter, state)| fake.set(*letter, state));
        let serving = tokio::spawn(Arc::clone(&fake).serve(UnixListener::bind(&docker).unwrap()));
        let listener = UnixListener::bind(&guard).unwrap();
        tokio::spawn(Guard::new(docker.clone(), Permits::default(), Arc::new(|_: &str| ())).serve(listener));
        let engine = Arc::new(Engine::new(guard));
        let which = Which::Compose { service: "app".to_owned(), project: None };
        let patient = Arc::new(Patient {
            name: "app".into(),
            unit: "web".to_owned(),
            reach: Reach::Docker(Docker::new(Arc::clone(&engine), which)),
            check: None,
            targets: Vec::new(),
        });
        let (tell, told) = mpsc::channel(64);
        let names = Arc::new(Names::default());
        let gate = Gate::new(Arc::clone(&names) as Arc<dyn Floor>, broadcast::Sender::new(1));
        let every = Duration::from_secs(3600);
        tokio::spawn(Watch { patient, tell, news: News::default(), every, again: Notify::new() }.run());
        tokio::spawn(Ears { engine, gate, say: Arc::new(|_: &str| ()) }.run());
        let world = Self { _dir: dir, engine: docker, fake, names, told, serving: serving.abort_handle() };
        world
            .until("events are followed, and all is listed since", |world| {
                world.fake.count("/events") == 1 && world.fake.count("/containers/json") >= 2
            })
            .await;
        world
    }

    async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let wait = async {
            while !is_so(self) {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("never: {what}"));
    }

    /// Waits until the container is told to be so.
    async fn sign(&mut self, letter: char, wanted: &str) {
        let wait = async {
            while let Some(told) = self.told.recv().await {
                let Told::Pushed { instance, sign, .. } = told else { continue };
                if instance.id == Fake::number(letter) && format!("{}: {}", sign.word(), sign.why()) == wanted
                {
                    return;
                }
            }
        };
        timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("never: {wanted}"));
    }
}

/// It runs, and nothing can be executed in it.
const RUNS: &str = "unseen: nothing is executed here";

#[tokio::test]
async fn a_container_that_starts_or_ends_is_known_by_the_event_that_tells_it() {
    let mut world = World::start(&[('a', "running")]).await;
    world.sign('a', RUNS).await;
    let lookups = *world.names.0.lock().unwrap();
    world.fake.set('b', "running");
    world.fake.tell('b', "start", &json!({}));
    world.sign('b', RUNS).await;
    world.until("names are looked up", |world| *world.names.0.lock().unwrap() > lookups).await;
    world.fake.set('b', "exited");
    world.fake.tell('b', "die", &json!({ "exitCode": "139" }));
    world.sign('b', "coming: its container has ended: exit status 139").await;
    // Known without another event: it is looked at again when that can be judged.
    world.sign('b', "down: its container has ended by itself: exit status 139").await;
    world.fake.set('b', "running");
    world.fake.tell('b', "start", &json!({}));
    world.sign('b', RUNS).await;
    world.fake.containers.lock().unwrap().remove(&Fake::number('b'));
    world.fake.tell('b', "destroy", &json!({}));
    world.sign('b', "gone: ").await;
}

#[tokio::test]
async fn what_a_person_stops_or_pauses_is_held_and_followed_again_when_that_ends() {
    let mut world = World::start(&[('a', "running")]).await;
    world.fake.set('a', "paused");
    world.fake.tell('a', "pause", &json!({}));
    world.sign('a', "held: its container is paused").await;
    world.fake.set('a', "running");
    world.fake.tell('a', "unpause", &json!({}));
    world.sign('a', RUNS).await;
    world.fake.tell('a', "kill", &json!({ "signal": "15" }));
    world.fake.set('a', "exited");
    world.fake.tell('a', "die", &json!({ "exitCode": "137" }));
    world.sign('a', "held: its container is exited: a person has sent it signal 15").await;
    world.fake.tell('a', "stop", &json!({}));
    world.sign('a', "held: its container is exited: a person has stopped it").await;
}

#[tokio::test]
async fn a_stream_that_ends_is_opened_again_and_nothing_that_was_missed_is_judged() {
    let mut world = World::start(&[('a', "running")]).await;
    world.sign('a', RUNS).await;
    // The engine goes, and with it every connection to it; another one comes in its place.
    world.serving.abort();
    std::fs::remove_file(&world.engine).unwrap();
    let again = Arc::new(Fake {
        containers: Mutex::default(),
        events: broadcast::Sender::new(16),
        asked: Mutex::default(),
    });
    again.set('a', "exited");
    tokio::spawn(Arc::clone(&again).serve(UnixListener::bind(&world.engine).unwrap()));
    std::mem::replace(&mut world.fake, again).events.send(END.to_owned()).unwrap();
    world.sign('a', "held: its container is exited, and nobody has seen how it ended").await;
    assert_eq!(world.fake.count("/events"), 1);
}
