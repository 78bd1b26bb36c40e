//! The whole suite once more, on PostgreSQL: this program starts itself.

use std::process::Command;

use crate::postgres;

#[test]
fn the_whole_suite_passes_on_postgresql() {
    #[expect(
        clippy::disallowed_methods,
        reason = "whoever runs the tests chooses the database"
    )]
    let chosen = std::env::var("HOOKPLANE_TEST_DATABASE").is_ok();
    if chosen {
        return;
    }
    let Some(server) = postgres::database() else {
        return;
    };
    let this = std::env::current_exe().expect("a program knows itself");
    let output = Command::new(this)
        .args(["--skip", "the_whole_suite"])
        .env("HOOKPLANE_TEST_DATABASE", server)
        .output()
        .expect("it runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}
