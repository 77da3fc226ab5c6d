//! Services that have turned against svinit: they speak for others, put links where svinit writes, write what moves a
//! terminal's cursor, and claim processes that are not theirs.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use serde_json::Value;

use crate::fixture::{Essential, Setup, eventually, is_root, skip};

const STAY: &str = "command = [\"sleep\", \"600\"]";

/// Another user than root for services, and somebody else for those of another.
const NOBODY: &str = "user = \"65534\"\n";
const OTHER: &str = "user = \"61003\"\n";

fn opened(setup: Setup) -> Setup {
    fs::set_permissions(setup.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    setup
}

/// Perl that waits for a file in the test's directory, and that sends a datagram: `await(NAME)`, `tell(PATH, TEXT)`.
const PERL: &str = "use Socket; $| = 1; \
     sub await { until (-e qq({dir}/$_[0])) { select(undef, undef, undef, 0.02) } } \
     sub tell_ { socket(my $s, PF_UNIX, SOCK_DGRAM, 0); \
     defined send($s, $_[1], 0, sockaddr_un($_[0])) or print qq(refused: $!\\n) } ";

fn perl(script: &str) -> String {
    format!("command = [\"perl\", \"-e\", {:?}]\n", format!("{PERL}{script}"))
}

#[test]
fn nobody_but_a_units_own_processes_speaks_for_it() {
    if !is_root() {
        return skip("only root can run services as two users", Essential::No);
    }
    // It says where its socket is, and later that it is ready; then it names a process of another unit as its own.
    let quiet = "print qq(at $ENV{NOTIFY_SOCKET}\\n); open(my $f, '>', '{dir}/open/at'); print $f $ENV{NOTIFY_SOCKET}; close $f; \
                 await('ready'); tell_($ENV{NOTIFY_SOCKET}, qq(STATUS=own words\\nREADY=1)); \
                 await('claim'); open(my $p, '<', '{dir}/pid'); my $n = <$p>; \
                 tell_($ENV{NOTIFY_SOCKET}, qq(MAINPID=$n)); tell_($ENV{NOTIFY_SOCKET}, qq(MAINPID=1)); \
                 tell_($ENV{NOTIFY_SOCKET}, qq(STATUS=has claimed)); sleep 600";
    let speaks = "await('open/at'); open(my $f, '<', '{dir}/open/at'); my $at = <$f>; \
                  for (1..20) { tell_($at, qq(READY=1\\nSTATUS=not mine)) } \
                  tell_($at, 'x' x 100000); tell_($at, ''); print qq(spoken\\n); sleep 600";
    let setup = opened(Setup::new());
    fs::create_dir(setup.path("open")).unwrap();
    fs::set_permissions(setup.path("open"), fs::Permissions::from_mode(0o777)).unwrap();
    let svinit = setup
        .unit("quiet", &format!("{NOBODY}type = \"notify\"\n{}", perl(quiet)))
        .unit("same-user", &format!("{NOBODY}{}", perl(speaks)))
        .unit("other-user", &format!("{OTHER}{}", perl(speaks)))
        .unit("root-user", &perl(speaks))
        .unit("victim", STAY)
        .start();
    for unit in ["same-user", "other-user", "root-user"] {
        svinit.wait_for_line(&format!("{unit} | spoken"));
    }
    svinit.wait_for_line("other-user | refused: Permission denied");
    let status = svinit.status("quiet");
    assert_eq!(status["state"], "starting", "{status}");
    assert!(!status.to_string().contains("not mine"), "{status}");
    fs::write(svinit.path("ready"), "").unwrap();
    let pid = svinit.wait_for("quiet", "ready");
    let victim = svinit.wait_for("victim", "ready").unwrap();
    fs::write(svinit.path("pid"), victim.to_string()).unwrap();
    fs::write(svinit.path("claim"), "").unwrap();
    eventually("it has claimed", || svinit.status("quiet").to_string().contains("has claimed"));
    assert_eq!(svinit.status("quiet")["pid"].as_i64(), pid.map(i64::from));
    assert_eq!(svinit.svctl("stop quiet").code, 0);
    assert_eq!(svinit.wait_for("victim", "ready"), Some(victim), "it was not its to take along");
}

#[test]
fn a_pid_file_that_lies_is_not_believed() {
    if !is_root() {
        return skip("only root can run a service as somebody else", Essential::No);
    }
    let setup = opened(Setup::new()).unit("victim", STAY);
    let run = setup.path("run");
    fs::create_dir(&run).unwrap();
    chown(&run, Some(65534), Some(65534)).unwrap();
    fs::write(setup.path("roots.pid"), "1\n").unwrap();
    let forking = |name: &str, how: &str| {
        let script = format!("{how}; (setsid sleep 600 &) ; exit 0");
        format!(
            "{NOBODY}type = \"forking\"\npid_file = \"{{dir}}/run/{name}.pid\"\nenabled = false\nrestart.policy = \"never\"\n\
             ready.timeout = \"2s\"\ncommand = [\"sh\", \"-c\", {script:?}]"
        )
    };
    let svinit = setup
        .unit("link", &forking("link", "ln -s {dir}/roots.pid {dir}/run/link.pid"))
        .unit("alien", &forking("alien", "cat {dir}/victim > {dir}/run/alien.pid"))
        .unit("init", &forking("init", "echo 1 > {dir}/run/init.pid"))
        .start();
    let victim = svinit.wait_for("victim", "ready").unwrap();
    fs::write(svinit.path("victim"), format!("{victim}\n")).unwrap();
    for (unit, why) in
        [("link", "symbolic link"), ("alien", "no living process of this unit"), ("init", "process number")]
    {
        let answer = svinit.svctl(&format!("start {unit}"));
        assert_eq!(answer.code, 1, "{unit}: {answer:?}");
        assert!(answer.stdout.contains(why) || answer.stderr.contains(why), "{unit}: {answer:?}");
    }
    assert_eq!(svinit.wait_for("victim", "ready"), Some(victim));
}

#[test]
fn links_where_svinit_writes_lead_nowhere() {
    if !is_root() {
        return skip("only root has what a service must not reach", Essential::No);
    }
    let setup = opened(Setup::new()).file("victim", "as it was\n");
    fs::create_dir(setup.path("vault")).unwrap();
    let own = setup.path("own");
    fs::create_dir(&own).unwrap();
    chown(&own, Some(65534), Some(65534)).unwrap();
    // Its log is in its own directory: it puts a link in the place of the file, then of the directory, and writes on.
    let script = "cd {dir}/own; echo one; until [ -e file.log ] && [ -e sub/deep.log ]; do sleep 0.02; done; \
                  rm file.log; ln -s {dir}/victim file.log; mv sub was; ln -s {dir}/vault sub; \
                  echo swapped; until [ -e {dir}/enough ]; do echo more; sleep 0.05; done; echo last; exec sleep 600";
    let file = format!("{NOBODY}shell = {script:?}\n[log]\nfile = \"{{dir}}/own/file.log\"\n");
    let deep = "command = [\"sh\", \"-c\", \"while :; do echo deep; sleep 0.05; done\"]\n[log]\nfile = \"{dir}/own/sub/deep.log\"\nmax_size = \"100B\"\n";
    fs::create_dir(own.join("sub")).unwrap();
    chown(own.join("sub"), Some(65534), Some(65534)).unwrap();
    let svinit = setup.unit("file", &file).unit("deep", deep).start();
    svinit.wait_for_line("file | swapped");
    svinit.wait_for_line("file.log: it is a symbolic link, which is not followed");
    svinit.wait_for_line("sub in its path is a symbolic link of user 65534, which is not followed");
    fs::write(svinit.path("enough"), "").unwrap();
    svinit.wait_for_line("file | last");
    assert_eq!(fs::read(svinit.path("victim")).unwrap(), b"as it was\n");
    assert_eq!(fs::metadata(svinit.path("victim")).unwrap().uid(), 0);
    assert_eq!(fs::read_dir(svinit.path("vault")).unwrap().count(), 0);
    // The way is free again: nothing was lost that had room to wait.
    fs::remove_file(svinit.path("own/file.log")).unwrap();
    eventually("it is written again", || {
        fs::read_to_string(svinit.path("own/file.log")).is_ok_and(|text| text.contains("last"))
    });
}

#[test]
fn what_a_service_writes_cannot_look_like_another_or_move_the_cursor() {
    let script = "printf 'a\\rsvinit | all is lost\\n'; printf 'b\\033[2J\\033]0;title\\007\\033[1A\\n'; \
                  printf 'c\\bd\\n'; printf '\\0e\\n'; printf 'f\\342\\200\\256g\\n'; echo end; exec sleep 600";
    let status = "use Socket; socket(my $s, PF_UNIX, SOCK_DGRAM, 0); \
                  send($s, qq(READY=1\\nSTATUS=x\\e[2Jy\\rz), 0, sockaddr_un($ENV{NOTIFY_SOCKET})); sleep 600";
    let text = format!("command = [\"sh\", \"-c\", {script:?}]");
    let svinit = Setup::new()
        .unit("odd", &text)
        .unit("teller", &format!("type = \"notify\"\ncommand = [\"perl\", \"-e\", {status:?}]"))
        .start();
    svinit.wait_for_line("odd | end");
    svinit.wait_for("teller", "ready");
    let output = svinit.output();
    assert!(!output.lines().any(|line| line.starts_with("svinit | all is lost")), "{output}");
    let mut shown = output;
    for words in
        ["status", "status teller", "status odd", "why odd", "why teller", "logs odd", "status --json"]
    {
        let answer = svinit.svctl(words);
        shown += &answer.stdout;
        shown += &answer.stderr;
    }
    for moves in ["\u{1b}[2J", "\u{1b}]", "\u{1b}[1A", "\r", "\u{8}"] {
        assert!(!shown.contains(moves), "{moves:?} in {shown:?}");
    }
    eventually("its status is shown", || svinit.status("teller")["status_text"] != Value::Null);
    let json = svinit.svctl("status teller --json").stdout;
    assert!(json.contains("x [2Jy z"), "{json}");
}
