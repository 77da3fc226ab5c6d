//! The control socket and those who should not use it: other users, other PID namespaces, clients that are slow or too
//! many, and words that are none of its verbs.

#![expect(clippy::disallowed_methods, reason = "a test runs svctl from elsewhere")]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::process::Command;

use serde_json::{Value, json};

use crate::fixture::{Essential, PATIENCE, Setup, Svinit, eventually, executable, is_root, kill, skip};

const STAY: &str = "command = [\"sleep\", \"600\"]";

/// Other users may enter the test's directory.
fn opened(setup: Setup) -> Setup {
    fs::set_permissions(setup.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    setup
}

/// A unit that asks at the socket as this user and group, when the file `go` is there, and writes the first line of the answer, or why there
/// is none. `rest` follows as Perl.
fn asking(ids: &str, name: &str, rest: &str) -> String {
    let script = format!(
        "use Socket; until (-e '{{dir}}/go-{name}') {{ select(undef, undef, undef, 0.02) }} $| = 1; $SIG{{PIPE}} = 'IGNORE'; \
         sub ask {{ socket(my $s, PF_UNIX, SOCK_STREAM, 0); \
         connect($s, sockaddr_un('{{dir}}/sock')) or do {{ print qq(refused: $!\\n); return }}; \
         send($s, qq(GET /v1/units HTTP/1.0\\r\\n\\r\\n), 0); my $l = <$s>; print qq(got $l); return $l =~ / 200 / }} \
         {rest}"
    );
    format!(
        "{ids}\ncommand = [\"perl\", \"-e\", {script:?}]\nrestart.policy = \"never\"\ntype = \"oneshot\"\n"
    )
}

#[test]
fn a_start_that_is_given_up_leaves_no_socket() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let at = taken.local_addr().unwrap().to_string();
    let setup = Setup::new().unit("web", STAY);
    let paths = ["units", "run/sock"].map(|name| setup.path(name));
    let mut command = Command::new(executable());
    command.arg("--units").arg(&paths[0]).arg("--socket").arg(&paths[1]).args(["--http", &at]);
    let answer = command.output().unwrap();
    let said = String::from_utf8_lossy(&answer.stderr).into_owned();
    assert_eq!(answer.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("cannot serve /health at {at}: ")), "{said}");
    assert!(setup.path("run").is_dir() && !paths[1].exists(), "the socket was made, and is removed");
}

fn go(svinit: &Svinit, name: &str) {
    fs::write(svinit.path(&format!("go-{name}")), "").unwrap();
}

/// The answer to these bytes, all of it.
fn answer(svinit: &Svinit, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(svinit.socket()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes).unwrap();
    rest(&mut stream)
}

