//! A check of MySQL or MariaDB that does not get the checker blocked.
//!
//! A server counts connections that end before the handshake does; after `max_connect_errors` (100) of them it refuses the host (error
//! 1129) while a TCP check still says that all is well. So the handshake is made to its end: the server is sent a login without
//! a password, and whatever it makes of that, it answers. Only its refusal to log in (1045 and its like) is as good as a login; with
//! a login there is also no `Aborted_connects`.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;

use crate::manager::probe;
use crate::manager::upstream::Ailing;

/// Bytes of a packet that is read; those of a handshake have about 100.
const PACKET_MAX: usize = 4096;

/// Packets after the login: two methods of authentication, and the end.
const ROUNDS_MAX: usize = 4;

/// `CLIENT_LONG_PASSWORD | CLIENT_PROTOCOL_41 | CLIENT_SECURE_CONNECTION | CLIENT_PLUGIN_AUTH`.
const CAPABILITIES: u32 = 0x1 | 0x200 | 0x8000 | 0x8_0000;

/// utf8mb4, which every server knows.
const CHARSET: u8 = 45;

/// The command that ends a session.
const COM_QUIT: [u8; 5] = [1, 0, 0, 0, 1];

/// Errors that say "not you": no access, no such user, an account that is locked or has to change its password. The server is well.
const NOT_YOU: [u16; 6] = [1044, 1045, 1698, 1820, 1862, 3118];

/// Asks the server at `at` to let `user` in.
///
/// # Errors
/// Nobody is there, or it is not well.
pub async fn check(at: SocketAddr, user: &str, patience: Duration) -> Result<(), Ailing> {
    let mut stream = probe::connect(at, patience).await?;
    match tokio::time::timeout(patience, converse(&mut stream, user)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Ailing::Ill(probe::words(&error))),
        Err(_) => Err(Ailing::Ill("no handshake of MySQL in time".to_owned())),
    }
}

async fn converse(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), user: &str) -> io::Result<()> {
    let (mut number, greeting) = packet(stream).await?;
    match greeting.first() {
        Some(10) => {}
        Some(0xff) => return Err(refusal(&greeting)),
        _ => return Err(io::Error::other("it is no MySQL of protocol 10")),
    }
    send(stream, number.wrapping_add(1), &login(user)).await?;
    for _ in 0..ROUNDS_MAX {
        let answer;
        (number, answer) = packet(stream).await?;
        match answer.first() {
            Some(0x00) => {
                // A server that closes first has let us in as well.
                let _ = stream.write_all(&COM_QUIT).await;
                return Ok(());
            }
            Some(0xff) if NOT_YOU.contains(&code(&answer)) => return Ok(()),
            Some(0xff) => return Err(refusal(&answer)),
            // Another method, or more of this one: nothing is the password in each of them.
            Some(0x01 | 0xfe) => send(stream, number.wrapping_add(1), &[]).await?,
            _ => return Err(io::Error::other("it answers the login with something else")),
        }
    }
    Err(io::Error::other("it does not come to an end with the login"))
}

/// `HandshakeResponse41` without a password.
fn login(user: &str) -> Vec<u8> {
    let mut bytes = CAPABILITIES.to_le_bytes().to_vec();
    bytes.extend_from_slice(&(1u32 << 24).to_le_bytes());
    bytes.push(CHARSET);
    bytes.extend_from_slice(&[0; 23]);
    bytes.extend_from_slice(user.as_bytes());
    // The end of the name, and no bytes of a password.
    bytes.extend_from_slice(&[0, 0]);
    bytes.extend_from_slice(b"mysql_native_password\0");
    bytes
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), number: u8, payload: &[u8]) -> io::Result<()> {
    let length = u32::try_from(payload.len()).map_err(io::Error::other)?.to_le_bytes();
    let mut bytes = vec![length[0], length[1], length[2], number];
    bytes.extend_from_slice(payload);
    stream.write_all(&bytes).await
}

