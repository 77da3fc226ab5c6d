//! Sockets that svinit holds: what a service is told, what waits while it is away, and that no client notices a restart.
//!
//! Each test has a loopback address of its own, so that a port that is free for it is not taken by another test.

#![expect(clippy::disallowed_methods, reason = "clients are threads, and their waits have bounds")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use crate::fixture::{
    Essential, PATIENCE, Setup, Svinit, eventually, executable, is_root, kill, rounds, skip,
};

/// Serves HTTP on all the sockets that it is handed, one request after the other, and answers with its PID. TERM is
/// looked at between two requests: what was accepted is answered.
const SERVER: &str = r#"
import os, select, signal, socket, sys
n = int(os.environ["LISTEN_FDS"])
assert os.environ["LISTEN_PID"] == str(os.getpid())
woken, wake = os.pipe(); os.set_blocking(wake, False); signal.set_wakeup_fd(wake)
ended = []; signal.signal(signal.SIGTERM, lambda *_: ended.append(1))
listeners = [socket.socket(fileno=3 + i) for i in range(n)]
answer = b"HTTP/1.0 200 OK\r\n\r\n%d" % os.getpid()
print("serving", flush=True)
while not ended:
    ready, _, _ = select.select(listeners + [woken], [], [])
    for listener in ready:
        if ended or listener is woken: break
        client, _ = listener.accept()
        asked = b""
        while b"\r\n\r\n" not in asked:
            part = client.recv(4096)
            if not part: break
            asked += part
        client.sendall(answer)
        client.close()
"#;

const REQUEST: &[u8] = b"GET /x HTTP/1.0\r\nHost: x\r\n\r\n";

/// A loopback address of this test alone, with a free port of it.
pub(crate) fn address() -> String {
    static LAST: AtomicU32 = AtomicU32::new(0);
    let (process, test) = (std::process::id(), LAST.fetch_add(1, Ordering::Relaxed));
    let ip = format!("127.{}.{}.{}", 1 + process / 250 % 250, 1 + process % 250, 1 + test % 250);
    let port = TcpListener::bind(format!("{ip}:0")).unwrap().local_addr().unwrap().port();
    format!("{ip}:{port}")
}

pub(crate) fn python() -> bool {
    let is_there =
        Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success());
    if !is_there {
        skip("there is no python3", Essential::Yes);
    }
    is_there
}

/// The unit `web`: the server at `at`.
fn web(at: &str) -> String {
    let wanted = format!("command = [\"python3\", \"{{dir}}/server.py\"]\n[sockets]\nhttp = \"{at}\"\n");
    format!("{wanted}[ready]\nlog = \"^serving$\"\n[stop]\ntimeout = \"20s\"\n")
}

fn serving(at: &str) -> Svinit {
    let svinit = Setup::new().file("server.py", SERVER).unit("web", &web(at)).start();
    svinit.wait_for("web", "ready");
    svinit
}

fn connect(at: &str) -> Result<TcpStream, String> {
    let stream = TcpStream::connect(at).map_err(|error| format!("refused: {error}"))?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Ok(stream)
}

/// The rest of the answer to what has been asked.
fn answer(mut stream: impl Read) -> Result<String, String> {
    let mut said = String::new();
    stream.read_to_string(&mut said).map_err(|error| format!("lost: {error}"))?;
    match said.split_once("\r\n\r\n") {
        Some((head, body)) if head.contains(" 200 ") => Ok(body.to_owned()),
        _ => Err(format!("lost: answered {said:?}")),
    }
}

pub(crate) fn get(at: &str) -> Result<String, String> {
    let mut stream = connect(at)?;
    stream.write_all(REQUEST).map_err(|error| format!("lost: {error}"))?;
    answer(stream)
}

/// Clients that ask without a pause, each request on a connection of its own.
pub(crate) struct Clients {
    stop: Arc<AtomicBool>,
    good: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<Vec<String>>>,
}

