//! Units that were made to hurt, or by mistake: too large, too deep, too many, without end. svinit says what is wrong
//! with them within bounded memory and time, ends with 78, and has started nothing.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use crate::fixture::{Essential, Setup, Svinit, is_root, skip};

const STAY: &str = "command = [\"sleep\", \"600\"]";

/// Address space that is enough to refuse anything, a second more of the processor than the worst takes when nothing else runs.
const BOUNDS: [&str; 3] = ["prlimit", "--as=536870912", "--cpu=20"];

/// Would leave a trace if it were started.
fn trap(setup: Setup) -> Setup {
    setup.unit("trap", "command = [\"touch\", \"{dir}/started\"]")
}

fn is_refused(setup: Setup, what: &str, words: &str) {
    let started = setup.path("started");
    let svinit = trap(setup).through(&BOUNDS).launch();
    assert_eq!(svinit.wait_for_end(), 78, "{what}: {}", shortened(&svinit));
    assert!(svinit.output().contains(words), "{what}: {}", shortened(&svinit));
    assert!(svinit.output().len() < 200_000, "{what}: {} bytes", svinit.output().len());
    assert!(!started.exists(), "{what}");
}

fn shortened(svinit: &Svinit) -> String {
    svinit.output().chars().take(2000).collect()
}

#[test]
fn sizes_are_refused_before_anything_is_parsed() {
    let long = |bytes: usize| format!("{STAY}\n{}", "#".repeat(bytes));
    is_refused(Setup::new().unit("big", &long(256 << 10)), "a file", "longer than 256 KiB");
    let many = (0..1000).fold(Setup::new(), |setup, number| setup.unit(&format!("u{number}"), STAY));
    is_refused(many, "units", "there are more than 1000 units");
    let wide = (0..5).fold(Setup::new(), |setup, number| setup.unit(&format!("u{number}"), &long(255 << 10)));
    is_refused(wide, "all", "all files together are longer than 1 MiB");
}

#[test]
fn what_is_deep_or_endless_is_refused_in_bounded_memory_and_time() {
    let keys = (0..15_000).fold(String::new(), |mut text, number| {
        let _ = writeln!(text, "key{number} = 1");
        text
    });
    let tables = (0..10_000).fold(String::new(), |mut text, number| {
        let _ = writeln!(text, "[[t{number}]]");
        text
    });
    for (what, text, words) in [
        ("nested lists", format!("command = {}", "[".repeat(100_000)), "bomb.toml"),
        ("nested tables", format!("command = {}", "{a=".repeat(50_000)), "bomb.toml"),
        ("a long key", format!("{}a = 1", "a.".repeat(50_000)), "bomb.toml"),
        ("a long heading", format!("[{}a]", "a.".repeat(50_000)), "bomb.toml"),
        ("numbers", format!("command = [{}]", "1,".repeat(120_000)), "bomb.toml"),
        ("keys", keys, "more problems that are not shown"),
        ("lists of tables", tables, "bomb.toml"),
        (
            "variables in variables",
            format!("command = \"{}a{}\"", "${X:-".repeat(5_000), "}".repeat(5_000)),
            "bomb.toml",
        ),
        (
            "variables",
            format!("{STAY}\ndescription = \"{}\"", "${BIG}".repeat(20_000)),
            "longer than 1048576 bytes",
        ),
        (
            "a pattern",
            format!("{STAY}\nready.log = \"((((a{{1000}}){{1000}}){{1000}}){{1000}})\""),
            "bomb.toml",
        ),
    ] {
        is_refused(Setup::new().env("BIG", &"x".repeat(100_000)).unit("bomb", &text), what, words);
    }
}

#[test]
fn a_circle_of_a_thousand_is_told_and_not_followed() {
    let ring = (0..999).fold(Setup::new(), |setup, number| {
        setup.unit(&format!("u{number}"), &format!("{STAY}\nrequires = [\"u{}\"]", (number + 1) % 999))
    });
    is_refused(ring, "a circle", "circle");
}

#[test]
fn what_is_no_file_is_not_opened() {
    let setup = Setup::new();
    let units = setup.path("units");
    symlink("/dev/zero", units.join("endless.toml")).unwrap();
    fs::create_dir(units.join("directory.toml")).unwrap();
    symlink("loop.toml", units.join("loop.toml")).unwrap();
    assert!(nix::unistd::mkfifo(&units.join("pipe.toml"), nix::sys::stat::Mode::S_IRWXU).is_ok());
    is_refused(setup, "odd files", "it is no regular file");
}

#[test]
fn what_others_can_write_is_not_run() {
    let writable =
        |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let setup = Setup::new().unit("web", STAY);
    writable(&setup.path("units/web.toml"), 0o664);
    is_refused(setup, "a file of a group", "its group may write to it");
    let setup = Setup::new().unit("web", STAY);
    writable(&setup.path("units"), 0o777);
    is_refused(setup, "a directory of everybody", "everybody may write to it");
    let setup = Setup::new().unit("web", STAY);
    writable(&setup.path("units/web.toml"), 0o666);
    let svinit = setup.env("SVINIT_TRUST_UNITS", "1").start();
    assert!(svinit.wait_for("web", "ready").is_some());
    if !is_root() {
        return skip("only root can give a file away", Essential::No);
    }
    let setup = Setup::new().unit("web", STAY);
    chown(setup.path("units/web.toml"), Some(65534), None).unwrap();
    is_refused(setup, "a file of another user", "it belongs to user 65534");
}

#[test]
fn a_misspelt_key_is_an_error_with_a_hint() {
    is_refused(Setup::new().unit("web", &format!("{STAY}\nrestrat.policy = \"never\"")), "a key", "restart");
}

#[test]
fn a_variable_stays_within_its_argument_and_no_shell_sees_it() {
    let evil = "a b; touch $PWD/pwned $(touch pwned) `touch pwned` ' \" \\ * ${HOME}\nnext";
    let svinit = Setup::new()
        .env("EVIL", evil)
        .unit("web", "type = \"oneshot\"\nworking_dir = \"{dir}\"\ncommand = [\"perl\", \"-e\", \"print scalar(@ARGV), qq(|$ARGV[0]|\\n); print join(',', map { sprintf('%02x', ord) } split //, $ARGV[0]), qq(\\n)\", \"${EVIL}\"]")
        .unit("words", "type = \"oneshot\"\ncommand = \"perl -e 'print scalar(@ARGV), qq(\\n)' ${EVIL} ${EVIL}x\"")
        .unit("stay", STAY)
        .start();
    svinit.wait_for("web", "completed");
    svinit.wait_for("words", "completed");
    svinit.wait_for_line("web | 1|a b; touch $PWD/pwned $(touch pwned) `touch pwned` ' \" \\ * ${HOME}");
    svinit.wait_for_line("words | 2");
    assert!(!svinit.path("pwned").exists());
}

#[test]
fn a_pattern_that_is_hard_for_others_is_easy_here() {
    // Exponential where matching goes back; one read after the other here.
    let line = "use strict; $| = 1; for (1..20) { print 'a' x 16000, qq(!\\n) } print qq(aaaa\\n); sleep 600";
    let svinit = Setup::new()
        .unit(
            "slow",
            &format!(
                "ready.log = \"^(a+)+$\"\ncommand = [\"perl\", \"-e\", {line:?}]\n[log]\nforward = false\n"
            ),
        )
        .unit("web", STAY)
        .start();
    let pid = svinit.wait_for("web", "ready");
    assert_eq!(svinit.svctl("restart web").code, 0);
    assert!(svinit.wait_for_another("web", "ready", pid).is_some());
    svinit.wait_for("slow", "ready");
}
