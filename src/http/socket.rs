//! WebSocket: a tail of the ledger as text frames, one JSON event each. It only sends; what clients say is answered where
//! the protocol wants it, and counts as a sign of life. Every end has a close code and a reason.

use super::app::App;
use super::guard::{Permit, StreamRead};
use super::problem::Problem;
use super::sheet::Picked;
use super::tail::{self, Step, Tail, TailQuery, Way};
use actix_web::web::{Bytes, Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use actix_ws::{CloseCode, CloseReason, Message, MessageStream, ProtocolError, Session};
use futures_util::SinkExt;
use std::io::ErrorKind;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};

/// What a client may send in one frame; pings and pongs are shorter.
const FRAME_BYTES_MAX: usize = 4096;
/// A client that says nothing (not even pong) and takes nothing for so long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// How long the last frame may wait for room.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// In the range for applications, named after HTTP's 401: come back with another token.
const TOKEN_EXPIRED: u16 = 4401;
/// Named after HTTP's 408.
const SILENT: u16 = 4408;

/// The stream's events over a WebSocket: one text frame an event, the same JSON.
///
/// Pings every 15 s, with `seq=<head>` in them. Close codes: 1001 the daemon stops, 1002 a frame breaks the protocol,
/// 1003 a message was sent (none is taken), 1009 a frame of more than 4096 bytes, 1011 the ledger cannot be read, 4401 the
/// token has expired, 4408 nothing was heard for 45 s. Come back with `from` = the last seq + 1; a position beyond
/// head + 1 is 409 `cursor-ahead`, before the upgrade.
#[utoipa::path(
    get, path = "/v1/ws", tag = "events",
    params(TailQuery, ("Last-Event-ID" = Option<u64>, Header, description = "Starts after this seq")),
    responses(
        (status = 101, description = "A WebSocket; each text frame is an Event"),
        (status = 400, body = Problem, content_type = "application/problem+json", description = "invalid-parameter, or not a WebSocket handshake"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "cursor-ahead"),
        (status = 503, body = Problem, content_type = "application/problem+json", description = "5,000 streams are open, or as many as the process may open files for"),
    )
)]
pub async fn get(
    permit: Permit<StreamRead>,
    request: HttpRequest,
    payload: Payload,
    app: Data<App>,
) -> Result<HttpResponse, Problem> {
    let tail = Tail::open(permit.claims, &request, &app, Way::WebSocket)?;
    let (response, session, messages) = actix_ws::handle(&request, payload).map_err(|error| {
        let detail = format!("{error}; a WebSocket client is expected here, /v1/stream serves others");
        Problem::new(400, "not-a-websocket", "Not a WebSocket", detail)
    })?;
    let messages = messages.max_frame_size(FRAME_BYTES_MAX);
    let socket = Socket { tail, session, messages, heard: Instant::now() };
    actix_web::rt::spawn(socket.run());
    Ok(response)
}

struct Socket {
    tail: Tail,
    session: Session,
    messages: MessageStream,
    /// When the client last gave a sign of life.
    heard: Instant,
}

/// How a socket ends.
enum Ending {
    Tail(tail::End),
    /// The client closed it, for a reason of its own.
    Closed(Option<CloseReason>),
    Malformed,
    Unexpected,
    TooLarge,
    Silent,
    /// The connection is not there any more.
    Gone,
}

impl Socket {
    async fn run(mut self) {
        let ending = self.follow().await;
        if let Ending::Tail(tail::End::Trouble(why)) = &ending {
            tracing::error!(%why, "a WebSocket ended");
        }
        let reason = match ending {
            Ending::Gone => return,
            Ending::Closed(reason) => reason.map(|reason| reason.code.into()),
            other => other.reason(),
        };
        // Where no frame has room any more, the connection just ends.
        drop(timeout(CLOSE_MAX, self.session.close(reason)).await);
    }