async fn packet(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await.map_err(cut_off)?;
    let length = u32::from_le_bytes([head[0], head[1], head[2], 0]) as usize;
    if length > PACKET_MAX {
        return Err(io::Error::other("it is no MySQL: its first packet is too long"));
    }
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await.map_err(cut_off)?;
    Ok((head[3], payload))
}

fn cut_off(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        io::Error::other("it has closed the connection within the handshake")
    } else {
        error
    }
}

/// The number of an error packet.
fn code(payload: &[u8]) -> u16 {
    payload.get(1..3).map_or(0, |bytes| u16::from_le_bytes([bytes[0], bytes[1]]))
}

fn refusal(payload: &[u8]) -> io::Error {
    let words: String = String::from_utf8_lossy(payload.get(3..).unwrap_or_default())
        .chars()
        .filter(|c| !c.is_control())
        .take(200)
        .collect();
    io::Error::other(format!("it answers error {}: {words}", code(payload)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::AsyncReadExt;
    use tokio::io::AsyncWriteExt;

    use super::COM_QUIT;
    use super::converse;

    const GREETING: &[u8] = b"\x0a8.4.0\0\x01\0\0\0abcdefgh\0";

    fn framed(number: u8, payload: &[u8]) -> Vec<u8> {
        [&[u8::try_from(payload.len()).unwrap(), 0, 0, number][..], payload].concat()
    }

    /// What the check says of a server that sends these payloads in turn, and what it has sent after the login.
    async fn against(payloads: &[&[u8]]) -> (Result<(), String>, Vec<u8>) {
        let (mut ours, mut theirs) = tokio::io::duplex(64 << 10);
        let all: Vec<u8> = payloads
            .iter()
            .enumerate()
            .flat_map(|(turn, payload)| framed(u8::try_from(2 * turn).unwrap(), payload))
            .collect();
        theirs.write_all(&all).await.unwrap();
        let said = converse(&mut ours, "svinit").await.map_err(|error| error.to_string());
        drop(ours);
        let mut sent = Vec::new();
        theirs.read_to_end(&mut sent).await.unwrap();
        let login = 4 + usize::from(*sent.first().unwrap_or(&0));
        (said, sent.split_off(login.min(sent.len())))
    }

    #[tokio::test]
    async fn a_login_that_succeeds_is_ended_and_one_that_is_refused_is_an_answer() {
        assert_eq!(against(&[GREETING, b"\0\0\0\x02\0\0\0"]).await, (Ok(()), COM_QUIT.to_vec()));
        assert_eq!(against(&[GREETING, b"\xff\x15\x04#28000Access denied"]).await, (Ok(()), Vec::new()));
        // caching_sha2 asks for another method first, and then says that nothing is enough.
        let (said, sent) =
            against(&[GREETING, b"\xfecaching_sha2_password\0salt", b"\0\0\0\x02\0\0\0"]).await;
        assert_eq!((said, sent), (Ok(()), [&[0, 0, 0, 3][..], &COM_QUIT[..]].concat()));
    }

    #[tokio::test]
    async fn a_server_that_is_not_well_says_why() {
        let blocked = b"\xff\x69\x04Host '10.0.0.1' is blocked because of many connection errors";
        assert!(against(&[blocked]).await.0.unwrap_err().contains("1129"));
        let full = b"\xff\x10\x04#08004Too many connections";
        assert!(against(&[GREETING, full]).await.0.unwrap_err().contains("1040"));
        assert!(against(&[b"SSH-2.0-OpenSSH"]).await.0.is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_wait_for_ever(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let _ = runtime.block_on(async {
                let (mut ours, mut theirs) = tokio::io::duplex(64 << 10);
                theirs.write_all(&bytes).await.unwrap();
                theirs.shutdown().await.unwrap();
                converse(&mut ours, "svinit").await
            });
        }
    }
}
