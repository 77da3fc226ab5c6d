//! What the fields mean, and when they come next, by table.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::Cron;

/// Central Europe, by its rules alone: no file is needed.
fn zurich() -> TimeZone {
    TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The next moments after `from`, as the clock in `zone` shows them, with its offset.
fn next(cron: &str, zone: &TimeZone, from: &str, count: usize) -> Vec<String> {
    let cron = Cron::parse(cron).unwrap();
    let mut after = at(from);
    let mut found = Vec::new();
    for _ in 0..count {
        let Some(moment) = cron.next(after, zone) else { break };
        let zoned = moment.to_zoned(zone.clone());
        found.push(zoned.strftime("%a %Y-%m-%d %H:%M %z").to_string());
        after = moment;
    }
    found
}

fn check(cron: &str, from: &str, expected: &[&str]) {
    assert_eq!(next(cron, &TimeZone::UTC, from, expected.len()), expected, "{cron} from {from}");
}

#[test]
fn fields_are_lists_ranges_steps_and_names() {
    check("0 3 * * *", "2026-11-30T02:59:59Z", &["Mon 2026-11-30 03:00 +0000", "Tue 2026-12-01 03:00 +0000"]);
    check("0 3 * * *", "2026-11-30T03:00:00Z", &["Tue 2026-12-01 03:00 +0000"]);
    check(
        "*/20 8-9 * * *",
        "2026-01-01T08:21:00Z",
        &[
            "Thu 2026-01-01 08:40 +0000",
            "Thu 2026-01-01 09:00 +0000",
            "Thu 2026-01-01 09:20 +0000",
            "Thu 2026-01-01 09:40 +0000",
            "Fri 2026-01-02 08:00 +0000",
        ],
    );
    check(
        "5,10-20/5 0 1 jan,JUL *",
        "2026-01-01T00:10:00Z",
        &["Thu 2026-01-01 00:15 +0000", "Thu 2026-01-01 00:20 +0000", "Wed 2026-07-01 00:05 +0000"],
    );
    check("0 12 * * mon-FRI", "2026-11-27T12:00:00Z", &["Mon 2026-11-30 12:00 +0000"]);
    check(
        "0 12 * * sat-sun",
        "2026-11-27T12:00:00Z",
        &["Sat 2026-11-28 12:00 +0000", "Sun 2026-11-29 12:00 +0000"],
    );
    check("0 0 * * 7", "2026-11-27T12:00:00Z", &["Sun 2026-11-29 00:00 +0000"]);
    check("* * * * *", "2026-12-31T23:59:30Z", &["Fri 2027-01-01 00:00 +0000", "Fri 2027-01-01 00:01 +0000"]);
}

#[test]
fn names_stand_for_five_fields() {
    let from = "2026-11-30T10:30:00Z";
    check("@hourly", from, &["Mon 2026-11-30 11:00 +0000"]);
    check("@daily", from, &["Tue 2026-12-01 00:00 +0000"]);
    check("@midnight", from, &["Tue 2026-12-01 00:00 +0000"]);
    check("@weekly", from, &["Sun 2026-12-06 00:00 +0000"]);
    check("@monthly", from, &["Tue 2026-12-01 00:00 +0000"]);
    check("@Yearly", from, &["Fri 2027-01-01 00:00 +0000"]);
}

#[test]
fn restricted_days_of_month_and_week_are_joined_by_or_and_open_ones_by_and() {
    check(
        "0 0 13 * fri",
        "2026-11-08T00:00:00Z",
        &["Fri 2026-11-13 00:00 +0000", "Fri 2026-11-20 00:00 +0000"],
    );
    check(
        "0 0 1 * mon",
        "2026-11-29T00:00:00Z",
        &["Mon 2026-11-30 00:00 +0000", "Tue 2026-12-01 00:00 +0000"],
    );
    check("0 0 * * fri", "2026-11-08T00:00:00Z", &["Fri 2026-11-13 00:00 +0000"]);
    // A day of the month that begins with "*" is open, whatever its step.
    check(
        "0 0 */2 * fri",
        "2026-11-08T00:00:00Z",
        &["Fri 2026-11-13 00:00 +0000", "Fri 2026-11-27 00:00 +0000"],
    );
}

#[test]
fn a_leap_day_is_waited_for() {
    check("0 0 29 2 *", "2024-02-29T00:00:00Z", &["Tue 2028-02-29 00:00 +0000"]);
    check("0 0 29 2 *", "2096-03-01T00:00:00Z", &["Fri 2104-02-29 00:00 +0000"]);
    check("0 0 31 * *", "2026-03-31T00:00:00Z", &["Sun 2026-05-31 00:00 +0000"]);
}

#[test]
fn a_time_of_day_that_is_left_out_comes_at_the_change_and_one_that_is_given_twice_comes_once() {
    // In 2026 the clock goes from 02:00 to 03:00 on 29 March and from 03:00 to 02:00 on 25 October.
    assert_eq!(
        next("30 2 * * *", &zurich(), "2026-03-28T00:00:00Z", 3),
        ["Sat 2026-03-28 02:30 +0100", "Sun 2026-03-29 03:00 +0200", "Mon 2026-03-30 02:30 +0200",]
    );
    // Several of them come together, and with what is due then anyhow.
    assert_eq!(
        next("0,30 2,3 * * *", &zurich(), "2026-03-29T00:00:00Z", 2),
        ["Sun 2026-03-29 03:00 +0200", "Sun 2026-03-29 03:30 +0200",]
    );
    assert_eq!(
        next("30 2 * * *", &zurich(), "2026-10-24T12:00:00Z", 2),
        ["Sun 2026-10-25 02:30 +0200", "Mon 2026-10-26 02:30 +0100",]
    );
}

#[test]
fn what_goes_by_interval_follows_the_minutes_that_pass() {
    assert_eq!(
        next("*/30 * * * *", &zurich(), "2026-03-29T00:00:00Z", 3),
        ["Sun 2026-03-29 01:30 +0100", "Sun 2026-03-29 03:00 +0200", "Sun 2026-03-29 03:30 +0200",]
    );
    assert_eq!(
        next("*/30 * * * *", &zurich(), "2026-10-25T00:00:00Z", 5),
        [
            "Sun 2026-10-25 02:30 +0200",
            "Sun 2026-10-25 02:00 +0100",
            "Sun 2026-10-25 02:30 +0100",
            "Sun 2026-10-25 03:00 +0100",
            "Sun 2026-10-25 03:30 +0100",
        ]
    );
}

#[test]
fn zones_with_odd_offsets_and_days_that_were_never_are_no_trouble() {
    let kathmandu = TimeZone::posix("<+0545>-5:45").unwrap();
    assert_eq!(next("0 * * * *", &kathmandu, "2026-01-01T00:00:00Z", 1), ["Thu 2026-01-01 06:00 +0545"]);
    // Where midnight is left out, the day begins later, and what is due at midnight comes then.
    let santiago = TimeZone::posix("<-04>4<-03>,M9.1.6/24,M4.1.6/24").unwrap();
    assert_eq!(next("0 0 * * *", &santiago, "2026-09-05T12:00:00Z", 1), ["Sun 2026-09-06 01:00 -0300"]);
    assert_eq!(next("* * * * *", &santiago, "2026-09-06T03:59:00Z", 1), ["Sun 2026-09-06 01:00 -0300"]);
}

#[test]
fn what_cannot_be_understood_is_refused_with_a_remedy() {
    let said = |text: &str| {
        let bad = Cron::parse(text).unwrap_err();
        [bad.why, bad.help].into_iter().flatten().collect::<Vec<_>>().join("; ")
    };
    let cases = [
        ("", "it has 0 fields"),
        ("* * * *", "it has 4 fields"),
        (
            "0 0 * * * *",
            "it has 6 fields; there are no seconds here; every = \"10s\" is for what is more frequent",
        ),
        ("60 * * * *", "minute: \"60\" is no number from 0 to 59"),
        ("0 24 * * *", "hour: \"24\" is no number from 0 to 23"),
        ("0 0 0 * *", "day of the month: \"0\" is no number from 1 to 31"),
        ("0 0 * 13 *", "month: \"13\" is no number from 1 to 12, or jan to dec"),
        ("0 0 * * 8", "day of the week: \"8\" is no number from 0 to 7, or sun to sat"),
        (
            "0 0 L * *",
            "day of the month: \"L\" is no number from 1 to 31; L, W, # and ? of other programs are not known here",
        ),
        ("5/15 * * * *", "minute: \"5/15\" has a step and no range; write \"5-59/15\""),
        ("*/0 * * * *", "minute: a step is a number from 1 to 59, not \"0\"; write \"*\" for each minute"),
        (
            "*/60 * * * *",
            "minute: a step is a number from 1 to 59, not \"60\"; write \"0\" for each full hour",
        ),
        (
            "*/90 * * * *",
            "minute: a step is a number from 1 to 59, not \"90\"; write every = \"90m\" instead of cron",
        ),
        ("0 20-4 * * *", "hour: \"20-4\" goes backwards; write \"20-23,0-4\""),
        ("1,,2 * * * *", "minute: \"\" is no number from 0 to 59"),
        ("-1 * * * *", "minute: \"\" is no number from 0 to 59"),
        ("+1 * * * *", "minute: \"+1\" is no number from 0 to 59"),
        ("0 0 30 2 *", "it never comes: none of its months has such a day"),
        ("@reboot", "write at_start = true"),
    ];
    for (text, expected) in cases {
        assert_eq!(said(text), expected, "{text}");
    }
    assert!(said("@often").starts_with("there are @yearly"), "{}", said("@often"));
}

/// Whether the clock of `zone` shows a minute of `cron` at `second`, by a reading of its fields that shares nothing with it.
fn fits(cron: &str, zone: &TimeZone, second: i64) -> bool {
    let shown = zone.to_datetime(Timestamp::from_second(second).unwrap());
    let holds = |field: &str, value: i64, min: i64, max: i64| {
        field.split(',').any(|item| {
            let (range, step) = item.split_once('/').unwrap_or((item, "1"));
            let (first, last) = match range.split_once('-') {
                Some((first, last)) => (first.parse().unwrap(), last.parse().unwrap()),
                None if range == "*" => (min, max),
                None => (range.parse().unwrap(), range.parse().unwrap()),
            };
            (first..=last).contains(&value) && (value - first) % step.parse::<i64>().unwrap() == 0
        })
    };
    let fields: Vec<&str> = cron.split(' ').collect();
    let day = holds(fields[2], shown.day().into(), 1, 31);
    let weekday = holds(fields[4], shown.weekday().to_sunday_zero_offset().into(), 0, 6);
    let open = fields[2].starts_with('*') || fields[4].starts_with('*');
    holds(fields[0], shown.minute().into(), 0, 59)
        && holds(fields[1], shown.hour().into(), 0, 23)
        && holds(fields[3], shown.month().into(), 1, 12)
        && if open { day && weekday } else { day || weekday }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn nothing_makes_it_panic(text in r"[0-9*/,@a-zL#? \PC-]{0,40}") {
        if let Ok(cron) = Cron::parse(&text) {
            prop_assert_eq!(Cron::parse(cron.as_str()).unwrap(), cron.clone());
            let moment = cron.next(Timestamp::from_second(1_790_000_000).unwrap(), &zurich());
            prop_assert!(moment.is_some(), "{}", text);
        }
    }

    #[test]
    fn the_next_moment_is_the_first_minute_that_fits(
        minute in r"(\*|[0-9]|[1-5][0-9]|\*/[1-9]|1[0-9]-4[0-9])", hour in r"(\*|[0-9]|1[0-9]|\*/[2-9])",
        day in r"(\*|[1-9]|1[0-9]|\*/[2-9])", month in r"(\*|[1-9]|1[0-2])", weekday in r"(\*|[0-6]|[0-2]-[3-6])",
        from in 1_700_000_000_i64..1_900_000_000,
    ) {
        let text = format!("{minute} {hour} {day} {month} {weekday}");
        let cron = Cron::parse(&text).unwrap();
        let zone = TimeZone::UTC;
        let found = cron.next(Timestamp::from_second(from).unwrap(), &zone).unwrap().as_second();
        prop_assert!(found > from && found % 60 == 0 && fits(&text, &zone, found), "{} {} {}", text, from, found);
        // No minute between fits; of a long wait the last days are looked through.
        let first = (from - from.rem_euclid(60) + 60).max(found - 4000 * 60);
        for second in (first..found).step_by(60) {
            prop_assert!(!fits(&text, &zone, second), "{} from {}: {} is before {}", text, from, second, found);
        }
    }
}
