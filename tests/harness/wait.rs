//! Waiting for states.

use std::future::Future;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(30);
const STEP: Duration = Duration::from_millis(20);

/// Asks again and again until there is an answer.
///
/// # Panics
/// With the sentence, when there is none within 30 s.
pub async fn until<T, F>(sentence: &str, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let waiting = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(STEP).await;
        }
    };
    match tokio::time::timeout(DEADLINE, waiting).await {
        Ok(answer) => answer,
        Err(_) => panic!("waited {DEADLINE:?} in vain until {sentence}"),
    }
}
