//! Log files on disks that are full, read-only or gone: svinit goes on, counts what is lost, and writes again when it
//! can; and rotation under load.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::fixture::{Setup, Svinit, eventually, kill, rounds};
use crate::posture::mounted;

const STAY: &str = "command = [\"sleep\", \"600\"]";

/// Counts into a file on the small disk, a hundred lines at a time, for ever.
fn counting(log: &str) -> String {
    let script = "i=0; while :; do for j in 0 1 2 3 4 5 6 7 8 9; do i=$((i+1)); echo line $i of many, long enough to fill a small disk soon; done; sleep 0.01; done";
    format!("command = [\"sh\", \"-c\", {script:?}]\n[log]\nfile = \"{{dir}}/disk/app.log\"\n{log}")
}

/// With a disk of its own of 1 MiB, at `disk`.
fn small_disk(setup: Setup, more: &str) -> Option<Setup> {
    fs::create_dir(setup.path("disk")).unwrap();
    mounted(setup, &format!("mount -t tmpfs -o size=1M none \"$DIR/disk\"; {more} exec \"$@\""))
}

/// A path of the test's directory, as svinit sees it in its mount namespace.
fn inside(svinit: &Svinit, name: &str) -> PathBuf {
    let path = svinit.path(name);
    PathBuf::from(format!("/proc/{}/root{}", svinit.pid(), path.display()))
}

/// Runs a command in svinit's mount namespace.
fn enter(svinit: &Svinit, words: &[&str]) {
    let pid = svinit.pid().to_string();
    let mut command = Command::new("nsenter");
    command.args(["--mount", "--target", &pid]).args(words).stdin(Stdio::null());
    #[expect(clippy::disallowed_methods, reason = "a test changes the machine under svinit")]
    let output = command.output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Lines that the unit's file has.
fn written(svinit: &Svinit) -> Vec<String> {
    let text = fs::read(inside(svinit, "disk/app.log")).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().map(str::to_owned).collect()
}

fn number(line: &str) -> usize {
    line.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("{line:?} is torn"))
}