impl Clients {
    pub(crate) fn start(
        count: usize,
        ask: impl Fn() -> Result<String, String> + Clone + Send + 'static,
    ) -> Self {
        let (stop, good) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let one = |_| {
            let (stop, good, ask) = (Arc::clone(&stop), Arc::clone(&good), ask.clone());
            let work = move || {
                let mut failed = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    match ask() {
                        Ok(_) => drop(good.fetch_add(1, Ordering::Relaxed)),
                        Err(why) => failed.push(why),
                    }
                }
                failed
            };
            std::thread::Builder::new().spawn(work).unwrap()
        };
        let threads = (0..count).map(one).collect();
        Self { stop, good, threads }
    }

    /// Waits until so many more have been answered.
    pub(crate) fn go_on(&self, more: usize) {
        let until = self.good.load(Ordering::Relaxed) + more;
        eventually("requests are answered", || self.good.load(Ordering::Relaxed) >= until);
    }

    /// How many were answered, and why others were not.
    pub(crate) fn end(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let failed = self.threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        (self.good.load(Ordering::Relaxed), failed)
    }
}

/// Restarts `unit` again and again under load: nobody is refused and nothing is lost.
fn restart_under_load(svinit: &Svinit, unit: &str, at: &str) {
    let asked = at.to_owned();
    let clients = Clients::start(4, move || get(&asked));
    let mut pid = svinit.wait_for(unit, "ready");
    for _ in 0..rounds(20) {
        clients.go_on(20);
        let restarted = svinit.svctl(&format!("restart {unit}"));
        assert_eq!(restarted.code, 0, "{restarted:?}");
        pid = svinit.wait_for_another(unit, "ready", pid);
    }
    clients.go_on(20);
    let (good, failed) = clients.end();
    assert_eq!(failed, [""; 0], "of {good} and these");
    eprintln!("{unit}: {good} requests answered through {} restarts, none failed", rounds(20));
}

#[test]
fn the_main_process_is_told_its_sockets_by_the_convention_and_nobody_else_is() {
    // In a unit, "$$" is a dollar.
    let show = "echo $0 pid $(test \"$LISTEN_PID\" = $$$$ && echo own) fds $${LISTEN_FDS-none} \
                names $${LISTEN_FDNAMES-none} open $(for fd in 3 4 5 6; do test -S /proc/$$$$/fd/$fd && echo $fd; done)";
    let (first, second) = (address(), address());
    let unit = format!(
        "command = ['sh', '-c', '{show}; exec sleep 600', 'main']\nhooks.pre_start = [['sh', '-c', '{show}', 'hook']]\n\
         reload.command = ['sh', '-c', '{show}', 'reload']\nready.exec = ['sh', '-c', '{show} >{{dir}}/probe', 'probe']\n\
         [sockets]\n'z 1' = '{first}'\na = {{ address = '{second}', type = 'datagram' }}\nfile = 'unix:{{dir}}/app.sock'\n"
    );
    let svinit = Setup::new().unit("web", &unit).start();
    svinit.wait_for("web", "ready");
    svinit.wait_for_line("web | main pid own fds 3 names z 1:a:file open 3 4 5");
    svinit.wait_for_line("web | hook pid fds none names none open");
    assert_eq!(svinit.svctl("reload web").code, 0);
    svinit.wait_for_line("web | reload pid fds none names none open");
    for line in svinit
        .output()
        .lines()
        .filter(|line| line.starts_with("web | hook") || line.starts_with("web | reload"))
    {
        assert!(line.ends_with("open"), "{line}");
    }
    assert_eq!(fs::read_to_string(svinit.path("probe")).unwrap(), "probe pid fds none names none open\n");
    let shown = svinit.svctl("show web --property sockets --value");
    assert!(shown.stdout.contains(&format!("\"z 1\":\"{first}\"")), "{shown:?}");
}

#[test]
fn a_readiness_descriptor_comes_behind_the_sockets() {
    let at = address();
    let unit =
        format!("command = ['sh', '-c', 'echo >&4; exec sleep 600']\nready.fd = 4\nsockets.http = '{at}'\n");
    let svinit = Setup::new().unit("web", &unit).start();
    svinit.wait_for("web", "ready");
    drop(connect(&at).unwrap());
}

#[test]
fn twenty_restarts_under_load_refuse_nobody_and_lose_nothing() {
    if !python() {
        return;
    }
    let at = address();
    restart_under_load(&serving(&at), "web", &at);
}

