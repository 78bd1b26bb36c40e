//! What witnesses see and hear, and that callers are answered together and always.

use std::io;
use std::pin::pin;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::ThreadId;

use tokio::runtime::{Builder, Runtime};

use super::{all, open, record};
use crate::io::simulated::{Operation, SimulatedDisk};
use crate::{AppendError, Appending, Journal, Placed, Position, Record, Witness};

/// What one batch's witness saw and heard.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Word {
    Placed {
        positions: Vec<Position>,
        from: Position,
        next: Position,
        /// It could be read by then.
        published: bool,
    },
    Stored(Vec<Position>),
    Failed,
}

type Words = Arc<Mutex<Vec<Word>>>;

struct Notes {
    journal: Journal,
    words: Words,
}

impl Witness for Notes {
    fn placed(&mut self, placed: Placed<'_>) {
        let published = self.journal.end().is_some_and(|end| end >= placed.next);
        self.words.lock().unwrap().push(Word::Placed {
            positions: placed.positions.to_vec(),
            from: placed.from,
            next: placed.next,
            published,
        });
    }

    fn decided(self: Box<Self>, outcome: &Result<Vec<Position>, AppendError>) {
        let word = match outcome {
            Ok(positions) => {
                let end = self.journal.end();
                assert!(positions.iter().all(|at| Some(*at) < end), "told too early");
                Word::Stored(positions.clone())
            }
            Err(_) => Word::Failed,
        };
        self.words.lock().unwrap().push(word);
    }
}

fn witnessed(journal: &Journal, words: &Words, records: Vec<Record>) -> Appending {
    let notes = Notes {
        journal: journal.clone(),
        words: Arc::clone(words),
    };
    let handed_in = journal.append_witnessed(records, false, Box::new(notes));
    handed_in.expect("there is room")
}

/// Batches of every size, some of whose records begin on blocks, many of them in one group.
fn batches(count: u32) -> Vec<Vec<Record>> {
    let one = |number: u32| {
        let length = match number % 3 {
            0 => 4_080,
            1 => 4_048,
            _ => number as usize % 900,
        };
        record(number, length)
    };
    (0..count)
        .map(|number| (0..=number % 3).map(|more| one(number + more)).collect())
        .collect()
}

#[test]
fn a_place_is_seen_before_it_can_be_read_and_a_scan_stands_there_too() {
    let disk = SimulatedDisk::new(1);
    let journal = open(&disk);
    let words = Words::default();
    let batches = batches(300);
    for some in batches.chunks(12) {
        let held = disk.hold();
        let waiting: Vec<Appending> = some
            .iter()
            .map(|batch| witnessed(&journal, &words, batch.clone()))
            .collect();
        drop(held);
        for answer in waiting {
            answer.wait().unwrap();
        }
    }
    let mut reading = journal.scan(Position::START);
    let mut going = journal.scan(Position::START);
    let (mut met, mut batch_of) = (0, batches.iter());
    for word in words.lock().unwrap().iter() {
        let Word::Placed {
            positions,
            from,
            next,
            published,
        } = word
        else {
            continue;
        };
        assert!(!published, "readers were told first");
        // At the end of a segment a scan does not know yet where the next one will be.
        met += usize::from(reading.position() == *from);
        going.go_to(*from);
        for (at, record) in positions.iter().zip(batch_of.next().unwrap()) {
            let read = reading.next().unwrap().unwrap();
            assert_eq!((read.position, &read.record), (*at, record));
            assert_eq!(going.next().unwrap().unwrap(), read);
        }
        assert_eq!((reading.position(), going.position()), (*next, *next));
    }
    assert!(reading.next().is_none() && batch_of.next().is_none());
    let segments = journal.segments().len();
    assert!(segments > 5 && met >= batches.len() - segments, "{met}");
}

#[test]
fn a_group_that_failed_is_seen_where_it_stands_in_the_end_and_one_that_is_lost_nowhere() {
    let disk = SimulatedDisk::new(1);
    let journal = open(&disk);
    let words = Words::default();
    super::append(&journal, &[record(1, 100)]);
    disk.fail_next(Operation::Sync, io::ErrorKind::Other);
    let moved = witnessed(&journal, &words, vec![record(2, 100)]).wait();
    let moved = moved.expect("written again elsewhere");
    let now = disk.calls();
    disk.fail_at(now..now + 1_000, io::ErrorKind::Other);
    let lost = witnessed(&journal, &words, vec![record(3, 100)]).wait();
    assert!(matches!(lost, Err(AppendError::Failed(_))), "{lost:?}");
    disk.forget_failures();
    let heard = words.lock().unwrap().clone();
    assert!(matches!(&heard[0], Word::Placed { positions, .. } if *positions == moved));
    assert_eq!(heard[1..], [Word::Stored(moved), Word::Failed]);
}

/// A runtime of one thread, as of one core.
fn runtime() -> Runtime {
    Builder::new_current_thread().build().unwrap()
}

/// Batches of one group, handed in on a runtime; `then` happens before the writer takes them.
fn one_group(
    journal: &Journal,
    home: &Runtime,
    then: impl FnOnce(&mut [Appending]),
) -> Vec<Appending> {
    let (begun, heard) = sync_channel::<()>(1);
    let (until, dropped) = sync_channel::<()>(1);
    let busy = move |_: &_| {
        begun.send(()).unwrap();
        dropped.recv().ok();
    };
    let first = journal.append_telling(vec![record(0, 10)], false, busy);
    heard.recv().unwrap();
    let inside = home.enter();
    let batch = |number| journal.append(vec![record(number, 10)]).unwrap();
    let mut waiting: Vec<Appending> = (1..=8).map(batch).collect();
    drop(inside);
    then(&mut waiting);
    drop(until);
    first.unwrap().wait().unwrap();
    waiting
}

#[test]
fn answers_of_one_group_are_given_by_the_runtime_whose_tasks_wait_for_them() {
    #[derive(Default)]
    struct Woken(Mutex<Vec<ThreadId>>);
    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.lock().unwrap().push(std::thread::current().id());
        }
    }
    let disk = SimulatedDisk::new(1);
    let (journal, home, woken) = (open(&disk), runtime(), Arc::<Woken>::default());
    let waker = Waker::from(Arc::clone(&woken));
    let waiting = one_group(&journal, &home, |waiting| {
        for answer in waiting {
            let polled = pin!(answer).poll(&mut Context::from_waker(&waker));
            assert!(matches!(polled, Poll::Pending));
        }
    });
    let count = waiting.len();
    home.block_on(async {
        for answer in waiting {
            answer.await.unwrap();
        }
    });
    let woken = woken.0.lock().unwrap();
    // The first one is waited for with the runtime's own waker.
    assert_eq!(woken.len(), count - 1);
    let here = std::thread::current().id();
    assert!(
        woken.iter().all(|thread| *thread == here),
        "woken from outside"
    );
}

#[test]
fn who_waits_is_answered_even_if_the_runtime_that_handed_in_is_gone() {
    let disk = SimulatedDisk::new(1);
    let journal = open(&disk);
    let home = runtime();
    let waiting = one_group(&journal, &home, |_| {});
    drop(home);
    for answer in waiting {
        answer.wait().unwrap();
    }
    assert_eq!(all(&journal).len(), 9);
}
