//! The least HTTP/1.1 that a load generator needs: one request out, one status back.
//!
//! A general client costs twice the time on the cores that the agent needs too.
//! Refuses anything but answers with a `content-length`.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Largest answer that is read.
const MAX_ANSWER: usize = 64 * 1_024;

/// One keep-alive connection.
pub(super) struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
}

/// The head of an answer.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    /// Head and body.
    length: usize,
}

impl Connection {
    pub(super) async fn open(address: std::net::SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            answer: Vec::with_capacity(1_024),
        })
    }

    /// Sends a whole request and reads the whole answer; gives its status.
    pub(super) async fn exchange(&mut self, request: &[u8]) -> io::Result<u16> {
        self.stream.write_all(request).await?;
        self.answer.clear();
        loop {
            if let Some(head) = head(&self.answer)?
                && self.answer.len() >= head.length
            {
                return Ok(head.status);
            }
            if self.answer.len() > MAX_ANSWER {
                return Err(invalid("an answer is too long"));
            }
            if self.stream.read_buf(&mut self.answer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

fn head(answer: &[u8]) -> io::Result<Option<Head>> {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let text = std::str::from_utf8(&answer[..end]).map_err(|_| invalid("no text"))?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.get(9..12));
    let status = status.and_then(|digits| digits.parse().ok());
    let length = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse::<usize>().ok());
    match (status, length) {
        (Some(status), Some(length)) => Ok(Some(Head {
            status,
            length: end + 4 + length,
        })),
        _ => Err(invalid("an answer has no status or no length")),
    }
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_only_with_its_body() {
        let answer = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 3\r\n\r\nabc";
        let wanted = Head {
            status: 503,
            length: answer.len(),
        };
        assert_eq!(head(answer).expect("valid"), Some(wanted));
        assert_eq!(head(&answer[..20]).expect("not yet invalid"), None);
    }

    #[test]
    fn an_answer_without_a_length_is_refused() {
        assert!(head(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
