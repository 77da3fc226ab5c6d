//! Five fields of time, as cron has them, and when they come next.
//!
//! Easy to get wrong: the day of the month and the day of the week are joined by *or* when both are restricted, and by *and*
//! when one of them begins with `*`; and what happens to a time of day that a change of the clock leaves out or gives twice.
//! Both are as in Vixie cron, see [`Cron::next`]. Reads no clock and no time zone file: both are handed in.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};

use crate::units::table::Bad;

/// When something is to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    /// As it was written, with single blanks.
    text: String,
    minutes: Field,
    hours: Field,
    days: Field,
    months: Field,
    /// 0 is Sunday.
    weekdays: Field,
}

/// The values of one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Field {
    /// Bit by value.
    values: u64,
    /// It begins with `*`: nobody has chosen particular values.
    is_open: bool,
}

impl Field {
    fn has(self, value: i8) -> bool {
        u32::try_from(value).is_ok_and(|value| value < 64 && self.values >> value & 1 == 1)
    }

    fn each(self) -> impl Iterator<Item = i8> {
        (0..60).filter(move |value| self.has(*value))
    }
}

/// What a field may hold.
struct Kind {
    name: &'static str,
    min: u32,
    max: u32,
    names: &'static [&'static str],
}

const MINUTES: Kind = Kind { name: "minute", min: 0, max: 59, names: &[] };
const HOURS: Kind = Kind { name: "hour", min: 0, max: 23, names: &[] };
const DAYS: Kind = Kind { name: "day of the month", min: 1, max: 31, names: &[] };
const MONTHS: Kind = Kind {
    name: "month",
    min: 1,
    max: 12,
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
};
const WEEKDAYS: Kind = Kind {
    name: "day of the week",
    min: 0,
    max: 7,
    names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
};

