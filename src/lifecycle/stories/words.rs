//! Stories with all their words: what a person reads of a unit after each event, and what a command is given.
//!
//! The other stories look at what is done. Here it is what is said: every reason, every answer, every number that is
//! shown. What is said is in `words/NAME.txt`; `UPDATE=1 cargo test stories::words` writes it.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "all other wishes are told as in the other stories, also those that are still to come"
)]

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use crate::lifecycle::action::Action;
use crate::lifecycle::state::UnitView;
use crate::lifecycle::stories::{Story, argv, names, ready_by, tcp, unit};
use crate::lifecycle::time::Time;
use crate::units::spec::{
    Check, Health, HostPort, HttpUrl, KillMode, Kind, OnFailure, OnLimit, Policy, Ready, ReadySign,
    ReloadHow, Restart, SignalName, UnitSpec, WaitFor,
};

pub(super) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Plays the events and compares everything that is said with what was written down.
pub(super) fn reads(name: &str, specs: impl IntoIterator<Item = UnitSpec>, events: &str) {
    let mut story = Story::of(specs);
    let mut told = String::new();
    let mut before: Vec<UnitView> = Vec::new();
    for line in events.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let mut words = line.split_whitespace();
        let now = Time::from_millis(words.next().unwrap().parse().unwrap());
        let words: Vec<&str> = words.collect();
        let actions = if words == ["boot"] {
            story.machine.boot(now)
        } else {
            let event = story.event(&words);
            story.machine.step(event, now)
        };
        writeln!(told, "{line}").unwrap();
        for action in &actions {
            if let Some(said) = said(action) {
                writeln!(told, "  {said}").unwrap();
            }
        }
        let views = story.machine.views();
        for view in views.iter().filter(|view| !before.contains(view)) {
            writeln!(told, "  {}", shown(view)).unwrap();
        }
        before = views;
        let due = story.machine.next_deadline().map_or("never".to_owned(), |at| at.to_string());
        writeln!(told, "  due {due}").unwrap();
    }
    let file = format!("{}/src/lifecycle/stories/words/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, &told).unwrap();
    }
    let wanted = std::fs::read_to_string(&file).unwrap();
    assert!(told == wanted, "what was said:\n{told}\nwhat should have, by {file}:\n{wanted}");
}

fn said(action: &Action) -> Option<String> {
    match action {
        Action::Spawn { run, purpose, extra_env, .. } if !extra_env.is_empty() => {
            let env: Vec<String> = extra_env.iter().map(|(name, value)| format!("{name}={value}")).collect();
            Some(format!("{purpose:?} {run} {}", env.join(" ")))
        }
        Action::Answer { job, outcome } => {
            let ok = if outcome.ok { "ok" } else { "no" };
            let said = if outcome.said.is_empty() { String::new() } else { format!(" | {}", outcome.said) };
            Some(format!("job {} {} {ok}: {}{said}", job.0, outcome.unit, outcome.why))
        }
        Action::End(end) => Some(format!("end {}: {}", end.status, end.why)),
        other => Story::words(other).filter(|words| !words.starts_with('[')),
    }
}

/// All that `svctl status --json` and `svctl why` show, in one line; what is as it mostly is, is left out.
fn shown(view: &UnitView) -> String {
    let mut text = format!("{} {} {}: {}", view.name, view.label.as_str(), view.health.as_str(), view.why);
    let millis = |span: Duration| span.as_millis();
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            write!(text, "; {name} {value}").unwrap();
        }
    };
    add("pid", view.pid.map(|pid| pid.to_string()));
    add("since", Some(millis(view.since.since(Time::ZERO)).to_string()));
    add("ill", Some(view.health_why.clone()));
    add("restarts", (view.restarts > 0).then(|| view.restarts.to_string()));
    add(
        "last",
        view.last_exit.map(|exit| format!("{:?}{}", exit.status, if exit.oom { " oom" } else { "" })),
    );
    add("says", Some(view.status_text.clone()));
    add("retry", view.retry_at.map(|at| at.to_string()));
    add("up took", view.start_took.map(|took| millis(took).to_string()));
    add("down took", view.stop_took.map(|took| millis(took).to_string()));
    for aside in &view.beside {
        let pid = aside.pid.map_or("none".to_owned(), |pid| pid.to_string());
        add("beside", Some(format!("{pid} {}", aside.label.as_str())));
    }
    add("held", view.held.then(|| "yes".to_owned()));
    add("paused", view.paused.then(|| "yes".to_owned()));
    add("unwanted", (!view.wanted).then(|| "yes".to_owned()));
    text
}

