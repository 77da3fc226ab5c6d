//! Hundreds of units that crash all the time, and a good one among them.

use serde_json::Value;

use crate::fixture::{Setup, Svinit, eventually, kill};
use crate::observer;

const BAD: usize = 200;

/// What `fork_rate` lets through in a second when nobody changes it.
const FORK_RATE: f64 = 50.0;

fn spawned(svinit: &Svinit) -> f64 {
    let metrics = observer::public(&svinit.http(), "/metrics");
    let line = metrics.lines().find(|line| line.starts_with("svinit_processes_spawned_total "));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_else(|| panic!("{metrics}"))
}

fn restarts(unit: &Value) -> u64 {
    unit["restarts"].as_u64().unwrap()
}

#[test]
fn two_hundred_crash_loops_are_bounded_and_do_not_delay_the_good_one() {
    // As hard as the rules of restart let them.
    let bad = "command = [\"false\"]\n[restart]\npolicy = \"always\"\nmax_delay = \"100ms\"\nlimit = 0\n";
    let setup = (0..BAD).fold(Setup::new(), |setup, n| setup.unit(&format!("bad{n:03}"), bad));
    let svinit = setup.http().unit("good", "command = [\"sleep\", \"600\"]").start();
    let mut good = svinit.wait_for("good", "ready").unwrap();
    eventually("the storm has begun", || spawned(&svinit) > 400.0);
    let pid = svinit.pid();
    let (mut elapsed, mut longest) = (0.0, 0.0_f64);
    let before = spawned(&svinit);
    let share = observer::share_of_a_core(pid, || {
        #[expect(clippy::disallowed_methods, reason = "a rate is something over time")]
        let began = std::time::Instant::now();
        for _ in 0..10 {
            assert_eq!(svinit.svctl("restart good").code, 0);
            good = svinit.wait_for("good", "ready").unwrap();
            let before = spawned(&svinit);
            kill(good, "KILL");
            good = svinit.wait_for_another("good", "ready", Some(good)).unwrap();
            longest = longest.max(spawned(&svinit) - before);
            // What a person asks for is over before the next that must keep to the rate.
            assert_eq!(svinit.svctl("stop good").code, 0);
            assert_eq!(svinit.svctl("start good").code, 0);
            good = svinit.wait_for("good", "ready").unwrap();
        }
        observer::pass("2");
        elapsed = began.elapsed().as_secs_f64();
    });
    let rate = (spawned(&svinit) - before - 30.0) / elapsed;
    eprintln!("{rate:.0} processes a second, {:.1} % of a core", share * 100.0);
    // A second's worth may come at once.
    assert!(rate < FORK_RATE * (1.0 + 1.5 / elapsed), "{rate} processes a second in {elapsed} s");
    assert!(rate > FORK_RATE / 10.0, "the storm is over: {rate}");
    assert!(share < 0.5, "{share} of a core");
    // One crash of a good unit does not stand in the queue of two hundred loops, which takes four seconds.
    assert!(longest < 100.0, "{longest} processes were made before it was repaired");
    // Each has its turn: none waits for ever behind those that ask more often.
    eventually("all have been tried again", || {
        let units = svinit.get("/v1/units");
        units.as_array().unwrap().iter().filter(|unit| unit["unit"] != "good").all(|unit| restarts(unit) >= 3)
    });
    assert_eq!(svinit.wait_for("good", "ready"), Some(good));
    let health = observer::public(&svinit.http(), "/health");
    assert!(health.contains("503 "), "{health}");
    svinit.signal("TERM");
    svinit.wait_for_end();
}

#[test]
fn a_person_does_not_wait_behind_a_storm_of_restarts() {
    let bad = "command = [\"false\"]\n[restart]\nmax_delay = \"100ms\"\nlimit = 0\n";
    let setup = (0..BAD).fold(Setup::new(), |setup, n| setup.unit(&format!("bad{n:03}"), bad));
    let svinit =
        setup.config("fork_rate = 1\n").http().unit("good", "command = [\"sleep\", \"600\"]").start();
    svinit.wait_for("good", "ready");
    eventually("the first burst is over", || spawned(&svinit) > 200.0);
    // At one restart a second two hundred units are ahead in the queue: what a person asks for does not stand in it.
    let before = spawned(&svinit);
    assert_eq!(svinit.svctl("restart good --timeout 20s").code, 0);
    let passed = spawned(&svinit) - before;
    assert!(passed < 100.0, "{passed} processes were made before");
}

#[test]
fn a_unit_that_crashes_before_it_is_ready_is_never_shown_as_ready() {
    let flap = "command = [\"sh\", \"-c\", \"sleep 0.05; exit 1\"]\nready.delay = \"10s\"\n[restart]\nmax_delay = \"100ms\"\nlimit = 0\n";
    let svinit = Setup::new().http().unit("flap", flap).start();
    eventually("it is tried again", || restarts(&svinit.status("flap")) >= 5);
    assert!(observer::public(&svinit.http(), "/health").contains("503 "));
    assert!(observer::public(&svinit.http(), "/readyz").contains("503 "));
    let said = svinit.output();
    assert!(said.contains("flap: backoff") && !said.contains("flap: ready"), "{said}");
}
