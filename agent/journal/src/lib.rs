//! # The journal
//!
//! An append-only, checksummed, segmented log on local disk: the only source of truth of an
//! agent's store. It owns files, durability and the order of records. It refuses to know what a
//! record means: a record is a kind byte and opaque bytes. It refuses to know time: what is old
//! enough to go is decided by the caller, who names a position.
//!
//! ## Promises
//!
//! 1. An append that is answered with positions is on stable storage. It is read back exactly, at
//!    those positions, until the caller gives its segment up.
//! 2. A batch is kept whole or not at all.
//! 3. Positions grow in the order in which batches were handed in.
//! 4. Nothing is ever read that was not appended: not stale bytes of a recycled file, not half a
//!    write, not another record's bytes.
//! 5. Damage to acknowledged data is reported with its position, never stepped over in silence.
//! 6. An append that is answered with an error is promised nothing. It is not read by this process;
//!    after a crash it may turn out to be there, whole.
//!
//! ## Limits
//!
//! | Thing | Bound |
//! | --- | --- |
//! | segment | 64 MiB by default, a multiple of 4 KiB, at most 1 GiB |
//! | batch, headers included | 32 MiB by default, always less than a segment; so records of 17 MiB fit |
//! | group | 1,024 records or 4 MiB, whichever comes first; a larger batch is a group of its own |
//! | waiting | 4,096 batches and 64 MiB; past it an append is refused as `Busy` |
//! | segments | sequence numbers of 31 bits: 128 PiB at 64 MiB each |
//! | open files | the active segment and 64 for reading |
//! | spare files | 4 by default, one of which is the reserve |
//!
//! One process at a time: the directory is locked.
//!
//! ## Format, version 1
//!
//! All numbers are little-endian; all checksums are CRC-32 (IEEE) by `crc32fast`, which uses the
//! processor's instructions for it, is maintained, and is in our dependency graph already. A
//! checksum here finds accidents; nobody who can write these files is kept out by it.
//!
//! A segment is a file `<sequence>.segment` (ten digits). Its first block of 4 KiB is the segment
//! header, written twice inside it (at 0 and at 2,048): magic, checksum, version, sequence, length
//! of the file, *salt*, and sequence and end of the segment before it. The salt is a fresh random
//! number of 64 bits. After the header come groups, each starting on a block:
//!
//! ```text
//! group   magic 4 | checksum 4 | salt 8 | segment 4 | offset 4 | length 4 | records 4 | records… | zeros
//! record  length 4 | kind 1 | flags 1 | zero 2 | payload checksum 4 | header checksum 4 | payload
//! ```
//!
//! A record's header checksum covers the salt, the segment's sequence and the record's own offset
//! besides the header, which holds the payload's checksum. So bytes from another place or from an
//! earlier life of a recycled file never pass. The payload's checksum does not depend on the place,
//! so it is computed by the caller's thread and not by the writer. The first flag marks the last
//! record of a group.
//!
//! A position is (segment sequence, byte offset of the record's header) and fits 63 bits.
//!
//! **Why groups start on blocks.** A power cut may destroy the sector being written, all of it, and
//! sectors have 512 bytes or 4 KiB. If a group began in the sector in which an acknowledged group
//! ends, writing the new one could destroy the old. So no block is ever written twice within the
//! life of a segment, unless what it held was never acknowledged. The price is 2 KiB per group on
//! average: nothing at the device, which writes whole pages anyway, and on disk a factor of 1.1 for
//! groups of 16 records of 1.5 KB, 1.03 for 64, but 2.7 for single ones.
//!
//! ## Write path
//!
//! One thread, the *writer*, owns every change to the directory. It takes what waits in the bounded
//! queue (never waiting for more to come), lays it out as one group, writes it with one call,
//! flushes (`fdatasync`), shows *witnesses* where their batches stand, publishes the new end to
//! readers, answers the callers, each of their runtimes with one wake, and only then takes the next
//! group. So **at any moment at most one group is written and not acknowledged**;
//! recovery rests on this.
//!
//! When a group does not fit the active segment, the *supply* makes the next: a spare file if there
//! is one (its blocks are allocated and written, which makes flushes cheaper), else a new file,
//! allocated in full. The header is written and flushed, then the file gets its name, then the
//! directory is flushed; a file named as a segment always has a whole header.
//!
//! **A failed write or flush.** After a failed `fdatasync` the kernel may have dropped the dirty
//! pages and call them clean, so flushing again proves nothing. The segment is sealed at its last
//! acknowledged end, a new one is begun, whose header states that end, and the group is written
//! there, once. If that fails too its callers are told `Failed`, and the journal pauses a moment
//! (250 ms) in which appends are refused at once; then the next append, or a probe by the writer
//! when none comes, tries afresh. Readers are not concerned. What is left of the failed segment's
//! file is cut off, so that a disk that fails often does not fill up.
//!
//! **A full disk** is told apart (`Full`). A write refused for lack of space leaves the segment in
//! use, since no flush failed. The same pause follows, in which urgent appends are still tried.
//!
//! **The reserve.** One spare segment is held back for *urgent* appends, such as ends of
//! deliveries: without them a full disk could not come to rest, because what is delivered would not
//! be recorded and so never be given up. Once the reserve is in use ordinary appends are refused
//! until it has been made again.
//!
//! ## Read path
//!
//! A read by position looks its segment up in the *catalog*, refuses what lies at or beyond the
//! published end, and reads header and payload, usually in one call. A *scan* walks groups in order
//! from any position it gave before, and can be asked again when it has caught up. On damage it
//! says what and where, then goes on with the next record or group that is whole.
//!
//! ## Recovery
//!
//! Every segment's header is read. It says where the segment before it ended, so only the newest
//! segment is walked, at most 64 MiB whatever the journal's size. The walk stops at the first group
//! that does not check. If a valid group header of this life of this segment stands anywhere behind
//! it, the writer had gone past, so the group was acknowledged: that is damage, it is reported, the
//! walk goes on behind it, and the segment is not written any more. If none does, the group was the
//! one in flight and is cut off. Then the segment and the directory are flushed, since what is read
//! now may so far exist in memory only.
//!
//! What cannot be told apart: damage to the very last acknowledged group looks like a torn one. To
//! keep that window small a journal that is closed in order writes an empty group as a mark.
//! A flush that failed and was followed by a kill of the process before the next segment began may
//! leave its group in the page cache but not on the disk; recovery may then take it. It was never
//! acknowledged.
//!
//! ## Retention
//!
//! The caller names a position; segments wholly below it are given up, oldest first, the directory
//! flushed after each, so that those left are always without a gap. The newest segment always
//! stays, and so does the sequence. Files become spares up to the cap; the others are deleted. A
//! reader that still holds a recycled file finds that no checksum fits and is told `Gone`.
//!
//! ## What a crash leaves
//!
//! | Crash while | Leaves | Recovery |
//! | --- | --- | --- |
//! | writing or flushing a group | any subset of its sectors, torn ones too | keeps it if whole, else cuts it off |
//! | after the flush, before the answer | the group | keeps it; the caller did not hear |
//! | allocating a file or writing a header | a file without the name of a segment | drops it |
//! | naming a segment | one name or the other | a spare or an empty segment |
//! | giving a segment up | one name or the other | a spare, nothing, or the segment again |
//! | sealing after a failed flush | the failed group, or not, at the end of the old segment | ignored once the new header exists, else as a group in flight |

mod answers;
mod catalog;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod group;
pub mod io;
mod journal;
mod options;
mod position;
mod queue;
mod read;
mod record;
mod recovery;
mod scan;
mod segment;
mod supply;
#[cfg(test)]
mod tests;
mod window;
mod writer;

pub use answers::Appending;
pub use catalog::SegmentInfo;
pub use journal::{Journal, OpenError};
pub use options::{Options, OptionsError};
pub use position::Position;
pub use queue::{AppendError, Placed, Witness};
pub use read::{Damage, Fault, ReadError};
pub use record::Record;
pub use recovery::Recovery;
pub use scan::{Entry, Scan};
pub use supply::RetainError;
pub use writer::{Figures, Health};
