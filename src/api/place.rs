//! Where the control socket is: one list for the server that makes it and the client that looks for it.
//!
//! Pure: the environment and the user are handed in. The server takes the first place where a socket can be made, the
//! client the first where somebody answers, so both must go through the list in this order.

use std::path::PathBuf;

/// The name of the socket in its directory.
pub const SOCKET_NAME: &str = "control.sock";

/// The environment variable that names the one socket to use, for both sides; `--socket` wins over it.
pub const SOCKET_VARIABLE: &str = "SVINIT_SOCKET";

/// Where the control socket may be, best first.
///
/// `asked` is `--socket`: then there is no other. `env` reads the environment of the caller, `uid` is its effective user.
#[must_use]
pub fn socket_places(asked: Option<PathBuf>, env: &dyn Fn(&str) -> Option<String>, uid: u32) -> Vec<PathBuf> {
    let given = |name: &str| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(only) = asked.or_else(|| given(SOCKET_VARIABLE)) {
        return vec![only];
    }
    let mut places = vec![PathBuf::from("/run/svinit").join(SOCKET_NAME)];
    // The specification of XDG_RUNTIME_DIR has relative paths ignored.
    if let Some(own) = given("XDG_RUNTIME_DIR").filter(|path| path.is_absolute()) {
        places.push(own.join("svinit").join(SOCKET_NAME));
    }
    places.push(PathBuf::from(format!("/tmp/svinit-{uid}")).join(SOCKET_NAME));
    places
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::socket_places;

    fn none(_: &str) -> Option<String> {
        None
    }

    #[test]
    fn a_socket_that_was_asked_for_is_the_only_place() {
        let xdg = |name: &str| (name == "XDG_RUNTIME_DIR").then(|| "/run/user/7".to_owned());
        assert_eq!(socket_places(Some("/a/b".into()), &xdg, 7), [PathBuf::from("/a/b")]);
    }

    #[test]
    fn the_variable_is_as_good_as_the_option_but_yields_to_it() {
        let env = |name: &str| (name == "SVINIT_SOCKET").then(|| "/v".to_owned());
        assert_eq!(socket_places(None, &env, 7), [PathBuf::from("/v")]);
        assert_eq!(socket_places(Some("/o".into()), &env, 7), [PathBuf::from("/o")]);
    }

    #[test]
    fn places_come_in_the_documented_order() {
        let xdg = |name: &str| (name == "XDG_RUNTIME_DIR").then(|| "/run/user/7".to_owned());
        let expected =
            ["/run/svinit/control.sock", "/run/user/7/svinit/control.sock", "/tmp/svinit-7/control.sock"];
        assert_eq!(socket_places(None, &xdg, 7), expected.map(PathBuf::from));
        assert_eq!(socket_places(None, &none, 0).len(), 2);
    }

    #[test]
    fn an_empty_or_relative_variable_counts_as_not_set() {
        let odd = |name: &str| match name {
            "XDG_RUNTIME_DIR" => Some("run".to_owned()),
            "SVINIT_SOCKET" => Some(String::new()),
            _ => None,
        };
        assert_eq!(socket_places(None, &odd, 0), socket_places(None, &none, 0));
    }
}
