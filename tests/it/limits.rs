//! Bounds that keep a stranger from filling memory, disk or time.

use crate::support::client::order_path;
use crate::support::{ANY, Bank, Client, Daemon, SELLER_TOKEN, Setup};
use futures_util::future::join_all;
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Too large a body is 413, or the connection ends while it is still being sent.
async fn too_large(client: &Client, request: reqwest::RequestBuilder) {
    match client.attempt(request).await {
        Ok(reply) => {
            reply.problem(413, ANY);
        }
        Err(error) => assert!(!error.is_timeout(), "{error:?}"),
    }
}

#[tokio::test]
async fn bodies_that_are_too_large_are_refused() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let filler = "x".repeat(10_000_000);
    let callback = json!({"referenceId": "PED-1", "x": filler}).to_string().into_bytes();
    too_large(&client, client.callback_raw("/callbacks/loja-picpay", SELLER_TOKEN, callback)).await;
    let order = json!({"amount": "1.00", "currency": "BRL", "metadata": {"x": filler}}).to_string();
    too_large(&client, client.request("PUT", &order_path("PED-1")).body(order)).await;
    // The bound is 256 KiB: just below is fine, just above is not.
    let sized = |size: usize| {
        let frame = json!({"referenceId": "PED-2", "x": ""}).to_string().len();
        json!({"referenceId": "PED-2", "x": "x".repeat(size - frame)}).to_string().into_bytes()
    };
    let below = client.callback_raw("/callbacks/loja-picpay", SELLER_TOKEN, sized(256 * 1024));
    client.send(below).await.is(200);
    let above = client.callback_raw("/callbacks/loja-picpay", SELLER_TOKEN, sized(256 * 1024 + 1));
    client.send(above).await.problem(413, ANY);
    assert_eq!(client.get("/healthz").await.status, 200);
    assert_eq!(client.all("/v1/callbacks").await.len(), 1);
}

#[tokio::test]
async fn a_body_that_hides_its_length_is_bounded_too() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let chunks = (0..200).map(|_| Ok::<_, std::io::Error>("x".repeat(50_000)));
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
    let request = client.request("POST", "/callbacks/loja-picpay").header("x-seller-token", SELLER_TOKEN);
    too_large(&client, request.header("content-type", "application/json").body(body)).await;
    assert_eq!(client.all("/v1/callbacks").await.len(), 0);
}

#[tokio::test]
async fn an_account_that_is_flooded_is_slowed_and_the_others_are_not() {
    let bank = Bank::open();
    let setup = Setup::new(&bank).account("loja-b", &bank, "").limits("callbacks_per_account = \"5/s\"");
    let daemon = Daemon::with(setup);
    let client = daemon.client();
    let replies = join_all((0..60).map(|_| client.send(client.callback_request("PED-1")))).await;
    let taken = replies.iter().filter(|reply| reply.status == 200).count();
    let slowed: Vec<_> = replies.iter().filter(|reply| reply.status != 200).collect();
    assert!(taken >= 1 && !slowed.is_empty(), "{taken} of 60 were taken");
    for reply in slowed {
        assert!([429, 503].contains(&reply.status), "{} {}", reply.status, reply.text());
        assert!(reply.header("retry-after").is_some(), "it says when to come again");
    }
    let body = json!({"referenceId": "PED-1"}).to_string().into_bytes();
    client.send(client.callback_raw("/callbacks/loja-b", SELLER_TOKEN, body)).await.is(200);
}

#[tokio::test]
async fn an_address_that_fails_too_often_is_slowed() {
    let bank = Bank::open();
    let setup = Setup::new(&bank).limits("callbacks_per_address = \"5/s\"");
    let daemon = Daemon::with(setup);
    let client = daemon.client();
    let body = br#"{"referenceId":"PED-1"}"#;
    let knock = || client.send(client.callback_raw("/callbacks/loja-picpay", "wrong", body.to_vec()));
    let replies = join_all((0..60).map(|_| knock())).await;
    let refused = replies.iter().filter(|reply| reply.status == 401).count();
    let slowed = replies.iter().filter(|reply| [429, 503].contains(&reply.status)).count();
    assert_eq!(refused + slowed, 60, "{:?}", replies.iter().map(|reply| reply.status).collect::<Vec<_>>());
    assert!(slowed > 0, "all 60 were looked at");
}

#[tokio::test]
async fn an_address_that_shows_too_many_bad_tokens_is_slowed_and_a_good_one_is_not() {
    let bank = Bank::open();
    let daemon = Daemon::with(Setup::new(&bank).limits("callbacks_per_address = \"5/s\""));
    let stranger = daemon.client_by("not.a.token");
    let replies = join_all((0..60).map(|_| stranger.get("/v1/orders"))).await;
    let refused = replies.iter().filter(|reply| reply.status == 401).count();
    let slowed: Vec<_> = replies.iter().filter(|reply| reply.status == 429).collect();
    assert!(refused >= 1 && refused + slowed.len() == 60, "{refused} refused, {} slowed", slowed.len());
    assert!(!slowed.is_empty(), "all 60 were looked at");
    for reply in slowed {
        let wait: u64 = reply.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=31).contains(&wait), "{wait} s");
    }
    daemon.client().get("/v1/orders").await.ok();
    daemon.client().callback("PED-1").await;
}

