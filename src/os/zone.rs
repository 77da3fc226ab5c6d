//! Time zones of this image: by rules, by name from its database, or its own.

use jiff::tz::TimeZone;

use crate::units::spec::Zone;

/// The rules of `zone`.
///
/// # Errors
/// In words, with the remedy: there is no such zone, or no data in this image.
pub fn find(zone: &Zone) -> Result<TimeZone, String> {
    match zone {
        Zone::Utc => Ok(TimeZone::UTC),
        Zone::Rules(rules) => {
            TimeZone::posix(rules).map_err(|error| format!("cannot understand the time zone {rules}: {error}"))
        }
        Zone::Named(name) => TimeZone::get(name).map_err(|_| {
            format!(
                "cannot find the time zone {name}: there is no such one, or this image has no data of time zones \
                 (install tzdata, or write UTC, or rules like CET-1CEST,M3.5.0,M10.5.0/3)"
            )
        }),
        Zone::Local => local(std::env::var("TZ").ok().as_deref()),
    }
}

/// As `TZ` says, else as `/etc/localtime` does; an image without either goes by UTC.
fn local(variable: Option<&str>) -> Result<TimeZone, String> {
    match variable.map(|name| name.trim_start_matches(':')).filter(|name| !name.is_empty()) {
        None => Ok(TimeZone::try_system().unwrap_or(TimeZone::UTC)),
        Some(name) => match Zone::parse(name) {
            Some(Zone::Local) | None => {
                TimeZone::try_system().map_err(|error| format!("cannot use TZ={name}: {error}"))
            }
            Some(zone) => find(&zone).map_err(|why| format!("{why}; TZ says so")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utc_and_rules_need_no_data() {
        let offset =
            |zone: &TimeZone| zone.to_offset(jiff::Timestamp::from_second(1_800_000_000).unwrap()).seconds();
        for (text, seconds) in [("UTC", 0), ("CET-1CEST,M3.5.0,M10.5.0/3", 3600), ("<+0545>-5:45", 20_700)] {
            assert_eq!(offset(&find(&Zone::parse(text).unwrap()).unwrap()), seconds, "{text}");
        }
        assert_eq!(offset(&local(Some(":EST5")).unwrap()), -18_000);
        assert_eq!(offset(&local(Some("UTC")).unwrap()), 0);
    }

    #[test]
    fn a_zone_that_is_not_there_is_told_with_the_remedy() {
        let why = find(&Zone::parse("Middle/Earth").unwrap()).unwrap_err();
        assert!(why.starts_with("cannot find the time zone Middle/Earth") && why.contains("tzdata"), "{why}");
    }
}
