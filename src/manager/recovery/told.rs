//! What people are told of what ails, in words: whoever is called at night reads this first, and perhaps on a small screen.

use std::collections::VecDeque;

use crate::manager::recovery::fact::Ailing;
use crate::manager::recovery::fact::Sign;
use crate::manager::recovery::fact::Tried;

/// Instances that are named in one sentence; of more their number is told.
const NAMED_MAX: usize = 8;

/// `down: failed: was killed by SIGKILL`.
pub(super) fn of(sign: &Sign) -> String {
    let colon = if sign.why().is_empty() { "" } else { ": " };
    format!("{}{colon}{}", sign.word(), sign.why())
}

/// Each of them with its service.
pub(super) fn of_all(ailing: &[Ailing]) -> String {
    let one = |one: &Ailing| format!("{} ({}) is {}", one.service, one.instance, of(&one.sign));
    let named: Vec<String> = ailing.iter().take(NAMED_MAX).map(one).collect();
    let more = match ailing.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    format!("{}{more}", named.join(", "))
}

/// What has not helped.
pub(super) fn tried(tried: &VecDeque<Tried>) -> String {
    if tried.is_empty() {
        return "nothing was tried".to_owned();
    }
    let one = |one: &Tried| format!("{} ({}: {})", one.rung.as_str(), one.came.as_str(), one.why);
    format!("tried: {}", tried.iter().map(one).collect::<Vec<_>>().join(", "))
}