    async fn follow(&mut self) -> Ending {
        loop {
            let silent_at = self.heard + SILENCE_MAX;
            let done = tokio::select! {
                biased;
                message = self.messages.recv() => self.hear(message).await,
                step = self.tail.step() => self.tell(step).await,
                () = sleep_until(silent_at) => Err(Ending::Silent),
            };
            if let Err(ending) = done {
                return ending;
            }
        }
    }

    async fn hear(&mut self, message: Option<Result<Message, ProtocolError>>) -> Result<(), Ending> {
        match message.ok_or(Ending::Gone)?.map_err(broken)? {
            Message::Ping(bytes) => {
                self.heard = Instant::now();
                self.send(Message::Pong(bytes)).await
            }
            Message::Pong(_) | Message::Nop => {
                self.heard = Instant::now();
                Ok(())
            }
            Message::Close(reason) => Err(Ending::Closed(reason)),
            Message::Text(_) | Message::Binary(_) | Message::Continuation(_) => Err(Ending::Unexpected),
        }
    }

    async fn tell(&mut self, step: Step) -> Result<(), Ending> {
        match step {
            Step::Events(picked) => self.send_events(&picked).await,
            Step::Alive(head) => self.send(Message::Ping(format!("seq={head}").into())).await,
            Step::End(end) => Err(Ending::Tail(end)),
        }
    }

    async fn send_events(&mut self, picked: &Picked) -> Result<(), Ending> {
        for json in picked.texts() {
            self.send(text(json)?).await?;
        }
        Ok(())
    }

    /// Hands a message to the connection. One that had to wait shows that the client takes what is sent, however slowly.
    async fn send(&mut self, message: Message) -> Result<(), Ending> {
        let mut sending = std::pin::pin!(self.session.send(message));
        tokio::select! {
            biased;
            sent = &mut sending => return sent.map_err(|_| Ending::Gone),
            () = std::future::ready(()) => {}
        }
        match timeout(SILENCE_MAX, sending).await {
            Ok(sent) => sent.map_err(|_| Ending::Gone)?,
            Err(_) => return Err(Ending::Silent),
        }
        self.heard = Instant::now();
        Ok(())
    }
}

impl Ending {
    /// What the last frame says.
    fn reason(&self) -> Option<CloseReason> {
        let (code, description) = match self {
            Ending::Tail(tail::End::Expired) => (CloseCode::Other(TOKEN_EXPIRED), "token expired"),
            Ending::Tail(tail::End::Draining) => (CloseCode::Away, "the daemon stops; come back"),
            Ending::Tail(tail::End::Trouble(_)) => (CloseCode::Error, "the ledger could not be read"),
            Ending::Malformed => (CloseCode::Protocol, "a frame breaks the protocol"),
            Ending::Unexpected => (CloseCode::Unsupported, "no messages are taken here; use the query"),
            Ending::TooLarge => (CloseCode::Size, "a frame is larger than 4096 bytes"),
            Ending::Silent => (CloseCode::Other(SILENT), "nothing was heard for 45 s"),
            Ending::Closed(_) | Ending::Gone => return None,
        };
        Some(CloseReason { code, description: Some(description.to_owned()) })
    }
}

/// Events are UTF-8 by their making.
fn text(json: Bytes) -> Result<Message, Ending> {
    let trouble = |_| Ending::Tail(tail::End::Trouble("an event is not UTF-8".into()));
    json.try_into().map(Message::Text).map_err(trouble)
}

fn broken(error: ProtocolError) -> Ending {
    match error {
        ProtocolError::Overflow => Ending::TooLarge,
        ProtocolError::Io(error) if error.kind() == ErrorKind::InvalidData => Ending::Malformed,
        ProtocolError::Io(_) => Ending::Gone,
        ProtocolError::UnmaskedFrame
        | ProtocolError::MaskedFrame
        | ProtocolError::InvalidOpcode(_)
        | ProtocolError::InvalidLength(_)
        | ProtocolError::BadOpCode
        | ProtocolError::ContinuationNotStarted
        | ProtocolError::ContinuationStarted
        | ProtocolError::ContinuationFragment(_) => Ending::Malformed,
    }
}
