//! Capabilities by name.

use std::ops::BitOr;

use crate::units::capability::CAPABILITIES;

/// The bit of a capability, with or without `CAP_`, in any case.
pub(in crate::os) fn bit(name: &str) -> Option<u64> {
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
    CAPABILITIES.iter().position(|known| *known == bare).map(|number| 1 << number)
}

/// The bits of all these names, or the first name that there is not.
pub(super) fn bits(names: &[String]) -> Result<u64, &str> {
    names.iter().map(|name| bit(name).ok_or(name.as_str())).try_fold(0, |all, one| Ok(one?.bitor(all)))
}

/// Names of the bits that are set.
pub(in crate::os) fn names(bits: u64) -> Vec<String> {
    let named = CAPABILITIES.iter().enumerate().filter(|(number, _)| bits & (1 << number) != 0);
    named.map(|(_, name)| (*name).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_bits_go_both_ways() {
        let wanted = vec!["CHOWN".to_owned(), "NET_BIND_SERVICE".to_owned()];
        assert_eq!(bits(&wanted), Ok(1 | 1 << 10));
        assert_eq!(names(1 | 1 << 10), wanted);
        assert_eq!(bit("cap_checkpoint_restore"), Some(1 << 40));
        assert_eq!(bits(&["CHOWN".to_owned(), "FLY".to_owned()]), Err("FLY"));
    }
}
