//! Who has an address: from the kernel's table of sockets to the process that has one of them.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::lifecycle::event::Pid;
use crate::os::procfs;
use crate::units::socket::{SocketType, takes};

/// Bytes of a table that are read; a listener is near its beginning.
const TABLE_MAX: u64 = 1 << 20;

/// A process that is in the way of a socket at `at`; `None` when it cannot be told.
pub(super) fn of_inet(at: SocketAddr, r#type: SocketType) -> Option<Pid> {
    let (protocol, state) = match r#type {
        SocketType::Stream => ("tcp", "0A"),
        SocketType::Datagram => ("udp", "07"),
    };
    let inodes: Vec<u64> = [protocol.to_owned(), format!("{protocol}6")]
        .iter()
        .filter_map(|table| procfs::read_up_to(&format!("/proc/net/{table}"), TABLE_MAX))
        .flat_map(|text| in_the_way(&String::from_utf8_lossy(&text), at, state))
        .collect();
    let wanted: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    procfs::all()?.into_iter().find(|pid| has_one_of(*pid, &wanted))
}

/// Inodes of the sockets in a table of `/proc/net` that clash with `at`.
fn in_the_way(table: &str, at: SocketAddr, state: &str) -> Vec<u64> {
    let of_line = |line: &str| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let local = parse_address(fields.next()?)?;
        // Whether an IPv6 one takes IPv4 as well is not told.
        let clashes = local.port() == at.port()
            && (takes(local.ip(), false, at.ip()) || takes(at.ip(), false, local.ip()));
        let is_open = fields.nth(1)? == state;
        let inode = fields.nth(5)?.parse().ok()?;
        (clashes && is_open && inode != 0).then_some(inode)
    };
    table.lines().skip(1).filter_map(of_line).collect()
}

/// `0100007F:1F90`: words of 32 bits as the machine has them in memory, and a port.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let words: Vec<[u8; 4]> = (0..ip.len() / 8)
        .map(|word| Some(u32::from_str_radix(ip.get(word * 8..word * 8 + 8)?, 16).ok()?.to_ne_bytes()))
        .collect::<Option<_>>()?;
    let ip = match &words[..] {
        [word] => IpAddr::V4(Ipv4Addr::from(*word)),
        [_, _, _, _] => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(words.concat()).ok()?)),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

fn has_one_of(pid: Pid, wanted: &[String]) -> bool {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    entries.flatten().any(|entry| {
        fs::read_link(entry.path())
            .is_ok_and(|link| wanted.iter().any(|one| link.as_os_str() == one.as_str()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
        0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0\n   \
        1: 0100007F:1F90 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 100 0 0 10 0\n   \
        2: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0 100 0 0 10 0\n";

    #[test]
    #[cfg(target_endian = "little")]
    fn the_one_in_the_way_is_found_in_the_table() {
        let find = |at: &str| in_the_way(TABLE, at.parse().unwrap(), "0A");
        assert_eq!(find("127.0.0.1:8080"), [4711]);
        assert_eq!(find("0.0.0.0:8080"), [4711]);
        assert_eq!(find("127.0.0.2:8080"), [0; 0]);
        assert_eq!(find("[::]:80"), [4713]);
        let six = parse_address("00000000000000000000000001000000:0050").unwrap();
        assert_eq!(six.to_string(), "[::1]:80");
    }

    #[test]
    fn the_holder_of_an_address_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let found = of_inet(listener.local_addr().unwrap(), SocketType::Stream);
        assert_eq!(found.map(|pid| pid.0), Some(crate::os::sys::own_pid()));
    }
}
