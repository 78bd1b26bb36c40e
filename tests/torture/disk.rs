//! A disk small enough to be filled: an ext4 image on a loop device, else a tmpfs, else
//! an ordinary folder, where the full disk is left out and the run says so.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

const IMAGE_BYTES: u64 = 512 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Loop,
    Memory,
    Ordinary,
}

/// Mounted until dropped.
pub(crate) struct Disk {
    // Holds the image and the mount point.
    dir: TempDir,
    kind: Kind,
}

impl Disk {
    pub(crate) fn small() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let mount = dir.path().join("disk");
        fs::create_dir(&mount).expect("a mount point");
        let image = dir.path().join("image");
        let kind = if loop_mount(&image, &mount) {
            Kind::Loop
        } else if run(
            "mount",
            &["-t", "tmpfs", "-o", "size=512m", "tmpfs", &text(&mount)],
        ) {
            Kind::Memory
        } else {
            Kind::Ordinary
        };
        Self { dir, kind }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("disk")
    }

    pub(crate) const fn kind(&self) -> &'static str {
        match self.kind {
            Kind::Loop => "ext4 on a loop device",
            Kind::Memory => "a tmpfs (flushes cost nothing there)",
            Kind::Ordinary => {
                "an ordinary folder: no rights to mount, so the full disk is left out"
            }
        }
    }

    pub(crate) fn can_be_filled(&self) -> bool {
        self.kind != Kind::Ordinary
    }

    /// Takes all the space that is left.
    pub(crate) fn fill(&self) {
        use std::io::Write as _;
        let chunk = vec![0_u8; 1 << 20];
        let Ok(mut file) = fs::File::create(self.filler()) else {
            return;
        };
        // Ends when the disk is full, which is the purpose.
        while file.write_all(&chunk).is_ok() {}
        while file.write_all(&chunk[..512]).is_ok() {}
    }

    pub(crate) fn free(&self) {
        drop(fs::remove_file(self.filler()));
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.can_be_filled() && !run("umount", &["-l", &text(&self.path())]) {
            println!("torture: {} is still mounted", self.path().display());
        }
    }
}

fn loop_mount(image: &Path, mount: &Path) -> bool {
    let made = fs::File::create(image).and_then(|file| file.set_len(IMAGE_BYTES));
    made.is_ok()
        && run("mkfs.ext4", &["-q", "-F", &text(image)])
        && run("mount", &["-o", "loop", &text(image), &text(mount)])
}

fn run(program: &str, arguments: &[&str]) -> bool {
    let status = Command::new(program)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
