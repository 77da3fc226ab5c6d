//! Containers as people harden them: no capability, processes hidden from each other, a root of almost nothing, name
//! look-ups of another world, little memory. Others are in `posture`.

#![expect(clippy::disallowed_methods, reason = "a test asks the machine what it permits")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::fixture::{
    Essential, Setup, Svinit, both, eventually, executable, is_root, kill, processes_with, skip,
};
use crate::observer;
use crate::posture::mounted;

const STAY: &str = "command = [\"sleep\", \"600\"]";

/// The unit `web` runs, is replaced when it is killed, leaves nothing behind, and svinit ends with 0 on TERM.
fn does_its_duty(svinit: &Svinit) {
    let pid = svinit.wait_for("web", "ready").expect("a ready service has a process");
    assert_eq!(svinit.svctl("signal web --signal KILL").code, 0);
    assert!(svinit.wait_for_another("web", "ready", Some(pid)).is_some());
    assert_eq!(svinit.svctl("restart web").code, 0);
    svinit.signal("TERM");
    assert_eq!(svinit.wait_for_end(), 0, "{}", svinit.output());
}

#[test]
fn without_any_capability_everything_works_that_needs_none() {
    let words =
        ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all", "--no-new-privs"];
    if !is_root()
        || !Command::new(words[0]).args(&words[1..]).arg("true").output().is_ok_and(|o| o.status.success())
    {
        return skip("only root can give up its capabilities here", Essential::No);
    }
    both(|setup| {
        let caps = "type = \"oneshot\"\ncommand = [\"grep\", \"-E\", \"^(Cap(Eff|Prm|Bnd)|NoNewPrivs)\", \"/proc/self/status\"]";
        let user = "user = \"nobody\"\ncommand = [\"sleep\", \"600\"]\nrestart.policy = \"never\"";
        // Double-forked and in sessions of their own: they are found without any privilege.
        let left = "setsid sh -c 'setsid sleep 3600.0501 & sleep 3600.0501' & exec sleep 600";
        let svinit = setup
            .prepared(&words)
            .unit("web", &format!("command = [\"sh\", \"-c\", {left:?}]"))
            .unit("caps", caps)
            .unit("user", user)
            .start();
        for line in ["CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000"] {
            svinit.wait_for_line(&format!("caps | {line}"));
        }
        // It is told why, and is never run as somebody else instead.
        svinit.wait_for("user", "failed");
        let why = svinit.status("user")["why"].as_str().unwrap().to_owned();
        assert!(why.contains("operation not permitted"), "{why}");
        does_its_duty(&svinit);
        assert!(processes_with("sleep 3600.0501").is_empty());
    });
}

#[test]
fn processes_that_are_hidden_from_each_other_are_no_hindrance() {
    let uid = 3_000_000 + std::process::id();
    let (user, group) = (format!("--reuid={uid}"), format!("--regid={uid}"));
    let script = format!(
        "mount -t proc -o hidepid=2 none /proc && exec setpriv {user} {group} --clear-groups --bounding-set=-all \"$@\""
    );
    let left = "setsid sh -c 'setsid sleep 3600.0502 & sleep 3600.0502' & exec sleep 600";
    let setup = Setup::new().unit("web", &format!("command = [\"sh\", \"-c\", {left:?}]"));
    fs::set_permissions(setup.path(""), fs::Permissions::from_mode(0o777)).unwrap();
    let Some(setup) = setup.pid1() else { return };
    let words = ["sh", "-c", &script, "sh"];
    let probe = ["--pid", "--fork", "--mount-proc", "--mount"];
    let tried = Command::new("unshare").args(probe).args(words).args(["test", "-x", executable()]).output();
    if !tried.is_ok_and(|output| output.status.success()) {
        return skip("no /proc can be mounted with hidepid here", Essential::No);
    }
    let svinit = setup.prepared(&words).start();
    svinit.wait_for("web", "ready");
    eventually("both sleep", || processes_with("sleep 3600.0502").len() >= 2);
    does_its_duty(&svinit);
    assert!(processes_with("sleep 3600.0502").is_empty());
}

