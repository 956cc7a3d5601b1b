//! A small reader of Server-Sent Events over a raw byte stream.

use super::{Client, PATIENCE};
use futures_util::{Stream, StreamExt};
use serde_json::Value;
use std::pin::Pin;
use std::time::Duration;

type Bytes = Pin<Box<dyn Stream<Item = Option<Vec<u8>>> + Send>>;

#[derive(Clone, PartialEq, Debug)]
pub enum Frame {
    Event {
        id: u64,
        data: Value,
    },
    /// The text after the colon, trimmed.
    Comment(String),
    /// The other side ended the stream, or the connection broke.
    End,
}

pub struct Sse {
    bytes: Bytes,
    buffer: Vec<u8>,
    id: Option<u64>,
    data: Option<String>,
}

impl Sse {
    /// Opens a stream; `query` begins with `?` or is empty.
    pub async fn open(client: &Client, query: &str, last_event_id: Option<u64>) -> Sse {
        Sse::attempt(client, query, last_event_id).await.expect("the stream is answered")
    }

    /// Opens a stream unless the connection breaks, for tests that kill the other side.
    pub async fn attempt(client: &Client, query: &str, last_event_id: Option<u64>) -> reqwest::Result<Sse> {
        let mut request = client.request("GET", &format!("/v1/stream{query}"));
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id.to_string());
        }
        let answer = tokio::time::timeout(PATIENCE, request.send()).await.expect("no answer in time")?;
        assert_eq!(answer.status(), 200, "the stream was refused");
        let kind = answer.headers().get("content-type").and_then(|value| value.to_str().ok()).unwrap_or("");
        assert!(kind.starts_with("text/event-stream"), "a stream of {kind}");
        let bytes = answer.bytes_stream().map(|chunk| chunk.ok().map(|bytes| bytes.to_vec()));
        Ok(Sse { bytes: Box::pin(bytes), buffer: Vec::new(), id: None, data: None })
    }

    /// A stream if there is room for one more.
    pub async fn place(client: &Client) -> Option<()> {
        let answer = client.request("GET", "/v1/stream").send().await.expect("an answer");
        assert!([200, 503].contains(&answer.status().as_u16()), "{}", answer.status());
        (answer.status() == 200).then_some(())
    }

    /// The next frame, or a failed test if none comes in time.
    pub async fn next(&mut self) -> Frame {
        self.next_within(PATIENCE).await.unwrap_or_else(|| panic!("nothing on the stream for {PATIENCE:?}"))
    }

    pub async fn next_within(&mut self, patience: Duration) -> Option<Frame> {
        tokio::time::timeout(patience, self.read()).await.ok()
    }

    /// The next event; comments are passed over, an end fails the test.
    pub async fn event(&mut self) -> (u64, Value) {
        loop {
            match self.next().await {
                Frame::Event { id, data } => return (id, data),
                Frame::Comment(_) => {}
                Frame::End => panic!("the stream ended"),
            }
        }
    }

    /// The ids of the next events up to and including `last`.
    pub async fn ids_to(&mut self, last: u64) -> Vec<u64> {
        let mut ids = Vec::new();
        while ids.last().is_none_or(|id| *id < last) {
            ids.push(self.event().await.0);
        }
        ids
    }

    async fn read(&mut self) -> Frame {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                let line = String::from_utf8(line).expect("the stream is UTF-8");
                if let Some(frame) = self.line(line.trim_end_matches(['\r', '\n'])) {
                    return frame;
                }
                continue;
            }
            match self.bytes.next().await {
                Some(Some(chunk)) => self.buffer.extend(chunk),
                Some(None) | None => return Frame::End,
            }
        }
    }

    fn line(&mut self, line: &str) -> Option<Frame> {
        if line.is_empty() {
            let data = self.data.take()?;
            let data = serde_json::from_str(&data).expect("an event's data is JSON");
            return Some(Frame::Event { id: self.id.expect("an event has an id"), data });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" => return Some(Frame::Comment(value.trim().to_owned())),
            "id" => self.id = Some(value.parse().expect("an id is a seq")),
            "data" => match &mut self.data {
                Some(data) => *data = format!("{data}\n{value}"),
                None => self.data = Some(value.to_owned()),
            },
            // No `event:` line, so that a browser's `onmessage` gets everything.
            "event" => panic!("an `event:` line: {value}"),
            _ => {}
        }
        None
    }
}
