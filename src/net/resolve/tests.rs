//! Against a name server of our own on loopback.

use super::*;

struct Server {
    udp: UdpSocket,
    tcp: tokio::net::TcpListener,
    dir: tempfile::TempDir,
    resolver: Resolver,
}

impl Server {
    async fn with(config: &str) -> Self {
        // The same port for both: one of a few tries finds it free.
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
            if let Ok(tcp) = tokio::net::TcpListener::bind(udp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let dir = tempfile::tempdir().unwrap();
        let files = (dir.path().join("hosts"), dir.path().join("resolv.conf"));
        std::fs::write(&files.0, "10.9.8.7 known\n").unwrap();
        std::fs::write(&files.1, format!("nameserver 127.0.0.1\n{config}\n")).unwrap();
        let port = udp.local_addr().unwrap().port();
        let resolver = Resolver { hosts: files.0, config: files.1, port };
        Self { udp, tcp, dir, resolver }
    }

    /// Answers each question with what `answer` makes of it, while `host` is looked up.
    async fn resolve(
        &self,
        host: &str,
        answer: impl Fn(&str, u8, &[u8]) -> Vec<u8>,
    ) -> io::Result<Vec<IpAddr>> {
        let serve = async {
            let mut room = [0; 512];
            loop {
                let (length, from) = self.udp.recv_from(&mut room).await.unwrap();
                let asked = &room[..length];
                let reply = answer(&name_in(asked), asked[length - 3], asked);
                if !reply.is_empty() {
                    self.udp.send_to(&reply, from).await.unwrap();
                }
            }
        };
        let serve_tcp = async {
            loop {
                let (mut stream, _) = self.tcp.accept().await.unwrap();
                let mut asked = vec![0; usize::from(stream.read_u16().await.unwrap())];
                stream.read_exact(&mut asked).await.unwrap();
                let reply = found(&asked, &[[7, 7, 7, 7]]);
                stream.write_u16(u16::try_from(reply.len()).unwrap()).await.unwrap();
                stream.write_all(&reply).await.unwrap();
            }
        };
        tokio::select! {
            result = self.resolver.resolve(host) => result,
            () = serve => unreachable!(),
            () = serve_tcp => unreachable!(),
        }
    }
}

fn name_in(asked: &[u8]) -> String {
    let mut rest = &asked[12..];
    let mut labels = Vec::new();
    while rest[0] != 0 {
        let (label, after) = rest[1..].split_at(usize::from(rest[0]));
        labels.push(String::from_utf8(label.to_vec()).unwrap());
        rest = after;
    }
    labels.join(".")
}

fn reply(asked: &[u8], flags: [u8; 2]) -> Vec<u8> {
    let mut reply = asked.to_vec();
    reply[2..4].copy_from_slice(&flags);
    reply
}

/// An alias first, as Docker and others answer, then the addresses.
fn found(asked: &[u8], addresses: &[[u8; 4]]) -> Vec<u8> {
    let mut reply = reply(asked, [0x81, 0x80]);
    reply[7] = u8::try_from(addresses.len() + 1).unwrap();
    reply.extend([0xC0, 12, 0, 5, 0, 1, 0, 0, 0, 9, 0, 2, 0xC0, 12]);
    for address in addresses {
        reply.extend([0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4]);
        reply.extend(address);
    }
    reply
}

#[tokio::test]
async fn an_address_and_a_host_in_the_file_need_no_server() {
    let server = Server::with("").await;
    let nobody = |_: &str, _: u8, _: &[u8]| -> Vec<u8> { panic!("asked") };
    assert_eq!(server.resolve("::1", nobody).await.unwrap(), ["::1".parse::<IpAddr>().unwrap()]);
    assert_eq!(server.resolve("KNOWN", nobody).await.unwrap(), [IpAddr::from([10, 9, 8, 7])]);
    assert_eq!(server.resolve("localhost", nobody).await.unwrap(), [IpAddr::from([127, 0, 0, 1])]);
    assert!(server.dir.path().exists());
}

#[tokio::test]
async fn a_name_is_found_in_a_search_domain() {
    let server = Server::with("search one.example two.example\noptions ndots:2").await;
    let answer = |name: &str, kind: u8, asked: &[u8]| match (name, kind) {
        ("web.two.example", 1) => found(asked, &[[1, 2, 3, 4], [5, 6, 7, 8]]),
        ("web.two.example", _) => reply(asked, [0x81, 0x80]),
        _ => reply(asked, [0x81, 0x83]),
    };
    let addresses = server.resolve("web", answer).await.unwrap();
    assert_eq!(addresses, [IpAddr::from([1, 2, 3, 4]), IpAddr::from([5, 6, 7, 8])]);
    let error = server.resolve("other.", answer).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}

#[tokio::test]
async fn an_answer_that_is_cut_is_asked_for_again_by_tcp() {
    let server = Server::with("").await;
    let answer =
        |_: &str, kind: u8, asked: &[u8]| reply(asked, if kind == 1 { [0x83, 0x80] } else { [0x81, 0x80] });
    assert_eq!(server.resolve("web", answer).await.unwrap(), [IpAddr::from([7, 7, 7, 7])]);
}

#[tokio::test]
async fn an_answer_with_another_number_is_passed_over() {
    let server = Server::with("options attempts:1 timeout:1").await;
    let forged = |_: &str, _: u8, asked: &[u8]| {
        let mut forged = found(asked, &[[6, 6, 6, 6]]);
        forged[0] ^= 1;
        forged
    };
    let error = server.resolve("web", forged).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

#[tokio::test]
async fn a_server_that_fails_is_told_in_words() {
    let server = Server::with("options attempts:1").await;
    let error = server.resolve("web", |_, _, asked| reply(asked, [0x81, 0x82])).await.unwrap_err();
    assert!(error.to_string().ends_with("says that it has failed"), "{error}");
}