#[test]
fn kills_under_load_refuse_nobody_and_lose_only_what_was_accepted() {
    if !python() {
        return;
    }
    let at = address();
    let svinit = serving(&at);
    let asked = at.clone();
    let clients = Clients::start(4, move || get(&asked));
    let mut pid = svinit.wait_for("web", "ready");
    let kills = rounds(5);
    for _ in 0..kills {
        clients.go_on(50);
        kill(pid.unwrap(), "KILL");
        pid = svinit.wait_for_another("web", "ready", pid);
    }
    clients.go_on(50);
    let (good, failed) = clients.end();
    let refused: Vec<&String> = failed.iter().filter(|why| why.starts_with("refused")).collect();
    assert_eq!(refused, [""; 0], "of {good}");
    // The server has one request in its hands at a time, and nobody can give that back.
    assert!(failed.len() <= kills, "{good} good, {failed:?}");
    eprintln!("{good} requests answered through {kills} kills, {} lost that were accepted", failed.len());
}

#[test]
fn what_waits_in_the_queue_survives_a_kill_and_a_stop() {
    if !python() {
        return;
    }
    let at = address();
    let svinit = serving(&at);
    let ask = || {
        let mut stream = connect(&at).unwrap();
        stream.write_all(REQUEST).unwrap();
        stream
    };
    let pid = svinit.wait_for("web", "ready");
    // It cannot accept what comes now.
    kill(pid.unwrap(), "STOP");
    let status = format!("/proc/{}/stat", pid.unwrap());
    eventually("it is stopped", || fs::read_to_string(&status).unwrap().contains(") T "));
    let waiting: Vec<TcpStream> = (0..100).map(|_| ask()).collect();
    kill(pid.unwrap(), "KILL");
    let next = svinit.wait_for_another("web", "ready", pid);
    for stream in waiting {
        assert_eq!(answer(stream), Ok(next.unwrap().to_string()));
    }
    assert_eq!(svinit.svctl("stop web").code, 0);
    let waiting: Vec<TcpStream> = (0..100).map(|_| ask()).collect();
    assert_eq!(svinit.svctl("start web").code, 0);
    let last = svinit.wait_for("web", "ready").unwrap();
    for stream in waiting {
        assert_eq!(answer(stream), Ok(last.to_string()));
    }
}

#[test]
fn a_new_one_that_does_not_come_up_beside_the_old_one_costs_no_request() {
    if !python() {
        return;
    }
    let at = address();
    let unit = format!("restart.mode = \"start-first\"\n{}", web(&at));
    let svinit = Setup::new().file("server.py", SERVER).unit("web", &unit).start();
    let pid = svinit.wait_for("web", "ready").unwrap();
    fs::write(svinit.path("server.py"), "raise SystemExit('no such table')").unwrap();
    let asked = at.clone();
    let clients = Clients::start(2, move || get(&asked));
    clients.go_on(20);
    let failed = svinit.svctl("restart web");
    assert_eq!(failed.code, 1, "{failed:?}");
    assert!(failed.stdout.contains("it goes on as it was: the new one exited with code 1"), "{failed:?}");
    assert!(failed.stderr.contains("  | no such table\n"), "{failed:?}");
    clients.go_on(20);
    let (good, lost) = clients.end();
    assert_eq!(lost, [""; 0], "of {good}");
    assert_eq!(svinit.wait_for("web", "ready"), Some(pid));
    assert_eq!(get(&at), Ok(pid.to_string()));
}

#[test]
fn two_units_that_share_an_address_both_serve() {
    if !python() {
        return;
    }
    let at = address();
    let shared = format!("http = {{ address = \"{at}\", reuse_port = true }}");
    let unit = web(&at).replace(&format!("http = \"{at}\""), &shared);
    let svinit = Setup::new().file("server.py", SERVER).unit("one", &unit).unit("other", &unit).start();
    let both = ["one", "other"].map(|unit| svinit.wait_for(unit, "ready").unwrap().to_string());
    // The kernel deals them out by chance: that one of the two gets none of so many does not happen.
    let answers: BTreeSet<String> = (0..100).map(|_| get(&at).unwrap()).collect();
    assert_eq!(answers, BTreeSet::from(both));
}

#[test]
fn a_client_that_comes_before_the_service_waits_for_it() {
    if !python() {
        return;
    }
    let at = address();
    let slow = "type = 'oneshot'\ncommand = ['sh', '-c', 'until test -e {dir}/go; do sleep 0.02; done']\n";
    let unit = format!("requires = ['slow']\n{}", web(&at));
    let svinit = Setup::new().file("server.py", SERVER).unit("slow", slow).unit("web", &unit).start();
    svinit.wait_for("web", "waiting");
    let mut early = connect(&at).unwrap();
    early.write_all(REQUEST).unwrap();
    fs::write(svinit.path("go"), "").unwrap();
    assert_eq!(answer(early), Ok(svinit.wait_for("web", "ready").unwrap().to_string()));
}

