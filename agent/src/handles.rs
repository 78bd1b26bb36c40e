//! How many files and sockets the process may have open.
//!
//! Owns the limit of the kernel and what the agent needs of it. Refuses to know who
//! opens what. Invariant: the limit is only ever raised.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::accept::IngestLimits;
use crate::deliver::MOST_DELIVERIES;
use crate::settings::Settings;

/// For segments, the index, the streams and connections that are kept for later.
const RESERVE: u64 = 512;

/// Raises the limit as far as this process may, and warns when that is too little.
pub fn raise(settings: &Settings) {
    let (allowed, needed) = (raised(), needed(settings));
    if is_short(allowed, needed) {
        tracing::warn!(
            allowed,
            needed,
            "the process may open fewer files than connections and deliveries can take; raise \
             its limit (LimitNOFILE, ulimit -Hn), or connections are refused when there are many"
        );
    }
}

/// The limit as it is then; `None` when there is none.
fn raised() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return current;
    }
    let wanted = Rlimit {
        current: maximum,
        maximum,
    };
    match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::debug!(%error, "the limit of open files stays as it is");
            current
        }
    }
}

fn needed(settings: &Settings) -> u64 {
    let sockets = IngestLimits::of(settings).connections + MOST_DELIVERIES;
    u64::try_from(sockets).map_or(u64::MAX, |sockets| sockets.saturating_add(RESERVE))
}

fn is_short(allowed: Option<u64>, needed: u64) -> bool {
    allowed.is_some_and(|allowed| allowed < needed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_gets_all_the_files_it_may_have() {
        let allowed = raised();
        let now = getrlimit(Resource::Nofile);
        assert_eq!((now.current, now.current), (allowed, now.maximum));
    }

    #[test]
    fn fewer_files_than_connections_and_deliveries_are_too_few() {
        let needed = needed(&Settings::in_dir(std::path::Path::new("data")));
        assert!(needed > 10_000 + 1_024);
        assert!(is_short(Some(1_024), needed) && is_short(Some(needed - 1), needed));
        assert!(!is_short(Some(needed), needed) && !is_short(None, needed));
    }
}
