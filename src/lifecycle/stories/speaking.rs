//! Stories of services that say more than that they are ready: that they are alive, need longer, or why they end.

use crate::lifecycle::stories::unit;
use crate::lifecycle::stories::words::{reads, seconds};
use crate::units::spec::{Kind, ReloadHow, SignalName, UnitSpec};

/// Says when it is ready and then that it is alive.
fn speaker() -> UnitSpec {
    let mut web = unit("web");
    web.kind = Kind::Notify;
    web.watchdog = Some(seconds(10));
    web
}

#[test]
fn one_that_falls_silent_is_told_to_abort_and_started_again() {
    let mut web = speaker();
    web.hooks.pre_stop = vec![crate::lifecycle::stories::argv("ask")];
    web.stop.command = Some(crate::lifecycle::stories::argv("leave"));
    reads(
        "silent",
        [web],
        "
        0 boot
        5 spawned #1
        20000 alive #1
        20001 ready #1
        25000 alive #1
        34999 tick
        35000 tick
        35010 dumped #1
        35011 gone #1
        35012 spawned #2
        35013 ready #2
        35014 hung #2
        43014 tick
        43015 killed #2 9
        43016 gone #2
        ",
    );
}

#[test]
fn one_may_change_how_often_it_speaks_and_is_not_watched_while_it_is_paused() {
    reads(
        "changes_its_pace",
        [speaker()],
        "
        0 boot
        5 spawned #1
        6 ready #1
        7 alive-every #1 60000
        60000 tick
        60001 pause web
        90000 tick
        90001 resume web
        150000 alive #1
        210000 tick
        210001 exit #1 0
        ",
    );
}

#[test]
fn one_that_asks_for_more_time_gets_it() {
    let mut web = speaker();
    web.watchdog = None;
    reads(
        "more_time",
        [web],
        "
        0 boot
        5 spawned #1
        29000 more-time #1 20000
        30005 tick
        48000 more-time #1 500
        48999 ready #1
        49000 stop web
        50000 more-time #1 60000
        109000 status #1 flushing
        109999 reason #1 disk
        110000 tick
        ",
    );
}

#[test]
fn a_reason_of_its_own_is_told_with_its_end() {
    reads(
        "reason",
        [speaker()],
        "
        0 boot
        5 spawned #1
        6 reason #1 no-space
        7 exit #1 1
        8 gone #1
        9 spawned #2
        10 exit #2 1
        ",
    );
}

#[test]
fn one_that_says_that_it_stops_has_its_time_and_is_judged_by_its_end() {
    let mut web = speaker();
    web.watchdog = None;
    web.hooks.pre_stop = vec![crate::lifecycle::stories::argv("ask")];
    web.stop.command = Some(crate::lifecycle::stories::argv("leave"));
    reads(
        "leaves",
        [web],
        "
        0 boot
        5 spawned #1
        6 leaving #1
        7 ready #1
        1000 leaving #1
        2000 more-time #1 9000
        3000 leaving #1
        10999 tick
        11000 tick
        11001 killed #1 9
        11002 gone #1
        11003 spawned #2
        11004 ready #2
        12000 leaving #2
        12500 stop web
        13000 exit #2 0
        13001 gone #2
        ",
    );
}

#[test]
fn the_end_of_an_earlier_reload_is_not_the_end_of_the_one_that_was_asked_for() {
    let mut web = speaker();
    web.watchdog = None;
    web.reload.how = Some(ReloadHow::Signal(SignalName("HUP".to_owned())));
    reads(
        "earlier_reload",
        [web],
        "
        0 boot
        5 spawned #1
        6 ready #1
        1000 reload web
        1001 reloading #1 999
        1002 ready #1
        1003 reloading #1 1000
        1004 ready #1
        2000 reloading #1 2000
        2001 reload web
        2002 ready #1
        2003 reloading #1 2002
        2004 ready #1
        3000 reload web
        3001 ready #1
        ",
    );
}
