//! What an app shows to a proxy to name its run: user name and password, as they arrived. Whether they belong to a live
//! run is decided by the service's registry of runs. The password never shows in debug output and is wiped on drop.

use std::fmt;

use mexe_model::AppId;
use zeroize::Zeroizing;

/// A user name and a password from a proxy handshake; neither is checked yet.
pub struct Credentials {
    user: Box<[u8]>,
    password: Zeroizing<Box<[u8]>>,
}

impl Credentials {
    /// Keeps a copy of both, byte for byte.
    pub fn new(user: &[u8], password: &[u8]) -> Self {
        Self { user: user.into(), password: Zeroizing::new(password.into()) }
    }

    /// The user name, when it is UTF-8.
    pub fn user(&self) -> Option<&str> {
        std::str::from_utf8(&self.user).ok()
    }

    /// The app that the user name names, when it could be one.
    pub fn app(&self) -> Option<AppId> {
        self.user()?.parse().ok()
    }

    /// The password's bytes: compare them in constant time, never log them.
    pub fn password(&self) -> &[u8] {
        &self.password
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = String::from_utf8_lossy(&self.user);
        f.debug_struct("Credentials").field("user", &user).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_not_in_the_debug_output() {
        let credentials = Credentials::new(b"weather", b"hunter2");
        let shown = format!("{credentials:?}");
        assert!(shown.contains("weather") && !shown.contains("hunter2"), "{shown}");
        assert_eq!(credentials.password(), b"hunter2");
    }

    #[test]
    fn a_user_name_that_is_no_app_id_names_no_app() {
        assert_eq!(Credentials::new(b"weather", b"").app().unwrap().as_str(), "weather");
        for user in [&b""[..], b"Weather", b"a b", b"\xff\xfe"] {
            assert!(Credentials::new(user, b"").app().is_none(), "{user:?}");
        }
    }
}
