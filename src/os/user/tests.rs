//! Users and groups out of files as they are found in images, hostile ones among them.

use proptest::prelude::*;

use super::*;

fn database() -> Database {
    let passwd = "root:x:0:0:root:/root:/bin/sh\nbroken\n+nis::0:0:::\napp:x:1000:1001::/home/app:/bin/false\n\
        evil:x:4294967295:0:::\nshort:x:7:8\n";
    let group = "root:x:0:\nweb:x:1001:\nlogs:x:50:root,app\nmedia:x:51:app\nevil:x:4294967295:app\n";
    Database { passwd: passwd.into(), group: group.into() }
}

fn resolve_in(user: Option<&str>, group: Option<&str>, groups: &[&str]) -> Result<Ids, Error> {
    let groups = groups.iter().map(|name| (*name).to_owned()).collect();
    let context = Context {
        user: user.map(str::to_owned),
        group: group.map(str::to_owned),
        groups,
        ..Context::default()
    };
    database().resolve(&context)
}

#[test]
fn a_user_comes_with_group_supplementary_groups_and_home() {
    let ids = resolve_in(Some("app"), None, &[]).unwrap();
    assert_eq!((ids.uid, ids.gid, ids.groups), (1000, 1001, vec![50, 51]));
    assert_eq!(ids.home, Some("/home/app".into()));
    let ids = resolve_in(Some("1000"), Some("web"), &["root", "77"]).unwrap();
    assert_eq!((ids.uid, ids.gid, ids.groups), (1000, 1001, vec![0, 50, 51, 77]));
    let ids = resolve_in(Some("short"), None, &[]).unwrap();
    assert_eq!((ids.uid, ids.home), (7, None));
}

#[test]
fn a_number_needs_no_line() {
    let ids = resolve_in(Some("4711"), None, &[]).unwrap();
    assert_eq!((ids.uid, ids.gid, ids.groups, ids.name), (4711, 4711, vec![], None));
}

#[test]
fn who_is_not_there_is_an_error_and_never_root() {
    for name in ["nobody-here", "", "+nis", "evil", "4294967295", "-1", "99999999999", "0x0", " root"] {
        let error = resolve_in(Some(name), None, &[]).unwrap_err().to_string();
        assert!(error.starts_with("cannot use user "), "{name}: {error}");
    }
    assert!(resolve_in(Some("app"), Some("evil"), &[]).is_err());
    assert!(resolve_in(Some("app"), None, &["4294967295"]).is_err());
}

#[test]
fn nothing_asked_for_is_nothing_to_change() {
    assert_eq!(resolve(&Context::default()).unwrap(), None);
}

#[test]
fn without_privilege_another_user_is_refused_in_words() {
    if sys::geteuid() == 0 {
        println!("skipped: root may change to anybody");
        return;
    }
    let context = Context { user: Some("4711".into()), ..Context::default() };
    assert!(resolve(&context).unwrap_err().to_string().contains("svinit itself runs as user"));
}

proptest! {
    #[test]
    fn hostile_files_neither_panic_nor_make_anybody_root(
        passwd in proptest::collection::vec(any::<u8>(), 0..300),
        group in "[a-z0-9:,\n+-]{0,300}",
    ) {
        let database = Database { passwd, group: group.into_bytes() };
        let context = Context { user: Some("app".into()), ..Context::default() };
        prop_assert!(database.resolve(&context).map_or(true, |ids| ids.name.as_deref() == Some("app")));
    }
}
