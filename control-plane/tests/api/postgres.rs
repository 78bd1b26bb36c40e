//! A private PostgreSQL for this test process: own folder, own socket, no port.
//!
//! A shell holds it and ends it when this process goes away, however it goes.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

static CLUSTER: OnceLock<Option<PathBuf>> = OnceLock::new();
static NEXT: AtomicU32 = AtomicU32::new(0);

const HOLD: &str = r#"
set -e
"$BIN/initdb" -D "$DIR/data" -U hookplane -A trust --no-sync >/dev/null
"$BIN/postgres" -D "$DIR/data" -k "$DIR" -c listen_addresses= -c fsync=off >"$DIR/log" 2>&1 &
server=$!
until "$BIN/pg_isready" -q -h "$DIR" -U hookplane -d postgres; do sleep 0.05; kill -0 $server; done
echo ready
cat >/dev/null || true
kill -INT $server
wait $server || true
rm -rf "$DIR"
"#;

/// URL of a fresh, empty database; `None` where PostgreSQL is not installed.
pub(crate) fn database() -> Option<String> {
    let cluster = CLUSTER.get_or_init(start).as_ref()?;
    let name = format!("t{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let made = Command::new(newest()?.join("createdb"))
        .args(["-h", &cluster.to_string_lossy(), "-U", "hookplane", &name])
        .status()
        .expect("createdb runs");
    assert!(made.success(), "a database could not be made");
    let host = cluster.to_string_lossy().replace('/', "%2F");
    Some(format!("postgres://hookplane@{host}/{name}"))
}

fn newest() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let bins = versions.flatten().map(|version| version.path().join("bin"));
    bins.filter(|bin| bin.join("initdb").exists()).max()
}

fn start() -> Option<PathBuf> {
    let bin = newest()?;
    let dir = tempfile::Builder::new()
        .prefix("hp-pg")
        .tempdir()
        .expect("a folder")
        .keep();
    let mut shell = as_ordinary_user(&dir);
    shell
        .env("BIN", &bin)
        .env("DIR", &dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut holder = shell.spawn().expect("a shell runs");
    let mut line = String::new();
    let output = holder.stdout.take().expect("it is piped");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut line)
        .expect("its output can be read");
    assert_eq!(line.trim(), "ready", "PostgreSQL did not start");
    // Its input stays open as long as this process lives.
    std::mem::forget(holder);
    Some(dir)
}

/// The server refuses to run as root.
fn as_ordinary_user(dir: &Path) -> Command {
    let id = Command::new("id")
        .arg("-u")
        .output()
        .expect("id runs")
        .stdout;
    if String::from_utf8_lossy(&id).trim() != "0" {
        let mut shell = Command::new("sh");
        shell.args(["-c", HOLD]);
        return shell;
    }
    let owned = Command::new("chown")
        .arg("postgres")
        .arg(dir)
        .status()
        .expect("chown runs");
    assert!(owned.success(), "the folder could not be given away");
    let mut shell = Command::new("runuser");
    shell.args(["-u", "postgres", "--", "sh", "-c", HOLD]);
    shell
}
