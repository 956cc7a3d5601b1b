//! Server-Sent Events as they arrive, in pieces cut anywhere: events with their id, and comments. What is held between
//! two pieces is bounded.

/// More than any event of this ledger has: an order and an entry without bodies.
pub const EVENT_BYTES_MAX: usize = 1024 * 1024;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Frame {
    Event {
        id: String,
        data: String,
    },
    /// What follows the colon, trimmed.
    Comment(String),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotSse {
    #[error("an event of more than {EVENT_BYTES_MAX} bytes came")]
    TooLong,
    #[error("a line that is not UTF-8 came")]
    NotUtf8,
}

/// What came so far of the line and the event that are not complete.
#[derive(Default)]
pub struct Parser {
    line: Vec<u8>,
    id: String,
    data: Option<String>,
}

impl Parser {
    /// Takes the next bytes, and answers what they complete.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Frame>, NotSse> {
        let mut frames = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let held = self.line.len() + self.data.as_ref().map_or(0, String::len);
            if held + piece.len() > EVENT_BYTES_MAX {
                return Err(NotSse::TooLong);
            }
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                let line = String::from_utf8(std::mem::take(&mut self.line)).map_err(|_| NotSse::NotUtf8)?;
                frames.extend(self.line(line.trim_end_matches(['\r', '\n'])));
            }
        }
        Ok(frames)
    }

    fn line(&mut self, line: &str) -> Option<Frame> {
        if line.is_empty() {
            let data = self.data.take()?;
            return Some(Frame::Event { id: self.id.clone(), data });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match (field, &mut self.data) {
            ("", _) => return Some(Frame::Comment(value.trim().to_owned())),
            ("id", _) => value.clone_into(&mut self.id),
            ("data", Some(data)) => {
                data.push('\n');
                data.push_str(value);
            }
            ("data", none) => *none = Some(value.to_owned()),
            // `retry` and whatever else: the reader has pauses of its own.
            (_, _) => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "retry: 2000\n: seq=7\n\nid: 8\ndata: {\"é\":1}\n\nid: 9\r\ndata: a\r\ndata:b\r\n\r\n: token expired\n\n";

    fn expected() -> Vec<Frame> {
        let event = |id: &str, data: &str| Frame::Event { id: id.to_owned(), data: data.to_owned() };
        vec![
            Frame::Comment("seq=7".to_owned()),
            event("8", "{\"é\":1}"),
            event("9", "a\nb"),
            Frame::Comment("token expired".to_owned()),
        ]
    }

    #[test]
    fn wherever_the_stream_is_cut_the_frames_are_the_same() {
        for size in 1..=STREAM.len() {
            let mut parser = Parser::default();
            let pieces = STREAM.as_bytes().chunks(size);
            let frames: Vec<Frame> = pieces.flat_map(|piece| parser.feed(piece).unwrap()).collect();
            assert_eq!(frames, expected(), "in pieces of {size}");
        }
    }

    #[test]
    fn an_event_that_was_cut_off_is_none() {
        let mut parser = Parser::default();
        assert_eq!(parser.feed(b"id: 8\ndata: {}\n"), Ok(Vec::new()));
    }

    #[test]
    fn what_never_ends_is_not_held() {
        let endless = vec![b'x'; EVENT_BYTES_MAX];
        let mut parser = Parser::default();
        assert_eq!(parser.feed(&endless), Ok(Vec::new()));
        assert_eq!(parser.feed(b"x"), Err(NotSse::TooLong));
        let line = [b"data: ", &endless[..1000], b"\n"].concat();
        let mut parser = Parser::default();
        let lines = (0..2000).map(|_| parser.feed(&line)).find(Result::is_err);
        assert_eq!(lines, Some(Err(NotSse::TooLong)));
        assert_eq!(Parser::default().feed(b"data: \xff\n"), Err(NotSse::NotUtf8));
    }
}