#[test]
fn memory_is_measured_and_above_its_bounds_for_long_enough_restarts_the_unit() {
    let mut web = unit("web");
    web.limits.memory_high = Some(1 << 20);
    web.limits.memory_max = Some(3 << 19);
    web.limits.memory_for = seconds(10);
    reads(
        "memory",
        [web],
        "
        0 boot
        5 spawned #1
        2005 tick
        2006 measured #1 1048577
        4005 tick
        4006 measured #1 1048576
        6005 tick
        6006 measured #1 1100000
        16005 tick
        16006 measured #1 1200000
        16007 exit #1 0
        16008 gone #1
        16009 spawned #2
        18009 tick
        18010 measured #2 1572865
        18011 pause web
        18012 exit #2 0
        18013 gone #2
        18014 resume web
        18015 spawned #3
        18016 pause web
        30000 resume web
        32000 tick
        ",
    );
}

#[test]
fn an_ill_unit_says_what_its_check_said() {
    let mut web = unit("web");
    web.health = Some(Health {
        check: tcp(),
        interval: seconds(10),
        timeout: seconds(3),
        retries: 2,
        start_period: seconds(5),
        on_failure: OnFailure::Restart,
    });
    reads(
        "ill",
        [web],
        "
        0 boot
        0 spawned #1
        4000 refused #2
        14000 tick
        17000 tick
        27000 tick
        27001 passed #4
        37001 tick
        37002 refused #5
        47002 tick
        47003 refused #6
        47004 exit #1 0
        47005 gone #1
        47006 spawned #7
        47007 pause web
        50000 resume web
        50001 passed #9
        60001 pause web
        60002 exit #7 1
        60003 gone #7
        60004 resume web
        ",
    );
}

#[test]
fn a_check_by_command_tells_its_last_line_and_a_remedy_how_it_went() {
    let mut web = unit("web");
    web.health = Some(Health {
        check: Check::Exec(argv("check me")),
        interval: seconds(10),
        timeout: seconds(3),
        retries: 1,
        start_period: Duration::ZERO,
        on_failure: OnFailure::Exec(argv("mend")),
    });
    reads(
        "remedy",
        [web],
        "
        0 boot
        0 spawned #1
        10 said #2 1 broken
        11 gone #2
        12 exit #3 2
        13 gone #3
        14 tick
        10010 tick
        10011 exit #4 1
        10012 gone #4
        10013 exit #5 0
        10014 gone #5
        20011 tick
        20012 exit #6 0
        20013 gone #6
        ",
    );
}

#[test]
fn a_gate_says_whom_it_waits_for_and_gives_up_in_time() {
    let web =
        Check::Http(HttpUrl { at: HostPort { host: "web".to_owned(), port: 81 }, path: "/up".to_owned() });
    let checks = vec![web, Check::File(PathBuf::from("/run/flag")), Check::Unix(PathBuf::from("/run/s"))];
    let wait_for = Some(WaitFor { checks, timeout: seconds(20), interval: seconds(1) });
    reads(
        "gate",
        [UnitSpec { wait_for, ..unit("web") }],
        "
        0 boot
        10 refused #1
        1010 tick
        1020 passed #2
        1030 refused #3
        2030 tick
        7030 tick
        8030 tick
        8040 passed #5
        8050 refused #6
        20000 tick
        20001 tick
        30000 stop web
        ",
    );
}

