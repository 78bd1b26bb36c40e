//! A private PostgreSQL with its flushes on: own folder, own socket, no port.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::Fault;

/// Ends the server when its input ends, however this process went.
const HOLD: &str = r#"
set -e
"$BIN/initdb" -D "$DIR/data" -U hookplane -A trust >/dev/null
"$BIN/postgres" -D "$DIR/data" -k "$DIR" -c listen_addresses= >"$DIR/log" 2>&1 &
server=$!
until "$BIN/pg_isready" -q -h "$DIR" -U hookplane -d postgres; do sleep 0.05; kill -0 $server; done
"$BIN/createdb" -h "$DIR" -U hookplane fleet
echo ready
cat >/dev/null || true
kill -INT $server
wait $server || true
"#;

pub(crate) struct Postgres {
    holder: Child,
    pub(crate) url: String,
}

impl Postgres {
    pub(crate) fn start(folder: &Path) -> Result<Self, Fault> {
        let bin = newest().ok_or("PostgreSQL is not installed; `make needs` does that")?;
        let dir = folder.join("postgres");
        std::fs::create_dir_all(&dir)?;
        let dir = dir.canonicalize()?;
        let mut holder = shell(&dir)?
            .env("BIN", &bin)
            .env("DIR", &dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = holder.stdout.take().ok_or("its output is piped")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        if line.trim() != "ready" {
            return Err("PostgreSQL did not start".into());
        }
        let host = dir.to_string_lossy().replace('/', "%2F");
        let url = format!("postgres://hookplane@{host}/fleet");
        Ok(Self { holder, url })
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        // It ends by itself; an error means that it has.
        self.holder.wait().ok();
    }
}

fn newest() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let bins = versions.flatten().map(|version| version.path().join("bin"));
    bins.filter(|bin| bin.join("initdb").exists()).max()
}

/// The server refuses to run as root.
fn shell(dir: &Path) -> Result<Command, Fault> {
    let id = Command::new("id").arg("-u").output()?.stdout;
    if String::from_utf8_lossy(&id).trim() != "0" {
        let mut shell = Command::new("sh");
        shell.args(["-c", HOLD]);
        return Ok(shell);
    }
    Command::new("chown").arg("postgres").arg(dir).status()?;
    let mut shell = Command::new("runuser");
    shell.args(["-u", "postgres", "--", "sh", "-c", HOLD]);
    Ok(shell)
}
