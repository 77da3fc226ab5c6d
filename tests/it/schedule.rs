//! Units that are run by the clock: their moments, what they mean while one runs, and what outlives svinit.
//!
//! Moments of `cron` come once a minute at most and by a clock that no test may set: they are for the calendar's own tests
//! (`src/runtime/schedule/tests.rs`). Here it is `every`, and stamps of an earlier life.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::fixture::{PATIENCE, Setup, Svinit, eventually};

/// Says when two of it run at once, and ends when the file `go` is there.
const GATED: &str = "shell = \"mkdir {dir}/lock || touch {dir}/two; until [ -e {dir}/go ]; do sleep 0.02; done; rmdir {dir}/lock\"";

/// The same, until it is told to stop.
const ENDLESS: &str = "shell = \"mkdir {dir}/lock || touch {dir}/two; \
                       trap 'rmdir {dir}/lock; exit 0' TERM; while :; do sleep 0.02; done\"";

/// The unit `job`, with these lines in `[schedule]`.
fn job(setup: Setup, command: &str, schedule: &str) -> Setup {
    let state = setup.path("state");
    setup
        .config(&format!("state_dir = {:?}\n", state.to_str().unwrap()))
        .unit("job", &format!("type = \"oneshot\"\n{command}\n[schedule]\n{schedule}\n"))
        .unit("web", "command = [\"sleep\", \"600\"]")
}

fn schedule(svinit: &Svinit) -> Value {
    svinit.status("job")["schedule"].clone()
}

fn count(svinit: &Svinit, of: &str) -> u64 {
    schedule(svinit)[of].as_u64().unwrap()
}

/// Waits until that many are counted.
fn wait_for_count(svinit: &Svinit, of: &str, least: u64) {
    eventually(&format!("{least} {of}"), || count(svinit, of) >= least);
}