fn rest(stream: &mut UnixStream) -> String {
    let mut bytes = Vec::new();
    // A reset is an end as well: what came before it counts.
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Status and body of a POST.
fn post(svinit: &Svinit, path: &str, body: &str) -> (String, String) {
    let mut stream = svinit.request("POST", path, body);
    let answer = rest(&mut stream);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    (head.split(' ').nth(1).unwrap_or_default().to_owned(), body.to_owned())
}

#[test]
fn another_user_is_kept_out_by_the_mode_and_again_by_name() {
    if !is_root() {
        return skip("only root can run a service as somebody else", Essential::No);
    }
    let nobody = "user = \"65534\"";
    let svinit = opened(Setup::new())
        .unit("first", &asking(nobody, "first", "ask()"))
        .unit("second", &asking(nobody, "second", "ask()"))
        .unit("web", STAY)
        .start();
    let found = fs::metadata(svinit.socket()).unwrap();
    assert_eq!((found.mode() & 0o777, found.uid()), (0o600, 0));
    go(&svinit, "first");
    svinit.wait_for_line("first | refused: Permission denied");
    // Whatever the mode has become: the kernel says who connects.
    fs::set_permissions(svinit.socket(), fs::Permissions::from_mode(0o777)).unwrap();
    go(&svinit, "second");
    svinit.wait_for_line("second | got HTTP/1.0 403");
    svinit.wait_for_line("GET /v1/units was refused to uid 65534");
}

#[test]
fn a_group_comes_in_where_one_is_configured_and_one_user_of_it_cannot_take_all_seats() {
    if !is_root() {
        return skip("only root can run a service as somebody else", Essential::No);
    }
    let inside = "user = \"61001\"\ngroup = \"61000\"";
    let outside = "user = \"61002\"\ngroup = \"61002\"";
    let many = "my @held = map { socket(my $s, PF_UNIX, SOCK_STREAM, 0); connect($s, sockaddr_un('{dir}/sock')); $s } 1..8; ask(); \
                @held = (); print qq(all closed\\n); until (ask()) { }";
    let svinit = opened(Setup::new())
        .config("control.socket_group = \"61000\"\n")
        .unit("inside", &asking(inside, "inside", "ask()"))
        .unit("outside", &asking(outside, "outside", "ask()"))
        .unit("many", &asking(inside, "many", many))
        .unit("web", STAY)
        .start();
    let found = fs::metadata(svinit.socket()).unwrap();
    assert_eq!((found.mode() & 0o777, found.uid(), found.gid()), (0o660, 0, 61000));
    go(&svinit, "inside");
    svinit.wait_for_line("inside | got HTTP/1.0 200");
    go(&svinit, "outside");
    svinit.wait_for_line("outside | refused: Permission denied");
    go(&svinit, "many");
    svinit.wait_for_line("many | got HTTP/1.1 503");
    assert_eq!(svinit.svctl("status inside").code, 0, "others are served meanwhile");
    svinit.wait_for_line("many | all closed");
    svinit.wait_for("many", "completed");
}

#[test]
fn the_socket_is_never_wider_than_it_should_be_for_a_moment() {
    if Command::new("strace").arg("-V").output().is_err() {
        return skip("strace is missing: scripts/setup test installs it", Essential::Yes);
    }
    let setup = Setup::new().unit("web", STAY);
    let trace = setup.path("trace");
    let calls = "trace=umask,bind,chmod,fchmod,fchmodat";
    let words = ["strace", "-f", "-qq", "-e", calls, "-e", "signal=none", "-o", trace.to_str().unwrap()];
    let svinit = setup.through(&words).launch();
    svinit.wait_for_line("control socket ");
    assert_eq!(svinit.svctl("shutdown").code, 0);
    let _ = svinit.wait_for_end();
    let trace = fs::read_to_string(trace).unwrap();
    let lines: Vec<&str> = trace.lines().collect();
    let bound =
        lines.iter().position(|line| line.contains("bind(") && line.contains("/sock\"")).expect(&trace);
    assert!(lines[bound - 1].contains("umask(0177)"), "{trace}");
    assert!(lines[bound + 1].contains("umask("), "{trace}");
    assert!(!lines.iter().any(|line| line.contains("chmod") && line.contains("/sock")), "{trace}");
}

#[test]
fn a_peer_of_another_pid_namespace_is_nobody_even_as_root() {
    // Where it can be at all: the fixture says why not.
    let Some(trusting) = Setup::new().unit("web", STAY).pid1() else { return };
    // The fixture's own way in is what `allow_other_namespaces` opens.
    let trusting = trusting.start();
    assert_eq!(trusting.svctl("status web").code, 0);
    let namespace = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "--"];
    let svinit = Setup::new().unit("web", STAY).through(&namespace).start();
    svinit.wait_for_line("web: ready (pid");
    for words in ["status", "restart web", "shutdown"] {
        let answer = svinit.svctl(words);
        assert_eq!(answer.code, 5, "{answer:?}");
        assert!(answer.stderr.contains("you are in another PID namespace"), "{answer:?}");
    }
    svinit.wait_for_line("POST /v1/jobs was refused to uid 0 of another PID namespace");
    // The same user in there is somebody.
    let unshare = svinit.pid();
    let inside = |words: &[&str]| {
        Command::new("nsenter")
            .args([
                "--pid",
                "--mount",
                "--target",
                &child_of(unshare),
                executable(),
                "--as",
                "svctl",
                "--socket",
            ])
            .arg(svinit.socket())
            .args(words)
            .output()
            .unwrap()
    };
    let answer = inside(&["status", "web"]);
    assert!(answer.status.success(), "{answer:?}");
    // The kernel kills all in a namespace whose PID 1 ends, this client as well if it is still there.
    inside(&["shutdown"]);
    assert_eq!(svinit.wait_for_end(), 0);
}

fn child_of(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap().trim().to_owned()
}