#[test]
fn a_server_on_ipv6_and_one_on_a_unix_socket_are_held_alike() {
    if !python() {
        return;
    }
    let Ok(free) = TcpListener::bind("[::1]:0") else { return skip("there is no IPv6 here", Essential::No) };
    let at = free.local_addr().unwrap().to_string();
    drop(free);
    let unit = web(&at).replace("[ready]", "file = \"unix:{dir}/app.sock\"\n[ready]");
    let svinit = Setup::new().file("server.py", SERVER).unit("web", &unit).start();
    svinit.wait_for("web", "ready");
    let path = svinit.path("app.sock");
    let clients = Clients::start(2, move || {
        let mut stream = UnixStream::connect(&path).map_err(|error| format!("refused: {error}"))?;
        stream.write_all(REQUEST).map_err(|error| format!("lost: {error}"))?;
        answer(stream)
    });
    restart_under_load(&svinit, "web", &at);
    let (good, failed) = clients.end();
    assert_eq!(failed, [""; 0], "of {good}");
}

#[test]
fn messages_wait_for_the_next_process() {
    let (at, unix) = (address(), "unix:{dir}/messages.sock");
    let unit = format!(
        "command = ['python3', '-c', '''\nimport socket\na, b = socket.socket(fileno=3), socket.socket(fileno=4)\n\
         for s in (a, b):\n    for _ in range(3): print('got', s.recv(100).decode(), flush=True)\n''']\n\
         enabled = true\nrestart.policy = 'never'\n[sockets]\nudp = {{ address = '{at}', type = 'datagram' }}\n\
         unix = {{ address = '{unix}', type = 'datagram' }}\n"
    );
    if !python() {
        return;
    }
    let svinit = Setup::new().unit("web", &unit).start();
    svinit.wait_for("web", "ready");
    let (udp, local) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UnixDatagram::unbound().unwrap());
    let send = |text: &str| {
        udp.send_to(format!("udp {text}").as_bytes(), &at).unwrap();
        local.send_to(format!("unix {text}").as_bytes(), svinit.path("messages.sock")).unwrap();
    };
    send("1");
    svinit.wait_for_line("got udp 1");
    assert_eq!(svinit.svctl("stop web").code, 0);
    ["2", "3", "4"].iter().for_each(|text| send(text));
    assert_eq!(svinit.svctl("start web").code, 0);
    for wanted in ["got udp 2", "got udp 3", "got udp 4", "got unix 1", "got unix 2", "got unix 3"] {
        svinit.wait_for_line(wanted);
    }
}

