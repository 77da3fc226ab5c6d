//! Which limits of a unit's tree cannot be enforced here: said once, then watched where that is possible.

use crate::os::cgroup::Cgroups;
use crate::units::spec::Limits;

/// What of `limits` cannot be enforced, as one sentence; `None`: all of it can.
#[must_use]
pub fn unenforced(limits: &Limits, cgroups: Option<&Cgroups>) -> Option<String> {
    let wanted = [
        ("memory_max", "memory", limits.memory_max.is_some()),
        ("cpu", "cpu", limits.cpu_percent.is_some()),
        ("pids", "pids", limits.pids.is_some()),
    ];
    let missing: Vec<&str> = wanted
        .into_iter()
        .filter(|(_, controller, is_set)| *is_set && !cgroups.is_some_and(|groups| groups.has(controller)))
        .map(|(key, _, _)| key)
        .collect();
    if missing.is_empty() {
        return None;
    }
    let cause = match cgroups {
        Some(_) => "the controller was not given to this container",
        None => "no writable control group (cgroup v2) with controllers was given to this container",
    };
    Some(format!("cannot enforce {}: {cause}", missing.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_enforced_is_named_and_what_is_only_watched_is_not() {
        let limits = Limits { memory_max: Some(1), pids: Some(1), memory_high: Some(1), ..Limits::default() };
        assert_eq!(
            unenforced(&limits, None).unwrap(),
            "cannot enforce memory_max, pids: no writable control group (cgroup v2) with controllers was given to this container"
        );
        assert_eq!(unenforced(&Limits { memory_high: Some(1), ..Limits::default() }, None), None);
    }
}
