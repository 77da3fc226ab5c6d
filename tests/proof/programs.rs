//! What is changed under load: three programs as their units, each on a socket that svinit holds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A server of one process and one thread, which answers what it has accepted and then ends.
const PLAIN: &str = r#"
import os, select, signal, socket
woken, wake = os.pipe(); os.set_blocking(wake, False); signal.set_wakeup_fd(wake)
ended = []; signal.signal(signal.SIGTERM, lambda *_: ended.append(1))
listener = socket.socket(fileno=3)
answer = b"HTTP/1.0 200 OK\r\n\r\nok\n"
print("serving", flush=True)
while not ended:
    if listener not in select.select([listener, woken], [], [])[0]: continue
    try: client, _ = listener.accept()
    except BlockingIOError: continue
    client.setblocking(True)
    asked = b""
    while b"\r\n\r\n" not in asked:
        part = client.recv(4096)
        if not part: break
        asked += part
    client.sendall(answer)
    client.close()
"#;

/// One of them.
pub struct Program {
    pub name: &'static str,
    /// What is asked for.
    pub path: &'static str,
    unit: String,
}

impl Program {
    /// The text of its unit with these top-level keys, in a `generation`.
    pub fn unit(&self, at: &str, keys: &str, generation: u64) -> String {
        format!("{keys}{}", self.unit).replace("{at}", at).replace("{generation}", &generation.to_string())
    }
}

/// All that are there; the others are told.
pub fn all(dir: &Path) -> Vec<Program> {
    [plain(dir), nginx(dir), gunicorn()].into_iter().flatten().collect()
}

/// Tells that something is not there, which CI does not forgive.
pub fn missing(what: &str) {
    assert!(std::env::var_os("CI").is_none(), "CI runs everything, but {what}");
    println!("skipped: {what}; scripts/setup test installs it");
}

fn plain(dir: &Path) -> Option<Program> {
    if !answers(Command::new("python3").arg("--version")) {
        missing("there is no python3");
        return None;
    }
    fs::write(dir.join("plain.py"), PLAIN).unwrap();
    let unit = format!(
        "command = [\"python3\", \"{}\"]\n[environment]\nGENERATION = \"{{generation}}\"\n\
         [sockets]\nhttp = {{ address = \"{{at}}\", nonblocking = true }}\n[ready]\nlog = \"^serving$\"\n[stop]\ntimeout = \"20s\"\n",
        dir.join("plain.py").display()
    );
    Some(Program { name: "a plain HTTP server", path: "/", unit })
}

fn nginx(dir: &Path) -> Option<Program> {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin";
    if !answers(Command::new("nginx").arg("-v").env("PATH", &path)) {
        missing("there is no nginx");
        return None;
    }
    let conf = "worker_processes 2;\npid nginx.pid;\nerror_log stderr notice;\nevents {}\nhttp {\n  access_log off;\n  \
                client_body_temp_path tmp;\n  proxy_temp_path tmp;\n  fastcgi_temp_path tmp;\n  uwsgi_temp_path tmp;\n  \
                scgi_temp_path tmp;\n  server {\n    listen AT;\n    return 200 \"ok\\n\";\n  }\n}\n";
    fs::write(dir.join("nginx.conf.in"), conf).unwrap();
    // Two of them at once must not share a pid file: each has a prefix of its own.
    let shell = "prefix=$(mktemp -d) && sed \"s/AT/{at}/\" {dir}/nginx.conf.in >$prefix/nginx.conf && \
                 exec env 'NGINX=3;' nginx -e stderr -p $prefix -c $prefix/nginx.conf -g 'daemon off;'";
    let unit = format!(
        "shell = '''{}'''\n[environment]\nPATH = \"{path}\"\nTMPDIR = \"{}\"\nGENERATION = \"{{generation}}\"\n\
         [sockets]\nhttp = {{ address = \"{{at}}\", nonblocking = true }}\n[ready]\nlog = \"start worker process\"\n\
         [stop]\nsignal = \"QUIT\"\ntimeout = \"20s\"\n",
        shell.replace('$', "$$").replace("{dir}", &dir.display().to_string()),
        dir.display()
    );
    Some(Program { name: "nginx", path: "/", unit })
}

fn gunicorn() -> Option<Program> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let places = Command::new("sh")
        .args(["-c", ". scripts/places; echo \"$venv\"", "scripts/proof"])
        .current_dir(project)
        .output()
        .unwrap();
    let gunicorn = PathBuf::from(String::from_utf8_lossy(&places.stdout).trim()).join("bin/gunicorn");
    if !gunicorn.exists() {
        missing(&format!("{} is not there", gunicorn.display()));
        return None;
    }
    let unit = format!(
        "command = [\"{}\", \"--config={}\", \"demo.wsgi:application\"]\nworking_dir = \"{}\"\n\
         [environment]\nSECRET_KEY = \"proof\"\nDB_PASSWORD = \"proof\"\nPYTHONDONTWRITEBYTECODE = \"1\"\nGENERATION = \"{{generation}}\"\n\
         [sockets]\nhttp = \"{{at}}\"\n[ready]\nlog = \"Booting worker\"\n[stop]\ntimeout = \"20s\"\n",
        gunicorn.display(),
        project.join("examples/django/gunicorn.conf.py").display(),
        project.join("examples/django").display()
    );
    Some(Program { name: "gunicorn and Django", path: "/health/alive", unit })
}

fn answers(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}