/// svinit has crashes to repair and restarts to make while the disk is of no use.
fn is_of_use(svinit: &Svinit) {
    for _ in 0..rounds(10) {
        let web = svinit.status("web")["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).unwrap();
        kill(web, "KILL");
        let web = svinit.wait_for_another("web", "ready", Some(web));
        assert_eq!(svinit.svctl("restart web").code, 0);
        svinit.wait_for_another("web", "ready", web);
    }
}

#[test]
fn a_full_disk_is_survived_and_written_again_when_there_is_room() {
    let setup = Setup::new().http().unit("web", STAY).unit("app", &counting("buffer = \"16K\"\n"));
    let Some(setup) = small_disk(setup, "") else { return };
    let svinit = setup.start();
    let app = svinit.wait_for("app", "ready");
    eventually("lines are written", || written(&svinit).len() > 10);
    let ballast = inside(&svinit, "disk/ballast");
    let _ = fs::write(&ballast, vec![0; 2 << 20]);
    let told = svinit.wait_for_line("cannot write ");
    assert!(told.contains("no space left"), "{told}");
    is_of_use(&svinit);
    svinit.wait_for_line("web: ready");
    // Its own share of memory is full too by now, so lines must go.
    svinit.wait_for_line("app | line 2000 ");
    let last = number(written(&svinit).last().unwrap());
    fs::remove_file(&ballast).unwrap();
    svinit.wait_for_line("app.log is written again");
    let counted = svinit.wait_for_line("lines dropped");
    eventually("lines are written again", || {
        written(&svinit).last().is_some_and(|line| number(line) > last + 2000)
    });
    let lines: Vec<usize> = written(&svinit).iter().map(|line| number(line)).collect();
    let missing = lines.last().unwrap() - lines.len();
    assert!(lines.is_sorted_by(|a, b| a < b), "each at most once, in order");
    let dropped: usize = svinit
        .output()
        .lines()
        .filter_map(|line| {
            line.strip_prefix("svinit | app: ")?.split_once(" lines dropped, ")?.0.parse::<usize>().ok()
        })
        .sum();
    assert_eq!(missing, dropped, "{counted}");
    assert_eq!(svinit.wait_for("app", "ready"), app, "the unit has noticed nothing");
    assert_eq!(svinit.output().matches("cannot write ").count(), 1, "told once a minute at most");
}

#[test]
fn a_read_only_disk_is_survived_and_written_when_it_is_not_any_more() {
    let setup = Setup::new().unit("web", STAY).unit("app", &counting("buffer = \"16K\"\n"));
    let Some(setup) = small_disk(setup, "mount -o remount,ro \"$DIR/disk\";") else { return };
    let svinit = setup.start();
    svinit.wait_for("app", "ready");
    let told = svinit.wait_for_line("cannot write ");
    assert!(told.contains("read-only"), "{told}");
    is_of_use(&svinit);
    let disk = svinit.path("disk");
    enter(&svinit, &["mount", "-o", "remount,rw", disk.to_str().unwrap()]);
    svinit.wait_for_line("app.log is written again");
    eventually("lines are written", || written(&svinit).len() > 10);
    assert!(written(&svinit).iter().map(|line| number(line)).is_sorted_by(|a, b| a < b));
}

#[test]
fn a_directory_of_logs_that_is_removed_again_and_again_is_made_again() {
    let svinit = Setup::new().unit("web", STAY).unit("app", &counting("")).start();
    let app = svinit.wait_for("app", "ready");
    for _ in 0..rounds(3) {
        eventually("lines are written", || written(&svinit).len() > 10);
        fs::remove_dir_all(svinit.path("disk")).unwrap();
    }
    eventually("lines are written again", || written(&svinit).len() > 10);
    // Something that is no directory is in the way, then it is not.
    fs::remove_dir_all(svinit.path("disk")).unwrap();
    fs::write(svinit.path("disk"), "in the way").unwrap();
    svinit.wait_for_line("cannot write ");
    is_of_use(&svinit);
    fs::remove_file(svinit.path("disk")).unwrap();
    svinit.wait_for_line("app.log is written again");
    eventually("lines are written again", || written(&svinit).len() > 10);
    assert_eq!(svinit.wait_for("app", "ready"), app);
}

/// The files of a log and their lengths, the current one last.
fn rotated(svinit: &Svinit) -> Vec<(PathBuf, u64)> {
    let entries = fs::read_dir(svinit.path("logs")).map(|entries| entries.flatten().collect::<Vec<_>>());
    let mut found: Vec<(PathBuf, u64)> = entries
        .unwrap_or_default()
        .into_iter()
        .filter_map(|entry| Some((entry.path(), entry.metadata().ok()?.len())))
        .collect();
    found.sort_by_key(|(path, _)| (path.extension().is_some_and(|end| end == "log"), path.clone()));
    found
}

#[test]
fn a_thousand_rotations_under_load_lose_no_line() {
    let count = rounds(66_000).min(500_000);
    let unit = format!(
        "type = \"oneshot\"\ncommand = [\"seq\", \"-f\", \"line %.0f of a log that is rotated all the time\", \"{count}\"]\n\
         [log]\nforward = false\nfile = \"{{dir}}/logs/app.log\"\nmax_size = \"3K\"\nkeep = 10000\ncompress = false"
    );
    let svinit = Setup::new().unit("web", STAY).unit("app", &unit).start();
    svinit.wait_for("app", "completed");
    let read = || -> Vec<usize> {
        let texts = rotated(&svinit).into_iter().filter_map(|(path, _)| fs::read_to_string(path).ok());
        texts.flat_map(|text| text.lines().map(number).collect::<Vec<_>>()).collect()
    };
    eventually("the last line is written", || read().last() == Some(&count));
    assert_eq!(read(), (1..=count).collect::<Vec<_>>());
    let files = rotated(&svinit);
    assert!(files.len() > count / 66, "{} files", files.len());
    assert!(files.iter().all(|(_, length)| *length <= 3 << 10));
}

#[test]
fn rotated_files_never_take_more_than_they_may() {
    let unit = "command = [\"seq\", \"-f\", \"line %.0f of a log that is rotated all the time\", \"100000000\"]\n\
                [log]\nforward = false\nfile = \"{dir}/logs/app.log\"\nmax_size = \"16K\"\nkeep = 3\ncompress = true";
    let svinit = Setup::new().unit("web", STAY).unit("app", unit).start();
    svinit.wait_for("app", "ready");
    eventually("there are rotated files", || rotated(&svinit).len() > 3);
    for _ in 0..rounds(2000) {
        // Looked at one by one while they change: what was renamed in between may be seen twice.
        let files = rotated(&svinit);
        assert!(files.iter().all(|(_, length)| *length <= 16 << 10), "{files:?}");
        assert!(files.len() <= 3 + 1 + 2, "{files:?}");
    }
    assert_eq!(svinit.svctl("stop app").code, 0);
    eventually("only what may be kept is left", || {
        let files = rotated(&svinit);
        files.len() <= 4 && files.iter().map(|(_, length)| length).sum::<u64>() <= 4 * (16 << 10)
    });
}