/// The most memory the process ever had, in bytes.
fn memory_peak(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Large callbacks that never end, on many connections: only so many bytes of them are held, others are told to come
/// again, and with the flood gone all is as before.
#[tokio::test]
async fn a_flood_of_unfinished_callbacks_is_held_within_bounds() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    client.callback("PED-1").await;
    let before = memory_peak(daemon.pid());
    let host = daemon.base().strip_prefix("http://").unwrap().to_owned();
    let head = format!(
        "POST /callbacks/loja-picpay HTTP/1.1\r\nhost: razao.example\r\ncontent-type: application/json\r\n\
         x-seller-token: {SELLER_TOKEN}\r\ncontent-length: 262144\r\n\r\n"
    );
    let flood = tokio::task::spawn_blocking(move || {
        let part = vec![b' '; 250_000];
        let connect = |_| {
            let mut stream = TcpStream::connect(&host).unwrap();
            stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
            // Who is turned away may be cut off while still sending.
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&part));
            stream.set_nonblocking(true).unwrap();
            stream
        };
        (0..1000).map(connect).collect::<Vec<_>>()
    });
    let mut open = flood.await.unwrap();
    let mut turned_away = vec![false; open.len()];
    crate::support::until("many to be turned away", async || {
        for (stream, turned_away) in open.iter_mut().zip(&mut turned_away).filter(|(_, away)| !**away) {
            let mut answer = [0; 12];
            match stream.read(&mut answer) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Ok(length) => {
                    assert!(b"HTTP/1.1 503".starts_with(&answer[..length]), "{answer:?}");
                    *turned_away = true;
                }
                Err(_) => *turned_away = true,
            }
        }
        (turned_away.iter().filter(|away| **away).count() >= 700).then_some(())
    })
    .await;
    assert_eq!(client.get("/v1/orders").await.status, 200, "others are served");
    let grown = memory_peak(daemon.pid()) - before;
    // Of the 250 MB that were sent 32 MiB are held; the rest is what a thousand connections cost.
    assert!(grown < 288 << 20, "{} MiB more", grown >> 20);
    drop(open);
    crate::support::until("callbacks to be taken again", async || {
        (client.send(client.callback_request("PED-2")).await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn odd_headers_are_answered_or_cut_but_never_break_it() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let long = "x".repeat(200_000);
    for request in [
        client.request("GET", "/v1/orders").header("x-long", &long),
        client.request("GET", &format!("/v1/orders?reference_prefix={long}")),
        (0..500)
            .fold(client.request("GET", "/v1/orders"), |request, n| request.header(format!("x-{n}"), "y")),
    ] {
        if let Ok(reply) = client.attempt(request).await {
            assert!(reply.status >= 400 && reply.status < 500, "{}", reply.status);
        }
    }
    assert_eq!(client.get("/healthz").await.status, 200);
}

/// Sends a beginning and then a byte a second; answers how long the other side bore it.
fn drip(host: &str, beginning: &str, bytes: &str, patience: Duration) -> Duration {
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    stream.write_all(beginning.as_bytes()).unwrap();
    let started = Instant::now();
    let mut bytes = bytes.bytes().cycle();
    while started.elapsed() < patience {
        // The read is the clock: it waits a second, unless there is an answer or an end.
        match stream.read(&mut [0; 4096]) {
            Ok(_) => return started.elapsed(),
            Err(error)
                if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            Err(_) => return started.elapsed(),
        }
        if stream.write_all(&[bytes.next().unwrap()]).is_err() {
            return started.elapsed();
        }
    }
    panic!("{beginning:?} was borne for {patience:?}")
}

#[tokio::test]
async fn dripping_requests_are_cut_off() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let host = daemon.base().strip_prefix("http://").unwrap().to_owned();
    let line = "POST /callbacks/loja-picpay HTTP/1.1\r\nhost: razao.example\r\n".to_owned();
    let head = format!(
        "{line}content-type: application/json\r\nx-seller-token: {SELLER_TOKEN}\r\ncontent-length: 5000\r\n\r\n{{"
    );
    // Headers have 20 s and bodies 30; some seconds more are the machine's.
    let headers = std::thread::spawn({
        let host = host.clone();
        move || drip(&host, &line, "x-drip: y\r\n", Duration::from_secs(30))
    });
    let body = std::thread::spawn(move || drip(&host, &head, " ", Duration::from_secs(40)));
    // While they drip, others are served.
    let client = daemon.client();
    assert_eq!(client.get("/v1/orders").await.status, 200);
    let (headers, body) = (headers.join().unwrap(), body.join().unwrap());
    assert!(body > Duration::from_secs(5), "an honest slow sender has more time than {body:?}");
    assert!(headers > Duration::from_secs(2), "{headers:?}");
    assert_eq!(client.all("/v1/callbacks").await.len(), 0);
}