#[test]
fn a_root_of_almost_nothing_is_enough() {
    // Neither /etc, /run, /tmp, /dev nor /proc: the executable, a shell's worth of programs, and the units.
    let script = "mount -t tmpfs none \"$DIR/small\"; mkdir -p \"$DIR/small/bin\" \"$DIR/small/lib\" \"$DIR/small/lib64\" \"$DIR/small/usr\" \"$DIR/small$DIR\" \"$DIR/small/exe\"; \
                  for d in bin lib lib64 usr; do [ -e /$d ] && mount --rbind /$d \"$DIR/small/$d\"; done; \
                  mount --rbind \"$DIR\" \"$DIR/small$DIR\"; touch \"$DIR/small/exe/svinit\"; mount --bind \"$EXE\" \"$DIR/small/exe/svinit\"; \
                  shift; exec chroot \"$DIR/small\" /exe/svinit \"$@\"";
    let setup = Setup::new().unit("web", STAY).env("EXE", executable());
    fs::create_dir(setup.path("small")).unwrap();
    let probe = format!("if [ \"$1\" = true ]; then exit 0; fi; {script}");
    let Some(setup) = mounted(setup, &probe) else { return };
    let svinit = setup.start();
    svinit.wait_for("web", "ready");
    let pid = svinit.wait_for("web", "ready").unwrap();
    kill(pid, "KILL");
    svinit.wait_for_another("web", "ready", Some(pid));
    svinit.signal("TERM");
    assert_eq!(svinit.wait_for_end(), 0, "{}", svinit.output());
}

/// Name look-ups of glibc would load modules that are not there, or end the process (SIGFPE in `compat`).
const ODD_NSSWITCH: [&str; 4] = [
    "passwd: compat\ngroup: compat\nhosts: files\n",
    "passwd: compat systemd sss\ngroup: sss winbind\nhosts: myhostname\n",
    "passwd:\ngroup:\nhosts:\n",
    "\u{0}garbage",
];

#[test]
fn an_odd_nsswitch_changes_nothing_about_users_and_names() {
    for (number, nsswitch) in ODD_NSSWITCH.into_iter().enumerate() {
        let user = if is_root() { "user = \"keeper\"\ngroup = \"keepers\"\n" } else { "" };
        let health = "[health]\ntcp = \"localhost:1\"\ninterval = \"100ms\"\nstart_period = \"0s\"\non_failure = \"none\"\n";
        let setup = Setup::new()
            .file("nsswitch", nsswitch)
            .file("passwd", "root:x:0:0::/:/bin/sh\nkeeper:x:4321:4321::/home/keeper:/bin/sh\n")
            .file("group", "root:x:0:\nkeepers:x:4322:keeper\n")
            .unit(
                "show",
                &format!(
                    "{user}type = \"oneshot\"\ncommand = [\"sh\", \"-c\", \"echo $(id -u) $(id -g) $HOME\"]"
                ),
            )
            .unit("web", &format!("{STAY}\n{health}"));
        fs::set_permissions(setup.path(""), fs::Permissions::from_mode(0o755)).unwrap();
        let script = "for f in nsswitch.conf:nsswitch passwd:passwd group:group; do \
                      [ -e /etc/${f%:*} ] || exit 0; mount --bind \"$DIR/${f#*:}\" /etc/${f%:*}; done; exec \"$@\"";
        let Some(setup) = mounted(setup, script) else { return };
        let svinit = setup.start();
        if is_root() {
            svinit.wait_for_line("show | 4321 4322 /home/keeper");
        }
        svinit.wait_for_event("web", "to be looked for", |event| event["health"] == "fail");
        let why = svinit.status("web")["health_why"].to_string();
        assert!(why.contains("refused"), "nsswitch {number}: {why}");
        does_its_duty(&svinit);
    }
}

#[test]
fn little_address_space_is_enough_for_floods_crowds_and_giant_lines() {
    let flood =
        "command = [\"sh\", \"-c\", \"while :; do seq 1 100000; done\"]\nlog.when_blocked = \"drop-oldest\"";
    let giant =
        "command = [\"sh\", \"-c\", \"while :; do head -c 20000000 /dev/zero; done\"]\nlog.forward = false";
    let setup = (0..20).fold(Setup::new(), |setup, n| setup.unit(&format!("unit{n}"), STAY));
    let svinit = setup
        .http()
        .unit("web", STAY)
        .unit("flood", flood)
        .unit("giant", giant)
        .through(&["sh", "-c", "exec prlimit --as=134217728:134217728 \"$@\" >/dev/null", "sh"])
        .start();
    let web = svinit.wait_for("web", "ready");
    let visitors: Vec<_> = (0..40).map(|_| svinit.request("GET", "/v1/events", "")).collect();
    for _ in 0..4 {
        assert_eq!(svinit.svctl("logs flood -n 1000").code, 0);
        assert!(observer::public(&svinit.http(), "/metrics").contains("svinit_processes_spawned"));
    }
    drop(visitors);
    let used = observer::status_number(svinit.pid(), "VmHWM");
    eprintln!("{used} kB at most");
    assert_eq!(svinit.wait_for("web", "ready"), web);
    for unit in ["flood", "giant"] {
        assert_eq!(svinit.svctl(&format!("stop {unit}")).code, 0);
    }
    svinit.signal("TERM");
    assert_eq!(svinit.wait_for_end(), 0);
}
