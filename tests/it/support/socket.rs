//! A WebSocket client that is not ours, with patience.

use super::{Client, PATIENCE};
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

pub struct Socket {
    inner: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

/// What comes along a socket.
#[derive(Debug, PartialEq)]
pub enum Heard {
    Event(Value),
    Ping(String),
    Pong(String),
    /// The close code and its reason; 1005 and nothing where the frame has neither.
    Closed(u16, String),
    /// The connection ended without a close frame.
    End,
}

/// A handshake that was refused.
#[derive(Debug)]
pub struct Refused {
    pub status: u16,
    pub body: Value,
}

impl Socket {
    /// Opens a socket; `query` begins with `?` or is empty.
    pub async fn open(client: &Client, query: &str) -> Socket {
        Socket::attempt(client, query, &[]).await.unwrap_or_else(|refused| panic!("refused: {refused:?}"))
    }

    pub async fn attempt(client: &Client, query: &str, headers: &[(&str, &str)]) -> Result<Socket, Refused> {
        let url = format!("{}/v1/ws{query}", client.base.replacen("http", "ws", 1));
        let mut request = url.into_client_request().unwrap();
        let bearer = client.token.as_ref().map(|token| format!("Bearer {token}"));
        let bearer = bearer.iter().map(|value| ("authorization", value.as_str()));
        for (name, value) in headers.iter().copied().chain(bearer) {
            let name = tungstenite::http::HeaderName::from_bytes(name.as_bytes()).unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        match tokio::time::timeout(PATIENCE, connect_async(request)).await.expect("no answer in time") {
            Ok((inner, answer)) => {
                assert_eq!(answer.status(), 101);
                Ok(Socket { inner })
            }
            Err(Error::Http(answer)) => {
                let body = answer.body().clone().unwrap_or_default();
                let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
                Err(Refused { status: answer.status().as_u16(), body })
            }
            Err(error) => panic!("no handshake: {error}"),
        }
    }

    pub async fn send(&mut self, message: Message) {
        self.inner.send(message).await.unwrap();
    }

    /// Sends what the other side may refuse by closing.
    pub async fn offer(&mut self, message: Message) {
        let _ = self.inner.send(message).await;
    }

    pub async fn next(&mut self) -> Heard {
        self.next_within(PATIENCE).await.unwrap_or_else(|| panic!("nothing on the socket for {PATIENCE:?}"))
    }

    pub async fn next_within(&mut self, patience: Duration) -> Option<Heard> {
        tokio::time::timeout(patience, self.read()).await.ok()
    }

    async fn read(&mut self) -> Heard {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match self.inner.next().await {
            Some(Ok(Message::Text(json))) => {
                Heard::Event(serde_json::from_str(&json).expect("an event is JSON"))
            }
            Some(Ok(Message::Ping(bytes))) => Heard::Ping(text(&bytes)),
            Some(Ok(Message::Pong(bytes))) => Heard::Pong(text(&bytes)),
            Some(Ok(Message::Close(frame))) => {
                let (code, reason) = frame.map_or((1005, String::new()), |frame| {
                    (u16::from(frame.code), frame.reason.as_str().to_owned())
                });
                Heard::Closed(code, reason)
            }
            Some(Ok(other)) => panic!("the server sent {other:?}"),
            Some(Err(_)) | None => Heard::End,
        }
    }

    /// The next event; pings are passed over, an end fails the test.
    pub async fn event(&mut self) -> Value {
        loop {
            match self.next().await {
                Heard::Event(event) => return event,
                Heard::Ping(_) | Heard::Pong(_) => {}
                other => panic!("the socket ended: {other:?}"),
            }
        }
    }

    /// The seqs of the next events up to and including `last`.
    pub async fn seqs_to(&mut self, last: u64) -> Vec<u64> {
        let mut seqs = Vec::new();
        while seqs.last().is_none_or(|seq| *seq < last) {
            seqs.push(self.event().await["seq"].as_u64().expect("an event has a seq"));
        }
        seqs
    }

    /// The close code and reason, with whatever comes before passed over.
    pub async fn closed(&mut self, patience: Duration) -> (u16, String) {
        let closed = async {
            loop {
                match self.read().await {
                    Heard::Closed(code, reason) => return (code, reason),
                    Heard::End => panic!("the connection ended without a close frame"),
                    Heard::Event(_) | Heard::Ping(_) | Heard::Pong(_) => {}
                }
            }
        };
        tokio::time::timeout(patience, closed)
            .await
            .unwrap_or_else(|_| panic!("still open after {patience:?}"))
    }
}
