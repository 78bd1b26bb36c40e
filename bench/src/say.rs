//! Where the bench speaks to people: standard error. Standard output belongs to the roles.

use std::io::Write as _;

/// One line of progress.
pub(crate) fn line(text: &str) {
    // Nobody is left to read it when standard error is closed.
    writeln!(std::io::stderr(), "{text}").ok();
}
