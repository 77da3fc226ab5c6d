//! What is true of every image, looked at from outside.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::engine::{build, docker, image, is_there, root, run};

/// The images that run something; `svinit` itself has no shell to look with.
const IMAGES: [&str; 11] = [
    "base", "nginx", "lb", "postgres", "flask", "frontend", "backend", "app", "mariadb", "mysql", "monolith",
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

/// All Rust files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<PathBuf>, Vec<PathBuf>) = entries.partition(|path| path.is_dir());
    let files = files.into_iter().filter(|path| path.extension().is_some_and(|word| word == "rs"));
    files.chain(folders.iter().flat_map(|folder| self::files(folder))).collect()
}