#[test]
fn a_failed_hook_says_what_it_said() {
    let mut web = unit("web");
    web.hooks.pre_start = vec![argv("one"), argv("two 2")];
    web.hooks.post_start = vec![argv("warm up"), argv("more")];
    web.hooks.pre_stop = vec![argv("drain"), argv("drain more")];
    web.hooks.post_stop = vec![argv("clean"), argv("clean more")];
    web.hooks.timeout = seconds(5);
    reads(
        "hooks",
        [web],
        "
        0 boot
        1 exit #1 0
        2 gone #1
        3 said #2 4 wrong
        4 gone #2
        5 exit #3 0
        6 gone #3
        7 exit #4 1
        8 gone #4
        9 exit #5 0
        10 gone #5
        11 exit #6 0
        12 gone #6
        13 spawned #7
        14 exit #8 1
        15 gone #8
        16 exit #9 0
        17 gone #9
        20 stop web
        5020 tick
        5021 killed #10 9
        5022 gone #10
        5023 exit #11 0
        5024 gone #11
        13023 tick
        13024 killed #7 9
        13025 gone #7
        13026 exit #12 0
        13027 gone #12
        13028 exit #13 0
        13029 gone #13
        ",
    );
}

#[test]
fn who_is_not_ready_in_time_for_want_of_a_check_is_told_so() {
    reads(
        "late_a_check",
        [UnitSpec { ready: ready_by(tcp()), ready_timeout: seconds(1), ..unit("web") }],
        "
        0 boot
        0 spawned #1
        500 refused #2
        600 tick
        1000 tick
        1001 exit #1 0
        1002 gone #1
        1003 exit #4 1
        1004 gone #4
        ",
    );
}

#[test]
fn who_is_not_ready_in_time_for_want_of_a_delay_is_told_so() {
    reads(
        "late_a_delay",
        [UnitSpec {
            ready: Some(Ready { sign: ReadySign::Delay(seconds(3)), interval: seconds(1) }),
            ready_timeout: seconds(1),
            ..unit("web")
        }],
        "
        0 boot
        10 spawned #1
        1000 tick
        1001 dumped #1
        1002 gone #1
        ",
    );
}

#[test]
fn who_is_not_ready_in_time_for_want_of_a_word_is_told_so() {
    reads(
        "late_a_word",
        [UnitSpec { kind: Kind::Notify, ready_timeout: seconds(1), ..unit("web") }],
        "
        0 boot
        10 spawned #1
        20 status #1 loading
        30 mainpid #1 77
        1000 tick
        1001 oom #1
        1002 gone #1
        1003 spawned #2
        1500 ready #2
        1600 status #2 serving
        1700 mainpid #2 78
        ",
    );
}

#[test]
fn who_is_not_ready_in_time_for_want_of_its_program_is_told_so() {
    reads(
        "late_its_program",
        [UnitSpec { kind: Kind::Notify, ready_timeout: seconds(1), ..unit("web") }],
        "
        0 boot
        1000 tick
        1001 spawned #1
        9001 tick
        9002 killed #1 9
        9003 gone #1
        9004 missing #2
        ",
    );
}

#[test]
fn who_is_not_ready_in_time_for_want_of_its_end_is_told_so() {
    reads(
        "late_its_end",
        [UnitSpec { kind: Kind::Oneshot, ready_timeout: seconds(1), ..unit("web") }],
        "
        0 boot
        1 spawned #1
        1000 tick
        1001 killed #1 15
        1002 gone #1
        1003 spawned #2
        1004 exit #2 1
        1005 gone #2
        1006 spawned #3
        1007 exit #3 0
        1008 gone #3
        ",
    );
}

#[test]
fn who_is_not_ready_in_time_for_want_of_its_parent_is_told_so() {
    reads(
        "late_its_parent",
        [UnitSpec {
            kind: Kind::Forking { pid_file: PathBuf::from("/p") },
            ready_timeout: seconds(1),
            ..unit("web")
        }],
        "
        0 boot
        1 spawned #1
        1000 tick
        1001 exit #1 0
        1002 gone #1
        1003 spawned #2
        1004 exit #2 0
        1005 no-main #2
        1055 tick
        2000 no-main #2
        2003 tick
        2004 gone #2
        ",
    );
}

