//! A real control plane in this process, where a fake would have to judge like one.

use std::sync::Arc;

use hookplane_control_plane::clock::SystemClock;
use hookplane_control_plane::server::ControlPlane;
use hookplane_control_plane::settings::Settings;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::hookplane::Shell;

/// It ends when dropped.
pub(crate) struct Plane {
    url: String,
    key: String,
    _tasks: JoinSet<()>,
    _folder: tempfile::TempDir,
}

impl Plane {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings::in_dir(folder.path());
        settings.api = ([127, 0, 0, 1], 0).into();
        let key_file = settings.admin_key_file.clone();
        let plane = ControlPlane::start(settings, Arc::new(SystemClock));
        let plane = plane.await.unwrap();
        let url = format!("http://{}", plane.api());
        let key = std::fs::read_to_string(key_file).unwrap().trim().to_owned();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            plane.run(CancellationToken::new()).await.unwrap();
        });
        Self {
            url,
            key,
            _tasks: tasks,
            _folder: folder,
        }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// A terminal that has address and key in its environment.
    pub(crate) fn shell(&self) -> Shell {
        Shell::bare()
            .with("HOOKPLANE_API_URL", &self.url)
            .with("HOOKPLANE_API_KEY", &self.key)
    }
}