#[test]
fn slow_clients_are_cut_off_and_delay_nothing() {
    let svinit = Setup::new().unit("web", STAY).start();
    // From the log: a question of ours might still hold one of the 64 places when the last of these comes.
    let line = svinit.wait_for_line("web: ready (pid ");
    let pid: i32 = line
        .split("(pid ")
        .nth(1)
        .unwrap()
        .split(|c: char| !c.is_ascii_digit())
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let mut held: Vec<UnixStream> = (0..64)
        .map(|number| {
            let mut stream = UnixStream::connect(svinit.socket()).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            // Half a head, or a head and half a body.
            let text: &[u8] = if number % 2 == 0 {
                b"GET /v1/units HTTP/1.1\r\nHo"
            } else {
                b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"
            };
            stream.write_all(text).unwrap();
            stream
        })
        .collect();
    let full = answer(&svinit, b"");
    assert!(full.starts_with("HTTP/1.1 503") && full.contains("too many connections"), "{full}");
    kill(pid, "KILL");
    svinit.wait_for_line("web: was killed by SIGKILL");
    eventually("web is replaced", || svinit.output().matches("web: ready (pid").count() == 2);
    let answers: Vec<String> = held.iter_mut().map(rest).collect();
    assert_eq!(answers.iter().filter(|answer| answer.contains("too slowly")).count(), 32, "{answers:?}");
    assert!(!answers.iter().any(|answer| answer.contains(" 200 ")), "{answers:?}");
    eventually("there is room again", || svinit.svctl("status").code == 0);
}

#[test]
fn frames_have_a_bound() {
    let svinit = Setup::new().unit("web", STAY).start();
    let (status, body) =
        post(&svinit, "/v1/jobs", &format!("{{\"verb\":\"stop\",\"units\":[\"{}\"]}}", "x".repeat(70_000)));
    assert_eq!(status, "400", "{body}");
    let head = format!("GET /v1/units HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(20_000));
    let refused = answer(&svinit, head.as_bytes());
    assert!(refused.starts_with("HTTP/1.1 431") || refused.is_empty(), "{refused}");
    assert_eq!(svinit.status("web")["state"], "ready");
}

#[test]
fn the_verbs_are_a_closed_list_and_none_of_them_runs_what_it_is_given() {
    let svinit = Setup::new().unit("web", STAY).start();
    let description = svinit.get("/v1/openapi.json");
    let paths = description["paths"].as_object().unwrap();
    let changing: Vec<&String> = paths
        .iter()
        .filter(|(_, path)| path.as_object().unwrap().keys().any(|method| method != "get"))
        .map(|(path, _)| path)
        .collect();
    assert_eq!(
        changing,
        ["/v1/jobs", "/v1/update", "/v1/scale", "/v1/logs/reopen", "/v1/upgrade", "/v1/shutdown"]
    );
    let wanted = ["start", "stop", "restart", "reload", "signal", "reset", "pause", "resume"];
    let text = description.to_string();
    for verb in wanted {
        assert!(text.contains(&format!("\"{verb}\"")), "{verb}");
    }
    for verb in
        ["exec", "run", "eval", "system", "__class__", "supervisor.startProcess", "START", "", "start;id"]
    {
        let body = json!({"verb": verb, "units": ["web"]}).to_string();
        assert_eq!(post(&svinit, "/v1/jobs", &body).0, "400", "{verb}");
    }
    let pwned = svinit.path("pwned");
    for extra in
        [json!({"command": ["touch", pwned]}), json!({"shell": "touch pwned"}), json!({"env": {"A": "b"}})]
    {
        let mut body = json!({"verb": "restart", "units": ["web"]});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        assert_eq!(post(&svinit, "/v1/jobs", &body.to_string()).0, "400", "{body}");
    }
    assert!(!pwned.exists());
}

#[test]
fn a_name_of_a_unit_is_a_name_and_nothing_else() {
    let svinit = Setup::new().file("secret.toml", "rubbish").unit("web", STAY).start();
    for path in [
        "..%2f..%2fsecret",
        "..",
        ".",
        "%2e%2e/secret/definition",
        "..%2fsecret/definition",
        "web%00",
        "web%0a",
        "__init__",
        "/etc/passwd",
        "web/../../../etc/passwd",
    ] {
        let answer = answer(&svinit, format!("GET /v1/units/{path} HTTP/1.0\r\n\r\n").as_bytes());
        assert!(answer.starts_with("HTTP/1.0 404") || answer.starts_with("HTTP/1.0 400"), "{path}: {answer}");
        assert!(!answer.contains("rubbish") && !answer.contains("root:"), "{path}: {answer}");
    }
    for name in ["../secret", "web\n", "web web", "", "$(id)", "-web", "web\u{0}", "\u{202e}web"] {
        let (status, body) = post(&svinit, "/v1/jobs", &json!({"verb": "stop", "units": [name]}).to_string());
        assert!(status == "404" || status == "400", "{name:?}: {status} {body}");
        let answer: Value = serde_json::from_str(body.trim()).unwrap();
        assert!(!answer["message"].as_str().unwrap().contains(['\n', '\u{0}']), "{answer}");
    }
    assert_eq!(svinit.status("web")["state"], "ready");
}