#[test]
fn a_reload_that_fails_leaves_the_unit_as_it_was_and_says_why() {
    let mut web = UnitSpec { kind: Kind::Notify, ..unit("web") };
    web.reload.how = Some(ReloadHow::Signal(SignalName("HUP".to_owned())));
    web.reload.test = Some(argv("check"));
    web.reload.timeout = seconds(5);
    let bare = UnitSpec { enabled: false, ..unit("bare") };
    reads(
        "reload",
        [web, bare],
        "
        0 boot
        0 spawned #1
        10 reload web
        20 ready #1
        30 reload web
        31 said #2 1 bad
        32 gone #2
        40 reload web
        41 exit #3 0
        42 gone #3
        5041 tick
        6000 reload web
        6001 reload web
        6002 exit #4 0
        6003 gone #4
        6004 ready #1
        6005 exit #5 0
        6006 gone #5
        6007 ready #1
        6010 reloading #1
        6020 ready #1
        6030 reloading #1
        11030 tick
        12000 reload bare
        12001 start bare
        12002 spawned #6
        12003 reload bare
        12004 reload-or-restart bare
        12005 exit #6 0
        12006 gone #6
        12007 spawned #7
        12008 signal web bare
        12009 stop bare
        12010 exit #7 0
        12011 gone #7
        12012 signal bare
        12013 restart web
        12014 said #8 2 worse
        12015 gone #8
        12016 restart web
        12017 stop web
        12018 exit #1 0
        12019 gone #1
        12020 gone #9
        12021 reload web
        ",
    );
}

#[test]
fn a_reload_by_command_says_what_the_command_said() {
    let mut web = unit("web");
    web.reload.how = Some(ReloadHow::Command(argv("again")));
    reads(
        "reload_command",
        [web],
        "
        0 boot
        0 spawned #1
        10 reload web
        11 said #2 1 no
        12 gone #2
        20 reload web
        30020 tick
        30021 gone #3
        30022 reload web
        30023 exit #4 0
        30024 gone #4
        30025 reload web
        30026 exit #1 1
        ",
    );
}

#[test]
fn a_stop_command_that_fails_is_followed_by_the_signal() {
    let mut web = unit("web");
    web.stop.command = Some(argv("quit"));
    reads(
        "stop_command",
        [web],
        "
        0 boot
        0 spawned #1
        10 stop web
        20 exit #2 3
        21 gone #2
        8010 tick
        13009 tick
        13010 tick
        13011 killed #1 9
        13012 gone #1
        13013 start web
        13014 spawned #3
        13015 stop web
        13016 exit #4 0
        13017 gone #4
        13018 exit #3 0
        13019 gone #3
        13020 start web
        13021 spawned #5
        13022 stop web
        21022 tick
        21023 gone #6
        21024 killed #5 9
        21025 gone #5
        ",
    );
}

#[test]
fn the_way_from_back_off_to_half_open_tries_is_told() {
    let mut web = unit("web");
    web.restart = Restart { limit: 3, window: seconds(60), max_delay: seconds(10), ..web.restart };
    reads(
        "back_off",
        [web, UnitSpec { requires: names(&["web"]), enabled: false, ..unit("above") }],
        "
        0 boot
        1 spawned #1
        2 exit #1 1
        3 gone #1
        4 missing #2
        5 no-room #3
        105 tick
        106 no-room #4
        306 tick
        307 spawned #5
        308 exit #5 2
        309 gone #5
        310 start above
        409 tick
        410 spawned #6
        411 exit #6 2
        412 gone #6
        10412 tick
        10413 exit #7 2
        10414 gone #7
        10415 reset web
        20414 tick
        20415 spawned #8
        20416 spawned #9
        90417 exit #8 2
        90418 gone #8
        90419 spawned #10
        ",
    );
}