fn http(svinit: &Svinit, path: &str) -> String {
    let mut stream = TcpStream::connect(svinit.http()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_job_is_run_again_and_again_and_all_can_see_what_came_of_it() {
    let setup = Setup::new().http();
    let svinit = job(setup, "shell = \"echo done; test -e {dir}/good\"", "every = \"200ms\"").start();
    wait_for_count(&svinit, "runs", 3);
    svinit.wait_for_line("job: run failed after");
    svinit.wait_for_event("job", "to be between two runs", |unit| unit["state"] == "scheduled");
    let failed = schedule(&svinit);
    assert_eq!((failed["when"].as_str(), failed["last"]["ok"].as_bool()), (Some("every 200ms"), Some(false)));
    assert!(failed["next"].is_string() && failed["last"]["why"] == "exited with code 1", "{failed}");
    let health = http(&svinit, "/health/job");
    assert!(health.starts_with("HTTP/1.0 200") && health.contains("\"status\":\"warn\""), "{health}");
    assert!(health.contains("its last run failed: exited with code 1"), "{health}");

    File::create(svinit.path("good")).unwrap();
    eventually("a run that is well", || schedule(&svinit)["last"]["ok"] == true);
    let health = http(&svinit, "/health");
    assert!(
        health.contains("\"status\":\"pass\"") && health.contains("\"when\":\"every 200ms\""),
        "{health}"
    );
    let metrics = http(&svinit, "/metrics");
    for sample in [
        "svinit_schedule_runs_total{unit=\"job\"} ",
        "svinit_schedule_runs_failed_total{unit=\"job\"} ",
        "svinit_schedule_skipped_total{unit=\"job\"} ",
        "svinit_schedule_last_run_success{unit=\"job\"} 1",
        "svinit_schedule_last_run_duration_seconds{unit=\"job\"} 0.",
        "svinit_schedule_next_time_seconds{unit=\"job\"} 1",
    ] {
        assert!(metrics.contains(sample), "{sample} is not in {metrics}");
    }
    let status = svinit.svctl("status job");
    assert_eq!(status.code, 0, "{status:?}");
    assert!(
        status.stdout.contains("schedule  every 200ms") && status.stdout.contains("last run  well"),
        "{status:?}"
    );
}

#[test]
fn moments_during_a_run_are_skipped_and_counted() {
    let svinit = job(Setup::new(), GATED, "every = \"100ms\"").start();
    wait_for_count(&svinit, "skipped", 3);
    svinit.wait_for_line("job: a moment was skipped: the run before it is not over");
    assert_eq!(count(&svinit, "runs"), 1);
    File::create(svinit.path("go")).unwrap();
    wait_for_count(&svinit, "runs", 4);
    assert!(!svinit.path("two").exists(), "two have run at once");
}

#[test]
fn a_moment_during_a_run_is_queued_once() {
    let svinit = job(Setup::new(), GATED, "every = \"100ms\"\noverlap = \"queue\"").start();
    wait_for_count(&svinit, "skipped", 2);
    let waiting = schedule(&svinit);
    assert_eq!((waiting["queued"].as_bool(), waiting["runs"].as_u64()), (Some(true), Some(1)));
    File::create(svinit.path("go")).unwrap();
    wait_for_count(&svinit, "runs", 4);
    assert!(!svinit.path("two").exists(), "two have run at once");
}

#[test]
fn a_moment_during_a_run_ends_it_where_that_is_wanted() {
    let svinit = job(Setup::new(), ENDLESS, "every = \"300ms\"\noverlap = \"kill\"").start();
    wait_for_count(&svinit, "runs", 4);
    assert!(!svinit.path("two").exists(), "two have run at once");
    assert!(count(&svinit, "failed") >= 3);
}

#[test]
fn a_person_runs_it_now_and_a_stop_suspends_the_schedule() {
    let svinit = job(Setup::new(), "shell = \"test ! -e {dir}/bad\"", "every = \"1h\"").start();
    svinit.wait_for("job", "scheduled");
    assert_eq!(count(&svinit, "runs"), 0);
    let answer = svinit.svctl("start job");
    assert_eq!(answer.code, 0, "{answer:?}");
    assert_eq!((count(&svinit, "runs"), count(&svinit, "failed")), (1, 0));
    File::create(svinit.path("bad")).unwrap();
    let answer = svinit.svctl("start job");
    assert!(answer.code == 1 && answer.stdout.contains("exited with code 1"), "{answer:?}");
    assert!(schedule(&svinit)["next"].is_string());
    assert_eq!(svinit.svctl("stop job").code, 0);
    assert!(schedule(&svinit)["next"].is_null(), "{}", schedule(&svinit));
    assert_eq!(svinit.status("job")["state"], "inactive");
}

#[test]
fn a_stopped_job_is_not_run_by_its_schedule() {
    let svinit = job(Setup::new(), "shell = \"exit 0\"", "every = \"100ms\"").start();
    wait_for_count(&svinit, "runs", 1);
    assert_eq!(svinit.svctl("stop job").code, 0);
    let runs = count(&svinit, "runs");
    // Another one of the same pace shows that moments have come meanwhile.
    let other = "type = \"oneshot\"\nshell = \"exit 0\"\nschedule.every = \"100ms\"\n";
    fs::write(svinit.path("units/other.toml"), other).unwrap();
    assert_eq!(svinit.svctl("update").code, 0);
    eventually("five runs of the other", || {
        svinit.status("other")["schedule"]["runs"].as_u64().is_some_and(|runs| runs >= 5)
    });
    assert_eq!(count(&svinit, "runs"), runs);
}

/// Sets the time up to which moments were seen to back by `ago`.
fn age(state: &Path, ago: Duration) {
    let stamp = File::options().write(true).open(state.join("schedule/job")).unwrap();
    let before = stamp.metadata().unwrap().modified().unwrap();
    stamp.set_modified(before.checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH)).unwrap();
}

#[test]
fn what_was_missed_while_svinit_was_down_is_made_up_for_once() {
    let state = tempfile::tempdir().unwrap();
    let config = format!("state_dir = {:?}\n", state.path().to_str().unwrap());
    let start = |missed: &str| {
        let unit = format!(
            "type = \"oneshot\"\nshell = \"exit 0\"\n[schedule]\ncron = \"0 0 1 1 *\"\nmissed = {missed:?}\n"
        );
        let svinit = Setup::new().config(&config).unit("job", &unit).start();
        svinit.wait_for("job", "scheduled");
        svinit
    };
    // At the first start nothing was missed.
    drop(start("once"));
    age(state.path(), Duration::from_secs(3 * 366 * 86_400));
    let svinit = start("once");
    wait_for_count(&svinit, "runs", 1);
    eventually("the others are counted", || count(&svinit, "skipped") >= 2);
    eventually("it is over", || schedule(&svinit)["last"]["ok"] == true);
    drop(svinit);
    // It is not made up for again, and not at all where that is not wanted.
    let svinit = start("once");
    assert_eq!((count(&svinit, "runs"), count(&svinit, "skipped")), (0, 0));
    drop(svinit);
    age(state.path(), Duration::from_secs(3 * 366 * 86_400));
    let svinit = start("skip");
    assert_eq!((count(&svinit, "runs"), count(&svinit, "skipped")), (0, 0));
}

#[test]
fn without_a_place_for_what_outlives_it_svinit_says_so_and_goes_on() {
    let svinit = Setup::new()
        .config("state_dir = \"/proc/nowhere\"\n")
        .unit("job", "type = \"oneshot\"\nshell = \"exit 0\"\n[schedule]\nevery = \"200ms\"\n")
        .start();
    svinit.wait_for_line("moments that pass while svinit is down are not made up for");
    wait_for_count(&svinit, "runs", 2);
}

#[test]
fn the_next_moment_is_the_same_after_an_upgrade_and_after_a_crash() {
    let setup = Setup::new().replaceable().env("SVINIT_FAULTS", "1");
    let svinit = job(setup, "shell = \"exit 0\"", "every = \"2h\"")
        .unit("nightly", "type = \"oneshot\"\nshell = \"exit 0\"\n[schedule]\ncron = \"0 3 * * *\"\n")
        .unit("busy", "type = \"oneshot\"\nshell = \"exit 0\"\n[schedule]\nevery = \"300ms\"\n")
        .start();
    svinit.wait_for("job", "scheduled");
    assert_eq!(svinit.svctl("start job").code, 0);
    let seen = || ["job", "nightly"].map(|unit| svinit.status(unit)["schedule"].clone());
    let seconds = |value: &Value| {
        let text = value["next"].as_str().unwrap();
        text.split('.').next().unwrap().to_owned()
    };
    let before = seen();
    let busy = || svinit.status("busy")["schedule"]["runs"].as_u64().unwrap();
    for how in ["upgrade", "crash"] {
        let counted = busy();
        if how == "upgrade" {
            assert_eq!(svinit.svctl("upgrade").code, 0, "{}", svinit.output());
        } else {
            // The connection ends with what it was made to.
            let _ = svinit.request("POST", "/v1/fault/panic", "").read_to_string(&mut String::new());
            svinit.wait_for_line("has crashed");
        }
        let after = seen();
        for (before, after) in before.iter().zip(&after) {
            // By the wall clock, which may be corrected a little meanwhile.
            assert_eq!(seconds(before)[..16], seconds(after)[..16], "{how}: {before} {after}");
            assert_eq!((&before["runs"], &before["last"]), (&after["runs"], &after["last"]), "{how}");
        }
        eventually(&format!("it goes on after the {how}"), || busy() >= counted + 2);
    }
}

#[test]
fn another_schedule_is_in_force_at_once_and_interrupts_nothing() {
    let svinit = job(Setup::new(), GATED, "every = \"100ms\"").start();
    svinit.wait_for("job", "starting");
    let unit = |every: &str| {
        let text = format!("type = \"oneshot\"\n{GATED}\n[schedule]\nevery = {every:?}\n");
        let text = text.replace("{dir}", svinit.path("").to_str().unwrap().trim_end_matches('/'));
        fs::write(svinit.path("units/job.toml"), text).unwrap();
        let answer = svinit.svctl("update");
        assert_eq!(answer.code, 0, "{answer:?}");
    };
    unit("1h");
    File::create(svinit.path("go")).unwrap();
    svinit.wait_for("job", "scheduled");
    assert_eq!(schedule(&svinit)["when"], "every 1h");
    let runs = count(&svinit, "runs");
    unit("150ms");
    wait_for_count(&svinit, "runs", runs + 2);
    assert!(!svinit.path("two").exists(), "two have run at once");
}
