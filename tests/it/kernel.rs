//! svinit as PID 1 of a real kernel: user-mode Linux, a kernel that is an ordinary program, needs no privilege and boots
//! in two seconds. It has control groups version 2 with memory, cpu and pids controllers, which no container on this
//! kind of machine gets.
//!
//! The kernel's root is this machine's, read-only. The units of a test drive it from inside: they write `found NAME:
//! VALUE`, which svinit forwards to the console, which is its output here. One boot has many cases, because each boot
//! costs more than all of them.

use std::path::{Path, PathBuf};

use crate::fixture::{Essential, Setup, Svinit, executable, skip};

/// What PID 1 is before it becomes svinit. `$DIR` is the test's directory.
const MOUNTS: &str = "\
#!/bin/sh
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# Files are those of whoever runs the tests.
export PATH SVINIT_TRUST_UNITS=1
mount -t proc none /proc
mount -t sysfs none /sys
mount -t tmpfs none /run
";

/// The kernel adds words of its own.
const BECOME: &str = "\
for word; do case $word in root=*|console=*) ;; *) words=\"$words $word\" ;; esac; done
exec $words
";

/// Version 2, all controllers at its root.
const VERSION_2: &str = "mount -t cgroup2 none /sys/fs/cgroup\n";

/// Version 1 with its memory controller only, and svinit in a group of 64 MiB.
const VERSION_1: &str = "\
mount -t tmpfs none /sys/fs/cgroup
mkdir /sys/fs/cgroup/memory
mount -t cgroup -o memory none /sys/fs/cgroup/memory
mkdir /sys/fs/cgroup/memory/box
echo 64M >/sys/fs/cgroup/memory/box/memory.limit_in_bytes
echo 1 >/sys/fs/cgroup/memory/box/cgroup.procs
";

