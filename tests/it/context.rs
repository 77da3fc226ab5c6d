//! What surrounds a unit's process, and those that `svctl exec` starts as if they were of the unit; and that secrets
//! stay there.

#![expect(clippy::disallowed_methods, reason = "a test listens to svctl while it does something else")]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::fixture::{PATIENCE, Setup, Svinit, executable, is_root};

const SECRET: &str = "canary-of-a-secret";
const CREDENTIAL: &str = "canary-of-a-credential";

/// The user `nobody` where the tests may become it, else nobody else: a line for a unit.
fn user_line() -> &'static str {
    if is_root() { "user = \"nobody\"\n" } else { "" }
}

/// Other users may enter the test's directory.
fn opened(setup: Setup) -> Setup {
    fs::set_permissions(setup.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    setup
}

/// The answer to a GET on the public listener.
fn public(svinit: &Svinit, path: &str) -> String {
    let mut stream = TcpStream::connect(svinit.http()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nHost: svinit\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn exec_has_the_user_the_environment_the_directory_and_the_limits_of_the_unit() {
    let text = format!(
        "{}command = [\"sleep\", \"600\"]\nworking_dir = \"{{dir}}/work\"\numask = \"027\"\n\
         environment_files = [\"{{dir}}/env\"]\n\
         [environment]\nFROM_UNIT = \"unit\"\n[secrets]\nTOKEN = \"{{dir}}/token\"\n[limits]\nnofile = 321\n",
        user_line()
    );
    let setup =
        opened(Setup::new().file("env", "FROM_FILE=file\n").file("token", "hunter2\n").unit("web", &text));
    fs::create_dir(setup.path("work")).unwrap();
    let svinit = setup.env("OUTSIDE", "yes").start();
    let pid = svinit.wait_for("web", "ready").unwrap();
    let script =
        "id -u; id -G; pwd; umask; ulimit -n; ulimit -Hn; echo $FROM_UNIT $FROM_FILE $TOKEN $SVINIT_UNIT";
    let answer = svinit.svctl_args(&["exec", "web", "--", "sh", "-c", script]);
    let lines: Vec<&str> = answer.stdout.lines().collect();
    let owner = fs::metadata(format!("/proc/{pid}")).unwrap().uid().to_string();
    let work = svinit.path("work").canonicalize().unwrap();
    let wanted =
        [&owner, &groups_of(pid), work.to_str().unwrap(), "0027", "321", "321", "unit file hunter2 web"];
    assert_eq!(lines, wanted, "{answer:?}");
    assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).unwrap(), work);
}

/// All groups of a process, as `id -G` prints them.
fn groups_of(pid: i32) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let mut groups = vec![field("Gid:").swap_remove(1)];
    for group in field("Groups:") {
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    groups.join(" ")
}

#[test]
fn exec_gives_the_status_of_its_command() {
    let svinit = Setup::new().unit("web", "command = [\"sleep\", \"600\"]").start();
    for (script, status) in [("exit 0", 0), ("exit 42", 42)] {
        assert_eq!(svinit.svctl_args(&["exec", "web", "--", "sh", "-c", script]).code, status);
    }
    assert_eq!(svinit.svctl("exec web -- no-such-program-anywhere").code, 127);
    assert_eq!(svinit.svctl("exec web -- /etc/passwd").code, 126);
}

#[test]
fn run_prints_the_lines_of_a_oneshot_and_ends_with_its_status() {
    let script = |end: &str| {
        let script = format!("echo to stdout; echo to stderr >&2; {end}");
        format!(
            "type = \"oneshot\"\nenabled = false\nrestart.policy = \"never\"\ncommand = [\"sh\", \"-c\", {script:?}]"
        )
    };
    let svinit = Setup::new()
        .unit("well", &script("exit 0"))
        .unit("badly", &script("exit 3"))
        .unit("killed", &script("kill -KILL $$$$"))
        .unit("web", "command = [\"sleep\", \"600\"]")
        .start();
    for (unit, status) in [("well", 0), ("badly", 3), ("killed", 137), ("well", 0)] {
        let answer = svinit.svctl(&format!("run {unit}"));
        assert_eq!(answer.code, status, "{unit}: {answer:?}");
        assert_eq!(answer.stdout, "to stdout\n", "{unit}");
        assert_eq!(answer.stderr.matches("to stderr\n").count(), 1, "{unit}: {answer:?}");
    }
}

#[test]
fn secrets_are_seen_by_the_unit_and_by_nobody_else() {
    // The script itself is shown, so it compares with what only the test has written.
    let script = "test \"$TOKEN\" = \"$(cat {dir}/token.copy)\" && cmp {dir}/key.copy $CREDENTIALS_DIRECTORY/key \
                  && echo it has both; echo the directory is $CREDENTIALS_DIRECTORY; exec sleep 600";
    let text = format!(
        "{}ready.log = \"the directory is\"\ncommand = [\"sh\", \"-c\", {script:?}]\n\
         [secrets]\nTOKEN = \"{{dir}}/token\"\n[credentials]\nkey = \"{{dir}}/key\"",
        user_line()
    );
    let setup = opened(
        Setup::new()
            .file("token", SECRET)
            .file("token.copy", SECRET)
            .file("key", CREDENTIAL)
            .file("key.copy", CREDENTIAL)
            .unit("web", &text)
            .unit("broken", "type = \"oneshot\"\ncommand = [\"true\"]\n[secrets]\nTOKEN = \"{dir}/long\""),
    );
    // A secret that cannot be used is not quoted in the complaint.
    fs::write(setup.path("long"), format!("{SECRET}\0")).unwrap();
    fs::set_permissions(setup.path("key"), fs::Permissions::from_mode(0o600)).unwrap();
    let svinit = setup.http().start();
    let mut events = Command::new(executable())
        .args(["--as", "svctl", "--socket"])
        .arg(svinit.socket())
        .args(["events", "--initial", "--json"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = svinit.wait_for("web", "ready").unwrap();
    svinit.wait_for_line("web | it has both");
    let line = svinit.wait_for_line("the directory is ");
    let dir = PathBuf::from(line.rsplit(' ').next().unwrap());
    let (found, owner) =
        (fs::metadata(dir.join("key")).unwrap(), fs::metadata(format!("/proc/{pid}")).unwrap());
    assert_eq!((found.mode() & 0o777, found.uid()), (0o400, owner.uid()));
    let found = fs::metadata(&dir).unwrap();
    assert_eq!((found.mode() & 0o777, found.uid()), (0o700, owner.uid()));

    let mut shown = String::new();
    for words in [
        "status --json",
        "status web --json",
        "status web",
        "show web",
        "show web --json",
        "show broken",
        "env web",
        "env web --json",
        "cat web",
        "cat --effective web",
        "cat --effective web --json",
        "why web",
        "why broken",
        "logs web",
        "logs broken",
        "graph",
        "health",
        "version",
    ] {
        let answer = svinit.svctl(words);
        assert!(
            !answer.stdout.is_empty() || words == "logs broken",
            "svctl {words} says nothing: {answer:?}"
        );
        shown += &format!("\n== svctl {words}\n{}{}", answer.stdout, answer.stderr);
    }
    assert!(shown.contains("TOKEN=***"), "{shown}");
    for path in ["/health", "/metrics", "/"] {
        shown += &format!("\n== GET {path}\n{}", public(&svinit, path));
    }
    let own = fs::read(format!("/proc/{}/cmdline", svinit.pid())).unwrap();
    shown += &String::from_utf8_lossy(&own);
    shown += &String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/cmdline")).unwrap());

    assert_eq!(svinit.svctl("restart web").code, 0);
    svinit.wait_for_another("web", "ready", Some(pid));
    assert_eq!(svinit.svctl("stop web").code, 0);
    assert!(!dir.exists(), "{} is left behind", dir.display());
    svinit.signal("TERM");
    let _ = svinit.wait_for_end();
    let mut told = String::new();
    events.stdout.take().unwrap().read_to_string(&mut told).unwrap();
    let _ = events.wait();
    assert!(told.contains("\"web\""), "{told}");
    shown += &format!("\n== svctl events\n{told}\n== stdout\n{}", svinit.output());
    assert!(!shown.contains(SECRET) && !shown.contains(CREDENTIAL), "{shown}");
}
