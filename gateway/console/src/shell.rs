//! The page that everything else is loaded into. It holds no data, so anybody may have it: what is worth protecting comes
//! only with the user's token.

use askama::Template;

use crate::asset::address;

#[derive(Template)]
#[template(path = "shell.html")]
struct Shell;

/// The shell, the same for everybody.
///
/// # Errors
/// The formatter's; none for this page.
pub fn shell() -> askama::Result<String> {
    Shell.render()
}
