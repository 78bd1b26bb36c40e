//! Messages of the configuration stream whose large part is encoded once for all agents.
//!
//! A snapshot of ten thousand sources goes to a thousand agents as the same bytes;
//! only the nonce in front of them differs.

use std::fmt;

use bytes::{Buf, BufMut, Bytes};
use hookplane_proto::agent::v1::{ConfigurationStreamResponse, Delta, SnapshotChunk};
use prost::Message;
use prost::encoding::{DecodeContext, WireType, encode_key, encode_varint, encoded_len_varint};

/// Field numbers of the contract; a test holds them to it.
const DELTA: u32 = 2;
const SNAPSHOT: u32 = 3;
const NONCE: u32 = 1;
const UPSERTS: u32 = 4;
const RESOURCES: u32 = 5;

/// One message on the wire: a few bytes of its own, then shared ones.
#[derive(Clone, Default)]
pub struct Frame {
    head: Vec<u8>,
    body: Bytes,
}

impl Frame {
    /// A message that is nobody else's.
    pub(super) fn whole(message: &ConfigurationStreamResponse) -> Self {
        Self {
            head: message.encode_to_vec(),
            body: Bytes::new(),
        }
    }

    /// A delta whose encoded form lacks its nonce.
    pub(super) fn delta(nonce: u64, body: Bytes) -> Self {
        Self::numbered(DELTA, nonce, body)
    }

    /// A part of a snapshot whose encoded form lacks its nonce.
    pub(super) fn snapshot(nonce: u64, body: Bytes) -> Self {
        Self::numbered(SNAPSHOT, nonce, body)
    }

    fn numbered(field: u32, nonce: u64, body: Bytes) -> Self {
        let mut number = Vec::with_capacity(11);
        encode_key(NONCE, WireType::Varint, &mut number);
        encode_varint(nonce, &mut number);
        let mut head = Vec::with_capacity(number.len() + 12);
        encode_key(field, WireType::LengthDelimited, &mut head);
        encode_varint((number.len() + body.len()) as u64, &mut head);
        head.extend_from_slice(&number);
        Self { head, body }
    }
}

/// A delta without its nonce, with resources that are encoded already.
pub(super) fn delta_body<'a>(delta: &Delta, upserts: impl Iterator<Item = &'a Bytes>) -> Bytes {
    body(delta, UPSERTS, upserts)
}

/// A part of a snapshot without its nonce, with resources that are encoded already.
pub(super) fn snapshot_body<'a>(
    chunk: &SnapshotChunk,
    resources: impl Iterator<Item = &'a Bytes>,
) -> Bytes {
    body(chunk, RESOURCES, resources)
}

fn body<'a>(rest: &impl Message, field: u32, parts: impl Iterator<Item = &'a Bytes>) -> Bytes {
    let mut encoded = rest.encode_to_vec();
    for part in parts {
        encoded.reserve(part.len() + 2 + encoded_len_varint(part.len() as u64));
        encode_key(field, WireType::LengthDelimited, &mut encoded);
        encode_varint(part.len() as u64, &mut encoded);
        encoded.extend_from_slice(part);
    }
    encoded.into()
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The bytes hold secrets.
        write!(f, "Frame({} bytes)", self.encoded_len())
    }
}

/// Only ever written; what is read back has no bytes of its own.
impl Message for Frame {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        buf.put_slice(&self.head);
        buf.put_slice(&self.body);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), prost::DecodeError> {
        prost::encoding::skip_field(wire_type, tag, buf, ctx)
    }

    fn encoded_len(&self) -> usize {
        self.head.len() + self.body.len()
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hookplane_proto::agent::v1::configuration_stream_response::Message as Told;
    use hookplane_proto::agent::v1::{Held, Resource};

    fn read(frame: &Frame) -> Told {
        let bytes = frame.encode_to_vec();
        assert_eq!(bytes.len(), frame.encoded_len());
        let message = ConfigurationStreamResponse::decode(bytes.as_slice());
        message
            .expect("a message")
            .message
            .expect("it says something")
    }

    fn resource(version: u64) -> Resource {
        Resource {
            version,
            ..Resource::default()
        }
    }

    #[test]
    fn a_frame_reads_as_the_message_it_stands_for() {
        let held = Some(Held {
            epoch: "e".to_owned(),
            revision: 7,
            digest: "d".to_owned(),
        });
        let parts: Vec<Bytes> = [1, 2]
            .map(|version| resource(version).encode_to_vec().into())
            .into();
        let delta = Delta {
            held: held.clone(),
            base_revision: 6,
            ..Delta::default()
        };
        let frame = Frame::delta(300, delta_body(&delta, parts.iter()));
        let whole = Delta {
            nonce: 300,
            upserts: vec![resource(1), resource(2)],
            ..delta
        };
        assert_eq!(read(&frame), Told::Delta(whole));
        let chunk = SnapshotChunk {
            held,
            index: 3,
            last: true,
            ..SnapshotChunk::default()
        };
        let frame = Frame::snapshot(1, snapshot_body(&chunk, parts.iter()));
        let whole = SnapshotChunk {
            nonce: 1,
            resources: vec![resource(1), resource(2)],
            ..chunk
        };
        assert_eq!(read(&frame), Told::Snapshot(whole));
    }
}
