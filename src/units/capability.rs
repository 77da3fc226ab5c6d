//! The names of Linux' capabilities.

use crate::units::suggest::did_you_mean;

/// Linux' capabilities without `CAP_`, by number (`capability.h`).
pub const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// Reads `"NET_BIND_SERVICE"` or `"CAP_NET_BIND_SERVICE"`; gives the name without `CAP_`.
///
/// # Errors
/// What to write instead, if that can be said.
pub fn parse(text: &str) -> Result<String, Option<String>> {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
    let known = CAPABILITIES.iter().find(|known| **known == name);
    known.map(|known| (*known).to_owned()).ok_or_else(|| did_you_mean(name, CAPABILITIES))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn names_are_taken_with_and_without_the_prefix() {
        assert_eq!(parse("cap_net_bind_service").unwrap(), "NET_BIND_SERVICE");
        assert_eq!(parse("NET_BIND").unwrap_err().unwrap(), "did you mean \"NET_BIND_SERVICE\"?");
    }
}
