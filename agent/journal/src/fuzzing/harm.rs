//! What can happen to the files of a journal that nobody has open.

use arbitrary::Arbitrary;

use super::SEGMENT;
use crate::segment;

/// The files of a directory; the earlier state is what an old copy would bring back.
pub(super) type Files = std::collections::BTreeMap<String, Vec<u8>>;

/// A place in a file of the fuzzer's choice, taken modulo what there is.
#[derive(Clone, Copy, Debug, Arbitrary)]
pub(super) struct Place {
    file: u8,
    at: u16,
}

#[derive(Clone, Copy, Debug, Arbitrary)]
pub(super) enum Harm {
    Flip {
        place: Place,
        bit: u8,
    },
    Fill {
        place: Place,
        length: u16,
        with: u8,
    },
    Cut {
        place: Place,
    },
    Lengthen {
        place: Place,
    },
    /// Copies inside a file, or from one to another.
    Move {
        from: Place,
        to: Place,
        length: u16,
    },
    /// Whole blocks, as a disk that mixes addresses up.
    MoveBlock {
        from: Place,
        to: Place,
    },
    Remove {
        file: u8,
    },
    /// A copy of a file under the name of another segment.
    Copy {
        file: u8,
        sequence: u32,
    },
    /// The file as it was some time ago: a disk that lied about flushing.
    RollBack {
        file: u8,
    },
}

impl Harm {
    pub(super) fn apply(self, files: &mut Files, earlier: &Files) {
        match self {
            Self::Flip { place, bit } => {
                place.with(files, |bytes, at| bytes[at] ^= 1 << (bit % 8));
            }
            Self::Fill {
                place,
                length,
                with,
            } => place.with(files, |bytes, at| {
                let end = bytes.len().min(at + usize::from(length));
                bytes[at..end].fill(with);
            }),
            Self::Cut { place } => place.with(files, Vec::truncate),
            Self::Lengthen { place } => place.with(files, |bytes, by| {
                bytes.resize((bytes.len() + by).min(2 * SEGMENT as usize), 0);
            }),
            Self::Move { from, to, length } => copy(files, from, to, length.into(), false),
            Self::MoveBlock { from, to } => {
                copy(files, from, to, segment::BLOCK as usize, true);
            }
            Self::Remove { file } => {
                if let Some(name) = nth(files, file) {
                    files.remove(&name);
                }
            }
            Self::Copy { file, sequence } => {
                if let Some(bytes) = nth(files, file).and_then(|name| files.get(&name)) {
                    files.insert(segment::name(sequence), bytes.clone());
                }
            }
            Self::RollBack { file } => {
                if let Some(name) = nth(earlier, file) {
                    files.insert(name.clone(), earlier[&name].clone());
                }
            }
        }
    }
}

impl Place {
    fn with(self, files: &mut Files, change: impl FnOnce(&mut Vec<u8>, usize)) {
        let bytes = nth(files, self.file).and_then(|name| files.get_mut(&name));
        if let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) {
            let at = usize::from(self.at) % bytes.len();
            change(bytes, at);
        }
    }
}

fn nth(files: &Files, number: u8) -> Option<String> {
    let number = usize::from(number).checked_rem(files.len())?;
    files.keys().nth(number).cloned()
}

fn copy(files: &mut Files, from: Place, to: Place, length: usize, aligned: bool) {
    let align = |at: usize| {
        if aligned {
            at - at % segment::BLOCK as usize
        } else {
            at
        }
    };
    let mut moved = Vec::new();
    from.with(files, |bytes, at| {
        let at = align(at);
        moved = bytes[at..bytes.len().min(at + length)].to_vec();
    });
    to.with(files, |bytes, at| {
        let at = align(at);
        let count = moved.len().min(bytes.len() - at);
        bytes[at..at + count].copy_from_slice(&moved[..count]);
    });
}