/// The script of a unit begins so: `svctl`, `found NAME VALUE...`, and `until COMMAND` that looks again and again.
const WORDS: &str = "\
svctl() { \"$SVINIT\" --as svctl \"$@\" 2>&1; }
found() { name=$1; shift; echo \"found $name: $*\"; }
wait_until() { tries=0; until eval \"$1\"; do tries=$((tries + 1)); [ $tries -lt 200 ] || { echo \"gave up: $1\"; return; }; sleep 0.1; done; }
last_exit() { svctl status \"$1\" --json | tr -d ' \\n' | grep -o '\"last_exit\":{[^}]*}'; }
pid() { svctl status \"$1\" --json | tr -d ' \\n' | grep -o '\"pid\":[0-9]*'; }
";

const STAY: &str = "command = [\"sleep\", \"600\"]\n";

/// Uses more and more memory.
const HUNGRY: &str = "enabled = false\nrestart.policy = \"never\"\ncommand = [\"tail\", \"/dev/zero\"]\n";

/// Forks until it is refused, and says why it was.
const CROWD: &str = "perl -e 'for (1..50) { my $p = fork(); if (!defined $p) { print \"refused after $_: $!\\n\"; last } \
                     if (!$p) { sleep 600; exit } } $| = 1; print \"\"; sleep 600'";

/// Each process forks for ever, in a session of its own and without the mark that svinit knows its processes by.
const BOMB: &str = "exec prlimit --rttime=unlimited:unlimited perl -e 'use POSIX; \
                    while (1) { my $p = fork(); if (defined $p && !$p) { POSIX::setsid() } }'";

/// A unit that drives the test, from a script in the test's directory.
fn driven(setup: Setup, script: &str) -> Setup {
    let unit = format!(
        "type = \"oneshot\"\ncommand = [\"sh\", \"{{dir}}/drive.sh\"]\nenvironment.SVINIT = {:?}\n",
        executable()
    );
    // Only the end of an essential unit ends svinit with a status of its own.
    let last = "essential = true\nenabled = false\nrestart.policy = \"never\"\nshell = \"exit 9\"\n";
    let script = format!("{WORDS}{script}\nfound end\nsvctl start last --no-wait\n");
    setup.file("drive.sh", &script).unit("drive", &unit).unit("last", last)
}

/// Boots the kernel with svinit as its PID 1; `None`, with the reason, where there is no such kernel.
fn boot(setup: Setup, mounts: &str) -> Option<Svinit> {
    let Some(kernel) = kernel() else {
        skip("there is no user-mode Linux here: scripts/setup test fetches it", Essential::Yes);
        return None;
    };
    let dir = setup.path("");
    let setup = setup.file("init", &format!("{MOUNTS}{mounts}{BECOME}"));
    let init = dir.join("init");
    make_executable(&init);
    // The kernel's memory is a file that must be mapped as executable.
    let memory = if Path::new("/dev/shm").is_dir() { Path::new("/dev/shm") } else { &dir };
    let words = [
        "env".to_owned(),
        format!("TMPDIR={}", memory.display()),
        kernel.display().to_string(),
        "mem=256M".to_owned(),
        format!("uml_dir={}", dir.join("uml").display()),
        "rootfstype=hostfs".to_owned(),
        "rootflags=/".to_owned(),
        "ro".to_owned(),
        format!("init={}", init.display()),
        "con=null".to_owned(),
        "con0=fd:0,fd:1".to_owned(),
        "quiet".to_owned(),
        "--".to_owned(),
    ];
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    Some(setup.through(&words).socket_found_at("/run/svinit/control.sock".into()).launch())
}

/// Of a package, or taken out of one by `scripts/setup test`.
fn kernel() -> Option<PathBuf> {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/linux.uml");
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|dir| dir.join("linux.uml")).chain([tools]).find(|path| path.is_file())
}

fn make_executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;

    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// What the script has found under this name.
fn found(svinit: &Svinit, name: &str) -> String {
    let mark = format!("drive | found {name}: ");
    let output = svinit.output();
    let line = output.lines().find_map(|line| line.split_once(&mark));
    line.unwrap_or_else(|| panic!("nothing was found as {name:?}:\n{output}")).1.trim().to_owned()
}

/// Waits until the script has come to its end and svinit with it, and the kernel with svinit: a kernel does not live
/// without its PID 1, and says with which status that has left.
fn wait_for_end(svinit: &Svinit) {
    svinit.wait_for_line("drive | found end");
    svinit.wait_for_line("Attempted to kill init! exitcode=0x00000900");
    let _ = svinit.wait_for_end();
}

/// Units that the script of the first boot starts and stops.
fn with_limited_units(setup: Setup) -> Setup {
    let limited = |limits: &str, text: &str| format!("{text}[limits]\n{limits}\n");
    let off = |text: &str| format!("enabled = false\n{text}");
    let shell = |script: &str| off(&format!("shell = {script:?}\n"));
    let all = "memory_max = \"200M\"\nmemory_high = \"100M\"\ncpu = \"50%\"\npids = 20";
    let eaten = "enabled = false\nrestart.policy = \"never\"\nshell = \"[ -e /run/eaten ] || { touch /run/eaten; tail /dev/zero; echo eaten; }; exec sleep 600\"\n";
    setup
        .unit("neighbour", &limited("pids = 10", STAY))
        .unit("shaped", &limited(all, &off(STAY)))
        .unit("hungry", &limited("memory_max = \"32M\"", HUNGRY))
        .unit("eaten", &limited("memory_max = \"32M\"", eaten))
        .unit("crowd", &limited("pids = 8", &shell(CROWD)))
        .unit("bomb", &limited("pids = 60", &shell(BOMB)))
}

#[test]
fn limits_hold_in_a_kernel_with_all_controllers() {
    let script = r#"
g=/sys/fs/cgroup/svinit-1
found place $(cat /proc/1/cgroup)
found given $(cat $g/cgroup.subtree_control)
svctl start shaped
found shaped $(cat $g/unit-shaped/memory.max $g/unit-shaped/memory.high $g/unit-shaped/cpu.max $g/unit-shaped/pids.max)
svctl stop shaped
found shaped-stopped $(ls -d $g/unit-shaped 2>/dev/null)

svctl start hungry
wait_until 'svctl status hungry | grep -q failed'
found hungry $(last_exit hungry)
found hungry-words $(svctl why hungry)
found hungry-group $(ls -d $g/unit-hungry 2>/dev/null)
# A child is killed, and later a person kills the main process of another run: not for want of memory any more.
svctl start eaten
wait_until 'svctl logs eaten | grep -q eaten$'
grep -q 'oom_kill 1' $g/unit-eaten/memory.events && found eaten $(svctl is-active eaten)
svctl restart eaten
kill -KILL $(pid eaten | cut -d: -f2)
wait_until 'svctl status eaten | grep -q failed'
found eaten-killed $(last_exit eaten)
# Nor is the end of another.
kill -KILL $(pid neighbour | cut -d: -f2)
wait_until 'svctl status neighbour --json | grep -q KILL'
found neighbour $(last_exit neighbour)
svctl wait neighbour

svctl start crowd
wait_until '! grep -q "max 0" $g/unit-crowd/pids.events'
wait_until 'svctl logs crowd | grep -q refused'
found crowd $(svctl logs crowd | grep refused)
svctl stop crowd

before=$(pid neighbour)
svctl start bomb
wait_until '! grep -q "max 0" $g/unit-bomb/pids.events'
found bomb $(cat $g/unit-bomb/pids.current)
svctl stop bomb
found bomb-stopped $?
found bomb-left $(grep -l '[s]etsid' /proc/[0-9]*/cmdline 2>/dev/null | wc -l) $(ls -d $g/unit-bomb 2>/dev/null)
found neighbour-after $([ "$(pid neighbour)" = "$before" ] && echo the same)
"#;
    let setup = with_limited_units(Setup::new());
    let Some(svinit) = boot(driven(setup, script), VERSION_2) else { return };
    wait_for_end(&svinit);
    let found = |name: &str| found(&svinit, name);
    assert_eq!(found("place"), "0::/svinit-1/supervisor");
    assert_eq!(found("given"), "cpu memory pids");
    assert_eq!(found("shaped"), "209715200 104857600 50000 100000 20");
    for gone in ["shaped-stopped", "hungry-group"] {
        assert_eq!(found(gone), "", "the group is gone with the unit");
    }
    assert!(found("hungry").contains(r#""signal":"KILL","oom":true"#), "{}", found("hungry"));
    assert!(found("hungry-words").contains("out of memory"), "{}", found("hungry-words"));
    assert_eq!(found("eaten"), "ready", "only what was over it is killed");
    for killed in ["eaten-killed", "neighbour"] {
        let last = found(killed);
        assert!(last.contains(r#""signal":"KILL""#) && !last.contains("oom"), "{killed}: {last}");
    }
    assert!(found("crowd").ends_with("Resource temporarily unavailable"), "{}", found("crowd"));
    assert_eq!(found("bomb"), "60");
    assert_eq!((found("bomb-stopped").as_str(), found("bomb-left").as_str()), ("0", "0"));
    assert_eq!(found("neighbour-after"), "the same");
}

/// `container OPTIONS GROUP NAME`: another svinit in namespaces of its own, with GROUP as all it sees of the control
/// groups, mounted with OPTIONS, as engines do it. What it says has NAME before it.
const CONTAINER: &str = r#"
inner="--http off --socket /run/inner.sock --units $DIR/inner"
container() {
  unshare --pid --fork --mount-proc sh -c "
    echo 0 >$2/cgroup.procs &&
    exec unshare --cgroup --mount sh -c '
      umount /sys/fs/cgroup && mount -t cgroup2 -o $1 none /sys/fs/cgroup && exec $SVINIT $inner'" 2>&1 | sed "s/^/$3: /"
}
"#;

#[test]
fn a_group_is_used_as_far_as_it_was_given_and_given_back() {
    let script = r#"
g=/sys/fs/cgroup
mkdir $g/box $g/bare $g/bare/box
echo 64M >$g/box/memory.max
echo 64M >$g/bare/memory.max
container rw $g/box delegated
# An engine would throw the group away.
rmdir $g/box/svinit-1/* $g/box/svinit-1
echo -cpu -memory -pids >$g/box/cgroup.subtree_control
container ro $g/box readonly
# No controller is given to what is below a group that passes none on.
container rw $g/bare/box bare
# Not PID 1, but alone in its group.
sh -c "echo 0 >$g/box/cgroup.procs && exec $SVINIT $inner" 2>&1 | sed 's/^/guest: /'
found left $(ls -d $g/box/svinit* 2>/dev/null) $(cat $g/box/cgroup.subtree_control)
"#;
    let setup = Setup::new();
    let dir = setup.path("");
    std::fs::create_dir(dir.join("inner")).unwrap();
    let hog = "restart.policy = \"never\"\nessential = true\n\
               shell = \"cat /proc/1/cgroup /proc/self/cgroup; exec tail /dev/zero\"\n[limits]\nmemory_max = \"16M\"\n";
    let setup = setup.file("inner/hog.toml", hog);
    let script = format!("{CONTAINER}{script}").replace("$DIR", dir.to_str().unwrap());
    let Some(svinit) = boot(driven(setup, &script), VERSION_2) else { return };
    wait_for_end(&svinit);
    let output = svinit.output();
    let says = |line: &str| assert!(output.contains(line), "nothing says {line:?}:\n{output}");
    says("delegated: hog | 0::/svinit-1/supervisor");
    says("delegated: hog | 0::/svinit-1/unit-hog");
    says("delegated: svinit | hog: was killed by SIGKILL: out of memory");
    assert!(!output.contains("delegated: svinit | hog: cannot enforce"), "{output}");
    says(
        "readonly: svinit | hog: cannot enforce memory_max: no writable control group (cgroup v2) with controllers",
    );
    says("readonly: svinit | hog: was killed by SIGKILL: out of memory");
    says(
        "bare: svinit | hog: cannot enforce memory_max: no writable control group (cgroup v2) with controllers",
    );
    says("guest: svinit | hog: was killed by SIGKILL: out of memory");
    assert_eq!(found(&svinit, "left"), "", "the group is as it was given");
}

#[test]
fn version_1_tells_of_want_of_memory_and_limits_nothing() {
    let script = "
svctl start hungry
wait_until 'svctl status hungry | grep -q failed'
found hungry $(last_exit hungry)
";
    let hungry = format!("{HUNGRY}[limits]\nmemory_max = \"32M\"\npids = 5\n");
    let setup = Setup::new().unit("hungry", &hungry);
    let Some(svinit) = boot(driven(setup, script), VERSION_1) else { return };
    wait_for_end(&svinit);
    svinit.wait_for_line("hungry: cannot enforce memory_max, pids: no writable control group");
    let hungry = found(&svinit, "hungry");
    assert!(hungry.contains(r#""signal":"KILL","oom":true"#), "{hungry}");
}
