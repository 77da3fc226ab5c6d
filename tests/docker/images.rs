//! What is true of every image, looked at from outside.

use crate::engine::{build, docker, image, is_there};

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
