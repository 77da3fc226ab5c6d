//! What is in the executable itself: it must run in any image, also in an empty one.
//!
//! A static glibc still loads the image's own NSS modules when a user or a host name is looked up through libc, and
//! dies of it where they are of another version. So no code path may lead to such a function, and the way to prove
//! that is to look at what the linker kept.

use std::fs;
use std::path::{Path, PathBuf};

/// Functions of libc that load code from the image at run time.
///
/// `dlopen` itself is not among them: every static glibc holds it, for character sets and for the look-ups here.
const REACH_INTO_THE_IMAGE: &[&str] = &[
    "getaddrinfo",
    "getnameinfo",
    "gethostbyname",
    "gethostbyname_r",
    "gethostbyaddr_r",
    "getpwnam",
    "getpwnam_r",
    "getpwuid",
    "getpwuid_r",
    "getgrnam",
    "getgrnam_r",
    "getgrgid",
    "getgrgid_r",
    "getgrouplist",
    "initgroups",
    "getservbyname_r",
];

/// `e_type` for position-independent executables is the same as for libraries; what tells them apart is this.
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
const SHT_SYMTAB: u32 = 2;

#[test]
fn no_code_path_leads_to_a_look_up_through_libc() {
    let path = env!("CARGO_BIN_EXE_svinit");
    let elf = Elf::read(path.as_ref());
    let symbols = elf.symbols();
    assert!(
        symbols.iter().any(|name| name == "main"),
        "{path} has no symbols: this test would prove nothing"
    );
    assert_eq!(
        look_ups(&symbols),
        [] as [&str; 0],
        "{path} can reach these; use os::user and net::resolve instead"
    );
}

#[test]
fn the_executable_needs_no_loader_and_no_library() {
    let built = [PathBuf::from(env!("CARGO_BIN_EXE_svinit")), release_build()];
    for path in built.into_iter().filter(|path| path.exists()) {
        let elf = Elf::read(&path);
        let needs_loader = elf.segments().any(|kind| kind == PT_INTERP);
        assert!(
            !needs_loader,
            "{} asks for a dynamic loader: build it with .cargo/config.toml",
            path.display()
        );
        assert!(elf.needed().is_empty(), "{} needs libraries of the image", path.display());
    }
}

#[test]
fn the_search_finds_what_it_is_for() {
    let symbols = ["main", "getaddrinfo", "__nss_passwd_lookup2", "my_getpwnam_r", "getpwnam_r@@GLIBC_2.2.5"];
    let symbols: Vec<String> = symbols.map(str::to_owned).into();
    assert_eq!(look_ups(&symbols), ["getaddrinfo", "__nss_passwd_lookup2", "getpwnam_r@@GLIBC_2.2.5"]);
    // This test's own executable has symbols too, and std's own look-ups are not among them.
    let own = std::env::current_exe().expect("a running program has a path");
    assert!(Elf::read(&own).symbols().iter().any(|name| name == "main"));
}

/// Those of `symbols` that must not be there.
fn look_ups(symbols: &[String]) -> Vec<&str> {
    let forbidden = |name: &str| {
        let plain = name.split('@').next().unwrap_or(name);
        REACH_INTO_THE_IMAGE.contains(&plain) || (plain.starts_with("__nss_") && plain.contains("lookup"))
    };
    symbols.iter().map(String::as_str).filter(|name| forbidden(name)).collect()
}

/// Where `cargo build --release` puts the same program.
fn release_build() -> PathBuf {
    let debug = PathBuf::from(env!("CARGO_BIN_EXE_svinit"));
    let target = debug.parent().and_then(|profile| profile.parent()).expect("it is in TARGET/PROFILE/");
    target.join("release/svinit")
}

/// A 64-bit little-endian ELF file, as far as it is needed here.
struct Elf {
    bytes: Vec<u8>,
}

/// One entry of the section table.
struct Section {
    kind: u32,
    offset: usize,
    size: usize,
    link: usize,
}

impl Elf {
    fn read(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap_or_else(|why| panic!("cannot read {}: {why}", path.display()));
        assert_eq!(bytes[..6], *b"\x7fELF\x02\x01", "{} is no 64-bit little-endian ELF file", path.display());
        Self { bytes }
    }

    fn number(&self, at: usize, length: usize) -> usize {
        let mut word = [0; 8];
        word[..length].copy_from_slice(&self.bytes[at..at + length]);
        usize::try_from(u64::from_le_bytes(word)).expect("a 64-bit machine")
    }

    fn kind(&self, at: usize) -> u32 {
        u32::try_from(self.number(at, 4)).expect("four bytes")
    }

    /// Where each program header begins.
    fn headers(&self) -> impl Iterator<Item = usize> + '_ {
        let (table, size, count) = (self.number(0x20, 8), self.number(0x36, 2), self.number(0x38, 2));
        (0..count).map(move |index| table + index * size)
    }

    fn segments(&self) -> impl Iterator<Item = u32> + '_ {
        self.headers().map(|at| self.kind(at))
    }

    /// The offsets of the names of libraries it asks for (`DT_NEEDED`).
    fn needed(&self) -> Vec<usize> {
        let Some(at) = self.headers().find(|at| self.kind(*at) == PT_DYNAMIC) else {
            return Vec::new();
        };
        let (offset, size) = (self.number(at + 8, 8), self.number(at + 32, 8));
        let entries = (offset..offset + size).step_by(16);
        entries.filter(|entry| self.number(*entry, 8) == 1).map(|entry| self.number(entry + 8, 8)).collect()
    }

    fn sections(&self) -> Vec<Section> {
        let (table, size, count) = (self.number(0x28, 8), self.number(0x3a, 2), self.number(0x3c, 2));
        (0..count)
            .map(|index| table + index * size)
            .map(|at| Section {
                kind: self.kind(at + 4),
                offset: self.number(at + 24, 8),
                size: self.number(at + 32, 8),
                link: self.number(at + 40, 4),
            })
            .collect()
    }

    /// The names in the symbol table: empty when the file is stripped.
    fn symbols(&self) -> Vec<String> {
        let sections = self.sections();
        let Some(table) = sections.iter().find(|section| section.kind == SHT_SYMTAB) else {
            return Vec::new();
        };
        let names = sections[table.link].offset;
        let entries = (table.offset..table.offset + table.size).step_by(24);
        entries
            .map(|entry| self.text(names + self.number(entry, 4)))
            .filter(|name| !name.is_empty())
            .collect()
    }

    fn text(&self, at: usize) -> String {
        let length = self.bytes[at..].iter().position(|byte| *byte == 0).expect("names end with a zero");
        String::from_utf8_lossy(&self.bytes[at..at + length]).into_owned()
    }
}