#[test]
fn a_unix_socket_has_its_owner_and_mode_and_goes_with_svinit() {
    let mut unit =
        "command = ['sleep', '600']\n[sockets]\nfile = { address = 'unix:{dir}/app.sock', mode = '0606' }\n"
            .to_owned();
    if is_root() {
        unit = format!(
            "user = '65534'\n{unit}other = {{ address = 'unix:{{dir}}/other.sock', owner = '4711', group = '4712' }}\n"
        );
    }
    let setup = Setup::new().unit("web", &unit);
    fs::set_permissions(setup.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    // Left behind by one that died.
    drop(UnixListener::bind(setup.path("app.sock")).unwrap());
    let svinit = setup.start();
    svinit.wait_for("web", "ready");
    let facts = |name: &str| {
        let found = fs::metadata(svinit.path(name)).unwrap();
        (found.uid(), found.gid(), found.mode() & 0o7777)
    };
    if is_root() {
        assert_eq!(facts("app.sock"), (65534, 65534, 0o606));
        assert_eq!(facts("other.sock"), (4711, 4712, 0o660));
    } else {
        assert_eq!(facts("app.sock").2, 0o606);
    }
    let inode = fs::metadata(svinit.path("app.sock")).unwrap().ino();
    assert_eq!(svinit.svctl("restart web").code, 0);
    assert_eq!(fs::metadata(svinit.path("app.sock")).unwrap().ino(), inode, "it is the same one");
    svinit.signal("TERM");
    assert_eq!(svinit.wait_for_end(), 0);
    assert!(!svinit.path("app.sock").exists() && !svinit.path("other.sock").exists());
}

#[test]
fn a_socket_that_cannot_be_had_is_a_failed_start_that_is_tried_again() {
    let at = address();
    let taken = TcpListener::bind(&at).unwrap();
    let unit = format!(
        "command = ['sleep', '600']\n[restart]\ndelay = '50ms'\nmax_delay = '100ms'\nlimit = 0\n[sockets]\nhttp = '{at}'\n"
    );
    let svinit = Setup::new().unit("web", &unit).start();
    svinit.wait_for("web", "backoff");
    let why = svinit.svctl("why web").stdout;
    let holder = format!(
        "cannot listen on {at}, socket http of {}: address in use by",
        svinit.path("units/web.toml").display()
    );
    assert!(why.contains(&holder) && why.contains(&format!("(PID {})", std::process::id())), "{why}");
    assert!(why.contains("stop it, or take another address"), "{why}");
    drop(taken);
    svinit.wait_for("web", "ready");
}

#[test]
fn a_directory_that_a_hook_makes_is_there_in_time() {
    let unit = "command = ['sleep', '600']\nhooks.pre_start = ['mkdir -p {dir}/made']\nsockets.file = 'unix:{dir}/made/app.sock'\n";
    let svinit = Setup::new().unit("web", unit).start();
    svinit.wait_for("web", "ready");
    drop(UnixStream::connect(svinit.path("made/app.sock")).unwrap());
    assert_eq!(svinit.status("web")["restarts"], 0);
}

#[test]
fn a_low_port_is_held_without_root_where_that_is_allowed_and_else_told() {
    if !is_root() {
        return skip("only root can become another user", Essential::No);
    }
    let at = format!("{}:81", address().split_once(':').unwrap().0);
    let unit = format!("command = ['sleep', '600']\nsockets.http = '{at}'\n");
    let start = |words: &[&str]| {
        let setup = Setup::new().unit("web", &unit);
        fs::set_permissions(setup.path(""), fs::Permissions::from_mode(0o755)).unwrap();
        chown(setup.path(""), Some(61_009), Some(61_009)).unwrap();
        setup.through(words).start()
    };
    const BECOME: [&str; 4] = ["setpriv", "--reuid=61009", "--regid=61009", "--clear-groups"];
    let allowed: u16 =
        fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap().trim().parse().unwrap();
    if allowed > 81 {
        let svinit = start(&BECOME);
        let mut check = Command::new(BECOME[0]);
        check.args(&BECOME[1..]).arg(executable()).args(["--as", "svctl", "check", "--here"]);
        let said = check.arg(svinit.path("units")).output().unwrap();
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(
            said.contains("ports below 1024 take a privilege here") && said.contains("web.toml"),
            "{said}"
        );
        svinit.wait_for("web", "backoff");
        let why = svinit.svctl("why web").stdout;
        assert!(
            why.contains("ports below 1024 take a privilege here, and svinit runs as user 61009"),
            "{why}"
        );
        assert!(
            why.contains("give it CAP_NET_BIND_SERVICE, set net.ipv4.ip_unprivileged_port_start=0"),
            "{why}"
        );
    }
    let capable = ["--inh-caps=+net_bind_service", "--ambient-caps=+net_bind_service"];
    let svinit = start(&[&BECOME[..], &capable[..]].concat());
    svinit.wait_for("web", "ready");
    drop(connect(&at).unwrap());
}

#[test]
fn a_service_that_shuts_its_listener_down_does_not_take_it_from_the_next() {
    if !python() {
        return;
    }
    let at = address();
    let unit = format!(
        "command = ['python3', '-c', '''\nimport socket\ns = socket.socket(fileno=3)\nprint('up', flush=True)\nc, _ = s.accept()\n\
         c.sendall(b'HTTP/1.0 200 OK\\r\\n\\r\\nx')\nc.shutdown(socket.SHUT_WR)\nc.recv(100)\ns.setblocking(False)\ns.shutdown(socket.SHUT_RDWR)\n''']\n\
         [restart]\nlimit = 0\nmax_delay = '100ms'\n[ready]\nlog = '^up$'\n[sockets]\nhttp = '{at}'\n"
    );
    let svinit = Setup::new().unit("web", &unit).start();
    let mut pid = svinit.wait_for("web", "ready");
    for _ in 0..3 {
        let stream = connect(&at).unwrap();
        assert_eq!(answer(&stream), Ok("x".to_owned()));
        stream.shutdown(Shutdown::Both).unwrap();
        pid = svinit.wait_for_another("web", "ready", pid);
    }
}

/// The directory of the Python environment of `make run`, when it is there.
fn venv() -> Option<PathBuf> {
    let script = ". scripts/places; echo \"$venv\"";
    let output = Command::new("sh")
        .args(["-c", script, "scripts/it"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let venv = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    if venv.join("bin/gunicorn").exists() {
        return Some(venv);
    }
    skip(
        &format!("there is no gunicorn in {}: scripts/setup test installs it", venv.display()),
        Essential::Yes,
    );
    None
}

/// gunicorn as the example has it, with these words before and behind its name.
fn gunicorn(venv: &Path, before: &str, behind: &str) {
    let at = address();
    let app = "import os\ndef app(environ, start):\n    start('200 OK', [('Content-Type', 'text/plain')])\n    \
               return [b'%d' % os.getppid()]\n";
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/django/gunicorn.conf.py");
    let unit = format!(
        "command = [{before}{:?}, '--config={}', {behind}'app:app']\nworking_dir = '{{dir}}'\n\
         [sockets]\nhttp = '{at}'\n[ready]\nhttp = 'http://{at}/'\n[stop]\ntimeout = '20s'\n",
        venv.join("bin/gunicorn").display().to_string(),
        config.display()
    );
    let svinit = Setup::new().file("app.py", app).unit("gunicorn", &unit).start();
    let pid = svinit.wait_for("gunicorn", "ready").unwrap();
    assert_eq!(get(&at), Ok(pid.to_string()));
    restart_under_load(&svinit, "gunicorn", &at);
}

#[test]
fn twenty_restarts_of_gunicorn_under_load_fail_no_request() {
    let Some(venv) = venv() else { return };
    gunicorn(&venv, "", "");
}

#[test]
fn gunicorn_can_be_told_the_number_of_its_descriptor() {
    let Some(venv) = venv() else { return };
    // By the convention it would take the same descriptor a second time.
    gunicorn(&venv, "'env', '-u', 'LISTEN_FDS', ", "'--worker-class=sync', '--threads=1', '--bind=fd://3', ");
}

#[test]
fn twenty_restarts_of_nginx_under_load_fail_no_request() {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin";
    if !Command::new("nginx")
        .arg("-v")
        .env("PATH", &path)
        .output()
        .is_ok_and(|output| output.status.success())
    {
        return skip("there is no nginx: scripts/setup test installs it", Essential::Yes);
    }
    let at = address();
    let conf = format!(
        "worker_processes 2;\npid nginx.pid;\nerror_log stderr;\nevents {{}}\nhttp {{\n  access_log off;\n  client_body_temp_path tmp;\n  proxy_temp_path tmp;\n\
         fastcgi_temp_path tmp;\n  uwsgi_temp_path tmp;\n  scgi_temp_path tmp;\n  server {{\n    listen {at};\n    return 200 \"ok\\n\";\n  }}\n}}\n"
    );
    let unit = format!(
        "command = ['env', 'NGINX=3;', 'nginx', '-e', 'stderr', '-p', '{{dir}}', '-c', '{{dir}}/nginx.conf', '-g', 'daemon off;']\n\
         [environment]\nPATH = '{path}'\n[sockets]\nhttp = {{ address = '{at}', nonblocking = true }}\n[ready]\nhttp = 'http://{at}/'\n[stop]\nsignal = 'QUIT'\ntimeout = '20s'\n\
         [reload]\nsignal = 'HUP'\ntest = ['nginx', '-e', 'stderr', '-t', '-q', '-p', '{{dir}}', '-c', '{{dir}}/nginx.conf']\n"
    );
    let svinit = Setup::new().file("nginx.conf", &conf).unit("nginx", &unit).start();
    let pid = svinit.wait_for("nginx", "ready");
    restart_under_load(&svinit, "nginx", &at);
    assert_ne!(svinit.wait_for("nginx", "ready"), pid);
    assert_eq!(svinit.svctl("reload nginx").code, 0);
    assert_eq!(get(&at), Ok("ok\n".to_owned()));
}

#[test]
fn what_is_wrong_with_sockets_is_known_before_anything_is_started() {
    let units = tempfile::tempdir().unwrap();
    fs::set_permissions(units.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let write = |name: &str, text: &str| fs::write(units.path().join(name), text).unwrap();
    write("a.toml", "command = 'x'\nsockets.http = '0.0.0.0:80'\n");
    write("b.toml", "command = 'x'\nsockets.http = '127.0.0.1:80'\n");
    let output =
        Command::new(executable()).args(["--as", "svctl", "check"]).arg(units.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.contains("b.toml:2:16: 127.0.0.1:80 cannot be held beside 0.0.0.0:80, which is \"http\" of a"),
        "{said}"
    );
}

#[test]
fn a_check_tells_who_is_in_the_way_here_and_not_of_svinits_own() {
    let at = address();
    let taken = TcpListener::bind(format!("{}:0", at.split(':').next().unwrap())).unwrap();
    let svinit = Setup::new().file("server.py", SERVER).unit("web", &web(&at)).start();
    svinit.wait_for("web", "ready");
    let sound = svinit.svctl("check");
    assert!(sound.code == 0 && !sound.stdout.contains("listen on"), "{sound:?}");
    let other = format!(
        "command = 'x'\n[sockets]\nhttp = '{}'\nfile = 'unix:/nowhere/at/all.sock'\n",
        taken.local_addr().unwrap()
    );
    fs::write(svinit.path("units/other.toml"), other).unwrap();
    let told = svinit.svctl("check");
    assert_eq!(told.code, 78, "they are mistakes here and now: {told:?}");
    let own = format!("(PID {})", std::process::id());
    assert!(told.stdout.contains("address in use by") && told.stdout.contains(&own), "{told:?}");
    let lines: Vec<&str> = told.stdout.lines().collect();
    let line = lines
        .iter()
        .position(|line| line.contains("there is no directory /nowhere/at; make it in the image"));
    let line = line.unwrap_or_else(|| panic!("{told:?}"));
    let place = svinit.path("units/other.toml:4:8: cannot listen on unix:/nowhere/at/all.sock");
    assert!(lines[line].starts_with(place.to_str().unwrap()), "{told:?}");
    assert_eq!(lines[line + 1], "  4 | file = 'unix:/nowhere/at/all.sock'", "{told:?}");
    assert!(
        told.stdout.contains("other.toml:3:8: ")
            && told.stdout.contains("; stop it, or take another address")
    );
    // Files that are named may be meant for another machine.
    let path = svinit.path("units");
    let named = svinit.svctl_args(&["check", path.to_str().unwrap()]);
    assert!(!named.stdout.contains("address in use"), "{named:?}");
    assert!(
        svinit.svctl_args(&["check", "--here", path.to_str().unwrap()]).stdout.contains("address in use")
    );
}

#[test]
fn as_many_connections_wait_as_backlog_says() {
    // tcp(7), `struct tcp_info`: of one that listens, `tcpi_sacked` is the length of its queue at most.
    let code = "import os, socket, struct, sys, time\n\
                for fd, name in zip(range(3, 6), os.environ['LISTEN_FDNAMES'].split(':')):\n  \
                  info = socket.socket(fileno=fd).getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)\n  \
                  print(name, struct.unpack_from('I', info, 28)[0], flush=True)\n\
                time.sleep(600)";
    let (few, more, usual) = (address(), address(), address());
    let keys = format!(
        "[sockets]\nusual = \"{usual}\"\n[sockets.few]\naddress = \"{few}\"\nbacklog = 7\n\
         [sockets.more]\naddress = \"{more}\"\nbacklog = 300\n"
    );
    let svinit =
        Setup::new().unit("web", &format!("command = [\"python3\", \"-c\", {code:?}]\n{keys}")).start();
    let most: u32 = fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap().trim().parse().unwrap();
    for (name, wanted) in [("few", 7), ("more", 300), ("usual", 4096)] {
        svinit.wait_for_line(&format!("web | {name} {}", most.min(wanted)));
    }
}

#[test]
fn a_check_has_place_and_remedy_of_whatever_keeps_a_socket_away() {
    let at = address();
    let svinit =
        Setup::new().unit("web", &format!("command = ['sleep', '600']\nsockets.http = '{at}'\n")).start();
    svinit.wait_for("web", "ready");
    let write = |text: String| fs::write(svinit.path("units/other.toml"), text).unwrap();
    let dir = svinit.path("");
    let dir = dir.display().to_string();
    let dir = dir.trim_end_matches('/');
    fs::create_dir(svinit.path("taken.sock")).unwrap();
    let hook = "hooks.pre_start = ['true']\n";
    for (line, said) in [
        (format!("one = 'unix:{dir}/taken.sock'"), "something that is no socket is there; remove it"),
        (
            format!("one = {{ address = 'unix:{dir}/a.sock', owner = 'nobody-of-that-name' }}"),
            "no such user in /etc/passwd; make it in the image, or write a number",
        ),
        (
            format!("one = {{ address = 'unix:{dir}/a.sock', group = 'nobody-of-that-name' }}"),
            "no such group in /etc/group; make it in the image, or write a number",
        ),
    ] {
        write(format!("command = 'x'\n[sockets]\n{line}\n"));
        let told = svinit.svctl("check");
        assert!(told.code == 78 && told.stdout.contains(said), "{said:?} in {told:?}");
        assert!(
            told.stdout.contains("other.toml:3:") && told.stdout.contains(&format!("  3 | {line}\n")),
            "{told:?}"
        );
        write(format!("command = 'x'\n{hook}[sockets]\n{line}\n"));
        let told = svinit.svctl("check");
        assert!(told.code == 0 && told.stdout.contains("other.toml:4:"), "a hook may change it: {told:?}");
    }
    // What is written is UDP, and what is held is TCP.
    write(format!("command = 'sleep 600'\n[sockets]\none = {{ address = '{at}', type = 'datagram' }}\n"));
    let sound = svinit.svctl("check");
    assert!(sound.code == 0 && !sound.stdout.contains("listen on"), "{sound:?}");
    let taken = UdpSocket::bind(&at).unwrap();
    let told = svinit.svctl("check");
    assert!(told.code == 78 && told.stdout.contains(&format!("cannot listen on {at} (UDP)")), "{told:?}");
    drop(taken);
    assert_eq!(svinit.svctl("update").code, 0);
    svinit.wait_for("other", "ready");
    let sound = svinit.svctl("check");
    assert!(sound.code == 0 && !sound.stdout.contains("listen on"), "both are svinit's own: {sound:?}");
}

#[test]
fn svinit_checks_as_svctl_does_what_can_be_had_here() {
    let taken = TcpListener::bind(format!("{}:0", address().split(':').next().unwrap())).unwrap();
    let units = tempfile::tempdir().unwrap();
    fs::set_permissions(units.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let text = format!("command = 'x'\nsockets.http = '{}'\n", taken.local_addr().unwrap());
    fs::write(units.path().join("web.toml"), text).unwrap();
    let nowhere = units.path().join("none.sock");
    let check = |words: &[&str]| {
        let mut command = Command::new(executable());
        let output = command.args(words).arg(units.path()).env("SVINIT_SOCKET", &nowhere).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, said) = check(&["--check", "--units"]);
    assert!(code == Some(78) && said.contains("web.toml:2:16: cannot listen on"), "{said}");
    assert_eq!(check(&["--as", "svctl", "check", "--here"]), (code, said));
    drop(taken);
    assert_eq!(check(&["--check", "--units"]).0, Some(0));
}

#[test]
fn a_check_without_root_finds_to_whom_a_unix_socket_cannot_be_given() {
    if !is_root() {
        return skip("not root", Essential::No);
    }
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    chown(dir.path(), Some(61_009), Some(61_009)).unwrap();
    let place = dir.path().display();
    let check = |keys: &str| {
        let one = format!("address = \"unix:{place}/app.sock\"\n{keys}");
        fs::write(dir.path().join("web.toml"), format!("command = [\"x\"]\n[sockets.one]\n{one}\n")).unwrap();
        let mut check = Command::new("setpriv");
        check.args(["--reuid=61009", "--regid=61009", "--groups=61011"]).arg(executable());
        let said = check.args(["--as", "svctl", "check", "--here"]).arg(dir.path()).output().unwrap();
        (said.status.code(), String::from_utf8_lossy(&said.stdout).into_owned())
    };
    for own in ["owner = \"61009\"", "group = \"61009\"", "group = \"61011\""] {
        let (code, said) = check(own);
        assert_eq!(code, Some(0), "{own}: {said}");
    }
    for (keys, whom) in [("owner = \"61010\"", "user 61010"), ("group = \"61010\"", "group 61010")] {
        let (code, said) = check(keys);
        let why = format!("it cannot be given to {whom}: operation not permitted");
        assert!(code == Some(78) && said.contains(&why) && said.contains("web.toml:4:"), "{said}");
    }
}