/// The names that stand for five fields.
const NAMED: &[(&str, &str)] = &[
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// Days that are looked at for the next one that fits. The rarest (the 29th of February on a given weekday, over a year that
/// is a multiple of 100) come within forty years.
const DAYS_MAX: usize = 41 * 366;

impl Cron {
    /// Reads `"0 3 * * *"`, `"*/15 8-18 * * mon-fri"`, `"@daily"`.
    ///
    /// # Errors
    /// Which field cannot be understood, and what to write instead.
    pub fn parse(text: &str) -> Result<Self, Bad> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let fields = match words[..] {
            [name] if name.starts_with('@') => named(name)?.split(' ').collect(),
            _ => words.clone(),
        };
        let [minutes, hours, days, months, weekdays] = fields[..] else {
            let help = (words.len() == 6).then(|| {
                "there are no seconds here; every = \"10s\" is for what is more frequent".to_owned()
            });
            return Err(Bad { why: Some(format!("it has {} fields", words.len())), help });
        };
        let mut cron = Self {
            text: words.join(" "),
            minutes: field(minutes, &MINUTES)?,
            hours: field(hours, &HOURS)?,
            days: field(days, &DAYS)?,
            months: field(months, &MONTHS)?,
            weekdays: field(weekdays, &WEEKDAYS)?,
        };
        // Sunday is 0 and 7.
        cron.weekdays.values = (cron.weekdays.values | cron.weekdays.values >> 7) & 0x7f;
        if !cron.can_come() {
            return Err(Bad::why("it never comes: none of its months has such a day"));
        }
        Ok(cron)
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn can_come(&self) -> bool {
        let length = |month: i8| match month {
            2 => 29,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        let by_weekday = !self.days.is_open && !self.weekdays.is_open;
        by_weekday
            || self.months.each().any(|month| self.days.each().next().is_some_and(|day| day <= length(month)))
    }

    /// It goes by the clock's own minutes and hours, not by a time of day: minute or hour begin with `*`.
    #[must_use]
    pub fn is_by_interval(&self) -> bool {
        self.minutes.is_open || self.hours.is_open
    }

    /// The first moment after `after` in `zone`.
    ///
    /// A time of day that a change of the clock leaves out comes at the moment of the change, and one that it gives twice
    /// comes the first time only. What goes by interval comes whenever the clock shows such a minute: never in what is left
    /// out, and both times in what is given twice.
    #[must_use]
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let mut date = zone.to_datetime(after).date();
        for _ in 0..DAYS_MAX {
            if self.is_day(date) {
                let found = if self.is_by_interval() {
                    self.next_minute(date, after, zone)
                } else {
                    self.next_time_of_day(date, after, zone)
                };
                if found.is_some() {
                    return found;
                }
            }
            date = date.tomorrow().ok()?;
        }
        None
    }

    fn is_day(&self, date: Date) -> bool {
        let weekday = self.weekdays.has(match date.weekday() {
            Weekday::Sunday => 0,
            Weekday::Monday => 1,
            Weekday::Tuesday => 2,
            Weekday::Wednesday => 3,
            Weekday::Thursday => 4,
            Weekday::Friday => 5,
            Weekday::Saturday => 6,
        });
        let day = self.days.has(date.day());
        let fits = if self.days.is_open || self.weekdays.is_open { day && weekday } else { day || weekday };
        fits && self.months.has(date.month())
    }

    /// By the times of day of this date, in order.
    fn next_time_of_day(&self, date: Date, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let times = self.hours.each().flat_map(|hour| self.minutes.each().map(move |minute| (hour, minute)));
        let moments = times.filter_map(|(hour, minute)| moment(date.at(hour, minute, 0, 0), zone));
        moments.filter(|moment| *moment > after).min()
    }

    /// By the minutes that really pass while the clock shows this date.
    fn next_minute(&self, date: Date, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let begins = moment(date.to_datetime(Time::midnight()), zone)?;
        let from = begins.as_second().max(after.as_second().saturating_add(1));
        let mut second = from;
        loop {
            let shown = zone.to_datetime(Timestamp::from_second(second).ok()?);
            if shown.date() > date {
                return None;
            }
            let step = match shown.second() {
                0 if shown.date() == date
                    && self.hours.has(shown.hour())
                    && self.minutes.has(shown.minute()) =>
                {
                    return Timestamp::from_second(second).ok();
                }
                past => 60 - i64::from(past),
            };
            second = second.checked_add(step)?;
        }
    }
}

/// When the clock shows `shown`: the first time, or the moment at which it jumps over that.
fn moment(shown: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    let ambiguous = zone.to_ambiguous_timestamp(shown);
    match ambiguous.offset() {
        AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => ambiguous.earlier().ok(),
        AmbiguousOffset::Gap { before, .. } => {
            // By the old offset it would lie behind the change.
            let behind = before.to_timestamp(shown).ok()?;
            let change = zone.preceding(behind.checked_add(jiff::SignedDuration::from_secs(1)).ok()?).next();
            change.map(|change| change.timestamp())
        }
    }
}

fn named(name: &str) -> Result<&'static str, Bad> {
    let lower = name.to_ascii_lowercase();
    let found = NAMED.iter().find(|(known, _)| *known == lower).map(|(_, fields)| *fields);
    found.ok_or_else(|| {
        let help = match lower.as_str() {
            "@reboot" => "write at_start = true".to_owned(),
            _ => format!("there are {}", NAMED.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")),
        };
        Bad { why: None, help: Some(help) }
    })
}

fn field(text: &str, kind: &Kind) -> Result<Field, Bad> {
    let mut values = 0;
    for item in text.split(',') {
        values |= item_of(item, kind)?;
    }
    Ok(Field { values, is_open: text.starts_with('*') })
}

/// `*`, `5`, `mon`, `5-10`, `*/5`, `5-50/5`.
fn item_of(item: &str, kind: &Kind) -> Result<u64, Bad> {
    let (range, step) = match item.split_once('/') {
        None => (item, 1),
        Some((range, step)) => (range, step_of(item, range, step, kind)?),
    };
    let (first, last) = if range == "*" {
        (kind.min, if kind.max == 7 { 6 } else { kind.max })
    } else if let Some((first, last)) = range.split_once('-') {
        let first = value(first, kind)?;
        // "sat-sun" ends with the week.
        let last = if last.eq_ignore_ascii_case("sun") && first > 0 { 7 } else { value(last, kind)? };
        if first > last {
            return Err(Bad {
                why: Some(format!("{}: \"{range}\" goes backwards", kind.name)),
                help: Some(format!("write \"{first}-{},{}-{last}\"", kind.max, kind.min)),
            });
        }
        (first, last)
    } else {
        let only = value(range, kind)?;
        (only, only)
    };
    Ok((first..=last).step_by(step).fold(0, |values, value| values | 1 << value))
}

fn step_of(item: &str, range: &str, step: &str, kind: &Kind) -> Result<usize, Bad> {
    let no = |why: String, help: String| Bad { why: Some(format!("{}: {why}", kind.name)), help: Some(help) };
    if range != "*" && !range.contains('-') {
        let help = format!("write \"{range}-{}/{step}\"", kind.max);
        return Err(no(format!("\"{item}\" has a step and no range"), help));
    }
    let wrong = || {
        let most = kind.max - kind.min;
        no(format!("a step is a number from 1 to {most}, not \"{step}\""), step_help(step, kind))
    };
    let number =
        number(step).filter(|number| (1..=kind.max - kind.min).contains(number)).ok_or_else(wrong)?;
    usize::try_from(number).map_err(|_| wrong())
}

fn step_help(step: &str, kind: &Kind) -> String {
    match (kind.name, number(step)) {
        ("minute", Some(60)) => "write \"0\" for each full hour".to_owned(),
        ("minute", Some(number @ 61..)) => format!("write every = \"{number}m\" instead of cron"),
        ("hour", Some(number @ 24..)) => format!("write every = \"{number}h\" instead of cron"),
        _ => format!("write \"*\" for each {}", kind.name),
    }
}

fn value(text: &str, kind: &Kind) -> Result<u32, Bad> {
    let by_name = kind.names.iter().position(|name| text.eq_ignore_ascii_case(name));
    let by_name = by_name.and_then(|at| u32::try_from(at).ok()).map(|at| at + kind.min);
    let within = |number: &u32| (kind.min..=kind.max).contains(number);
    by_name.or_else(|| number(text).filter(within)).ok_or_else(|| {
        let names = match kind.names {
            [first, .., last] => format!(", or {first} to {last}"),
            [] | [_] => String::new(),
        };
        let short: String = text.chars().take(20).collect();
        let why = format!("{}: \"{short}\" is no number from {} to {}{names}", kind.name, kind.min, kind.max);
        let is_foreign = text.contains(['L', 'W', '#', '?']);
        let help = is_foreign.then(|| "L, W, # and ? of other programs are not known here".to_owned());
        Bad { why: Some(why), help }
    })
}

fn number(text: &str) -> Option<u32> {
    let is_plain = !text.is_empty() && text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_plain)
}

#[cfg(test)]
mod tests;