#[test]
fn the_limit_and_permanent_codes_end_a_unit_and_say_so() {
    let mut web = unit("web");
    web.restart = Restart { limit: 1, on_limit: OnLimit::Fail, permanent_codes: vec![9], ..web.restart };
    let mut job = unit("job");
    job.restart.policy = Policy::OnFailure;
    reads(
        "limit",
        [web, job, UnitSpec { requires: names(&["web"]), enabled: false, ..unit("above") }],
        "
        0 boot
        1 spawned #1
        2 spawned #2
        3 exit #2 1
        4 gone #2
        5 exit #3 1
        6 gone #3
        7 start above
        8 reset web
        9 start web
        10 spawned #4
        11 exit #4 9
        12 gone #4
        13 killed #1 15
        14 gone #1
        ",
    );
}

#[test]
fn the_end_tells_who_took_how_long_and_who_was_killed() {
    let slow = UnitSpec { requires: names(&["base"]), ..unit("slow") };
    let quick = UnitSpec { requires: names(&["base"]), ..unit("quick") };
    let mut group = unit("group");
    group.stop.kill = KillMode::Group;
    reads(
        "end",
        [unit("base"), slow, quick, group],
        "
        0 boot
        1 spawned #1
        2 spawned #2
        3 spawned #3
        4 spawned #4
        10 start base quick
        100 shutdown
        110 start base
        111 stop slow
        120 exit #3 0
        121 gone #3
        130 exit #2 0
        4850 tick
        4851 killed #4 9
        4852 gone #4
        4860 gone #2
        4900 exit #1 0
        9600 tick
        10000 tick
        ",
    );
}

#[test]
fn what_ends_for_good_ends_all_and_with_its_status() {
    let mut web = UnitSpec { essential: true, ..unit("web") };
    web.restart.policy = Policy::Never;
    reads(
        "essential",
        [web, unit("other")],
        "
        0 boot
        1 spawned #1
        2 spawned #2
        10 dumped #2
        11 gone #2
        12 exit #1 0
        13 gone #1
        ",
    );
}

#[test]
fn what_requires_waits_and_says_for_whom() {
    let above = UnitSpec { requires: names(&["base"]), wants: names(&["wish"]), ..unit("above") };
    let part = UnitSpec { part_of: names(&["base"]), after: names(&["base"]), ..unit("part") };
    let rival = UnitSpec { conflicts: names(&["part"]), enabled: false, ..unit("rival") };
    let part = UnitSpec { conflicts: names(&["rival"]), ..part };
    reads(
        "waiting",
        [unit("base"), unit("wish"), above, part, rival],
        "
        0 boot
        1 spawned #1
        2 stop base
        3 spawned #2
        4 start above
        5 exit #1 0
        6 gone #1
        7 spawned #3
        8 spawned #4
        9 spawned #5
        20 stop base
        21 exit #4 0
        22 gone #4
        23 exit #5 0
        24 gone #5
        25 exit #3 0
        26 gone #3
        27 start rival
        28 spawned #6
        29 start part
        30 exit #6 0
        31 gone #6
        32 spawned #7
        33 spawned #8
        40 restart-all base
        41 exit #8 0
        42 gone #8
        43 exit #7 0
        44 gone #7
        ",
    );
}

#[test]
fn what_kill_process_leaves_is_cleared_away_before_the_next_start() {
    let mut web = unit("web");
    web.stop.kill = KillMode::Process;
    web.hooks.post_stop = vec![argv("clean")];
    reads(
        "leftover",
        [web],
        "
        0 boot
        1 spawned #1
        10 restart web
        8010 tick
        8011 oom #1
        8012 exit #2 0
        8013 gone #2
        8014 gone #1
        8015 spawned #3
        8016 dumped #3
        8017 exit #4 0
        8018 gone #4
        8019 gone #3
        8020 missing #5
        8021 exit #6 0
        8022 gone #6
        ",
    );
}
