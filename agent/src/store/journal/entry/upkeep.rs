//! Encoding of everything that is not a request, an event or an attempt by itself.

use hookplane_journal::Record;

use super::super::codec::{Decoder, Malformed};
use super::{
    Counted, Entry, HandlerNote, KeyEntry, Repeat, Version, evidence, extended, extras, kind,
    record,
};
use crate::store::EventHandler;

pub(in super::super) fn repeat_record(repeat: &Repeat) -> Record {
    let version = Version::with(repeat.requeued.iter().any(extras::event_has));
    extended(kind::REPEAT, 256, version, |out, version| {
        out.text(&repeat.request_id);
        out.text(&repeat.team_id);
        out.text(&repeat.source_id);
        out.number(repeat.received_at);
        out.text(&repeat.client_ip);
        out.number(repeat.requeued.len() as u64);
        for event in &repeat.requeued {
            evidence::lone_event(out, event, version);
        }
    })
}

pub(in super::super) fn tally_record(counts: &[(Counted, u64)]) -> Record {
    record(kind::TALLY, 64 * counts.len(), |out| {
        out.number(counts.len() as u64);
        for (of, count) in counts {
            out.text(&of.request_id);
            out.text(&of.team_id);
            out.text(&of.source_id);
            out.number(of.minute);
            out.number(*count);
        }
    })
}

pub(in super::super) fn cancel_record(connection_id: &str, detail: &str) -> Record {
    record(kind::CANCEL, 128, |out| {
        out.text(connection_id);
        out.text(detail);
    })
}

pub(in super::super) fn broken_record(event_id: &str, at: u64, reason: &str) -> Record {
    record(kind::BROKEN, 128, |out| {
        out.text(event_id);
        out.number(at);
        out.text(reason);
    })
}

pub(in super::super) fn cancel_event_record(event_id: &str, at: u64, detail: &str) -> Record {
    record(kind::CANCEL_EVENT, 128, |out| {
        out.text(event_id);
        out.number(at);
        out.text(detail);
    })
}

pub(in super::super) fn handler_note_record(note: &HandlerNote) -> Record {
    record(kind::HANDLER_NOTE, 256, |out| {
        out.text(&note.request_id);
        out.text(&note.event_id);
        out.number(note.attempt.into());
        out.number(note.at);
        out.number(extras::outcome_code(note.handler.outcome));
        out.maybe_text(note.handler.reason.as_deref());
    })
}

pub(in super::super) fn number_record(number: u32) -> Record {
    record(kind::NUMBER, 16, |out| out.number(number.into()))
}

pub(in super::super) fn report_record(sequence: u64, payload: &[u8]) -> Record {
    record(kind::REPORT, payload.len() + 16, |out| {
        out.number(sequence);
        out.bytes(payload);
    })
}

pub(in super::super) fn acknowledged_record(up_to: u64) -> Record {
    record(kind::ACKNOWLEDGED, 16, |out| out.number(up_to))
}

pub(in super::super) fn keys_record(keys: &[KeyEntry]) -> Record {
    record(kind::KEYS, 64 * keys.len(), |out| {
        out.number(keys.len() as u64);
        for entry in keys {
            out.raw(&entry.key);
            out.text(&entry.request_id);
            out.number(entry.expires_at);
        }
    })
}

pub(in super::super) fn facts_record(number: Option<u32>, last_report: u64) -> Record {
    record(kind::FACTS, 32, |out| {
        out.maybe_number(number.map(u64::from));
        out.number(last_report);
    })
}

pub(super) fn read(kind: u8, from: &mut Decoder, version: Version) -> Result<Entry, Malformed> {
    Ok(match kind {
        kind::REPEAT => Entry::Repeat(read_repeat(from, version)?),
        kind::TALLY => Entry::Tally(several(from, |from| {
            let of = Counted {
                request_id: from.text()?,
                team_id: from.text()?,
                source_id: from.text()?,
                minute: from.number()?,
            };
            Ok((of, from.number()?))
        })?),
        kind::CANCEL => Entry::Cancel {
            connection_id: from.text()?,
            detail: from.text()?,
        },
        kind::BROKEN => Entry::Broken {
            event_id: from.text()?,
            at: from.number()?,
            reason: from.text()?,
        },
        kind::CANCEL_EVENT => Entry::CancelEvent {
            event_id: from.text()?,
            at: from.number()?,
            detail: from.text()?,
        },
        kind::HANDLER_NOTE => Entry::HandlerNote(Box::new(HandlerNote {
            request_id: from.text()?,
            event_id: from.text()?,
            attempt: from.small()?,
            at: from.number()?,
            handler: EventHandler {
                outcome: extras::outcome_from(from.number()?)?,
                reason: from.maybe_text()?,
            },
        })),
        kind::NUMBER => Entry::Number(from.small()?),
        kind::REPORT => Entry::Report {
            sequence: from.number()?,
            payload: from.bytes()?,
        },
        kind::ACKNOWLEDGED => Entry::Acknowledged(from.number()?),
        kind::KEYS => Entry::Keys(several(from, |from| {
            Ok(KeyEntry {
                key: evidence::key(from)?,
                request_id: from.text()?,
                expires_at: from.number()?,
            })
        })?),
        kind::FACTS => Entry::Facts {
            number: match from.maybe_number()? {
                None => None,
                Some(wide) => Some(u32::try_from(wide).map_err(|_| Malformed::Number)?),
            },
            last_report: from.number()?,
        },
        other => {
            let what = "the kind of a record";
            let value = other.into();
            return Err(Malformed::Unknown { what, value });
        }
    })
}

fn read_repeat(from: &mut Decoder, version: Version) -> Result<Repeat, Malformed> {
    Ok(Repeat {
        request_id: from.text()?,
        team_id: from.text()?,
        source_id: from.text()?,
        received_at: from.number()?,
        client_ip: from.text()?,
        requeued: several(from, |from| evidence::read_lone_event(from, version))?,
    })
}

fn several<T>(
    from: &mut Decoder,
    read: impl Fn(&mut Decoder) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    // No capacity ahead: the count is checked by reading that many.
    let mut found = Vec::new();
    for _ in 0..from.number()? {
        found.push(read(from)?);
    }
    Ok(found)
}
