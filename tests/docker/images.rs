//! What is true of every image, looked at from outside.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::engine::{Single, build, build_as, docker, image, is_there, root, run};

/// The images that run something; `svinit` itself has no shell to look with.
const IMAGES: [&str; 18] = [
    "base",
    "nginx",
    "lb",
    "postgres",
    "flask",
    "frontend",
    "backend",
    "app",
    "mariadb",
    "mysql",
    "monolith",
    "redis",
    "redis-demo",
    "redis-exporter",
    "prometheus",
    "etcd",
    "haproxy",
    "patroni",
];

#[test]
fn no_image_holds_a_program_with_the_setuid_bit_and_each_says_where_it_comes_from() {
    if !is_there() {
        return;
    }
    build(&IMAGES);
    for name in IMAGES {
        let image = image(name);
        let run = ["run", "--rm", "--pull", "never", "--user", "0", "--entrypoint", "find", &image];
        let find = ["/", "-xdev", "-type", "f", "-perm", "/6000"];
        assert_eq!(docker(&[&run[..], &find].concat()).well(), "", "{name}");
        let label = |key: &str| {
            let template = format!("{{{{index .Config.Labels \"org.opencontainers.image.{key}\"}}}}");
            docker(&["image", "inspect", "--format", &template, &image]).well().trim().to_owned()
        };
        assert_eq!(label("title"), format!("svinit/{name}"));
        for key in ["description", "source", "licenses", "version", "revision"] {
            assert_ne!(label(key), "", "{name}: {key}");
        }
        assert!(label("created").ends_with('Z'), "{name}: {}", label("created"));
        assert!(label("created").as_str() > "2000" || label("revision") == "unknown", "{name}");
    }
}

/// The half of `make image-from-source` that costs nothing: compiling takes many minutes, and is a matter of `make`.
#[test]
fn the_build_inside_docker_has_every_file_that_the_executable_is_made_of() {
    if !is_there() {
        return;
    }
    let sources = tempfile::tempdir().unwrap();
    let to = format!("type=local,dest={}", sources.path().display());
    docker(&["buildx", "build", "--builder", "default", "--target", "sources", "--output", &to, "."]).well();
    let sources = sources.path();
    let mut included = 0;
    for path in files(&root().join("src")) {
        let own = path.strip_prefix(root()).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(fs::read_to_string(sources.join(own)).is_ok_and(|there| there == text), "{}", own.display());
        // Files that become a part of the executable; what is below tests/ becomes one of its unit tests alone.
        for name in text.split("include_str!(\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            let there = sources.join(own.parent().unwrap()).join(name);
            assert!(
                there.exists(),
                "{} includes {name}, which the stage `sources` of ./Dockerfile has not",
                own.display()
            );
            included += 1;
        }
    }
    assert!(included > 3, "found {included} files that are included");
    // The manifest names tests too, which are not there.
    let manifest = sources.join("Cargo.toml");
    let ask =
        ["cargo", "metadata", "--locked", "--offline", "--no-deps", "--format-version=1", "--manifest-path"];
    run(&[&ask[..], &[manifest.to_str().unwrap()]].concat(), &BTreeMap::new()).well();
}

/// What a registry is needed for is only prepared: that the file says so is what can be shown.
#[test]
fn for_a_registry_each_image_is_of_both_platforms_with_sbom_provenance_and_pinned_bases() {
    if !is_there() {
        return;
    }
    let print = |variables: &[(&str, &str)]| -> BTreeMap<String, Value> {
        let env = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let command = ["docker", "buildx", "bake", "--file", "docker-bake.hcl", "--print", "default"];
        let said: Value = serde_json::from_str(&run(&command, &env.collect()).well()).unwrap();
        serde_json::from_value(said["target"].clone()).unwrap()
    };
    let digest = format!("debian:trixie-slim@sha256:{}", "0".repeat(64));
    let bases = ["BASE", "BUILD_BASE", "SID_BASE", "RUST_IMAGE"].map(|name| (name, digest.as_str()));
    let more = [("REGISTRY", "registry.example/"), ("ATTEST", "1"), ("PLATFORMS", "linux/amd64,linux/arm64")];
    let all = print(&[&bases[..], &more].concat());
    assert!(all.len() > 20, "{:?}", all.keys());
    for (name, target) in &all {
        assert_eq!(target["platforms"], json!(["linux/amd64", "linux/arm64"]), "{name}");
        assert_eq!(target["attest"], json!(["type=sbom", "type=provenance,mode=max"]), "{name}");
        assert!(
            target["tags"][0].as_str().is_some_and(|tag| tag.starts_with("registry.example/svinit")),
            "{name}"
        );
        let args = target["args"].as_object().into_iter().flatten();
        for (arg, value) in args.filter(|(arg, _)| *arg != "PG_MAJOR") {
            assert_eq!(value, &json!(digest), "{name}: {arg}");
        }
    }
    for (name, target) in print(&[]) {
        assert!(target["platforms"].is_null() && target["attest"].is_null(), "{name}: {target}");
    }
    let asked = [("ATTEST".to_owned(), "1".to_owned())];
    let refused = run(&["scripts/images", "nginx"], &asked.into());
    assert!(refused.code == 1 && refused.err.contains("docker buildx create"), "{}", refused.err);
}

/// Not Debian trixie alone: nothing in the Dockerfiles is bound to its versions. An ordinary run builds nginx on unstable, which
/// is here in any case; OTHER_BASE=debian:bookworm-slim builds databases and apps too, on that.
#[test]
fn the_same_dockerfiles_build_on_another_release() {
    if !is_there() {
        return;
    }
    let other = std::env::var("OTHER_BASE");
    let names: &[&str] =
        if other.is_ok() { &["nginx", "lb", "postgres", "mariadb", "monolith"] } else { &["nginx"] };
    let (tag, base) = ("test-other", other.as_deref().unwrap_or("debian:sid-slim"));
    build_as(names, &[("SVINIT_TAG", tag), ("BASE", base)]);
    let secret = tempfile::NamedTempFile::new().unwrap();
    fs::write(secret.path(), "a word").unwrap();
    let secret = |name: &str| format!("--volume={}:/run/secrets/{name}:ro", secret.path().display());
    let secrets = [secret("postgres_password"), secret("db_password")];
    for name in names {
        let one = Single::of(&format!("svinit/{name}:{tag}"), &secrets.each_ref().map(String::as_str), &[]);
        one.wait_for_health("healthy");
        let release = one.exec(&["cat", "/etc/os-release"]).well();
        assert!(!release.contains("trixie"), "{release}");
        for unit in one.pids().keys() {
            let old = one.kill(unit);
            one.wait_for_successor(unit, old);
        }
    }
}

/// All Rust files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<PathBuf>, Vec<PathBuf>) = entries.partition(|path| path.is_dir());
    let files = files.into_iter().filter(|path| path.extension().is_some_and(|word| word == "rs"));
    files.chain(folders.iter().flat_map(|folder| self::files(folder))).collect()
}
