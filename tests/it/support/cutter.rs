//! A way to the daemon that breaks: every connection is cut off after so many bytes of the answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub struct Cutter {
    address: SocketAddr,
    cuts: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Cutter {
    /// Between clients and whoever listens at `base`.
    pub async fn before(base: &str, bytes: usize) -> Cutter {
        let target = base.strip_prefix("http://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let cuts = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&cuts);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (target, cuts) = (target.clone(), Arc::clone(&counted));
                tokio::spawn(async move { carry(client, &target, bytes, &cuts).await });
            }
        });
        Cutter { address, cuts, accepting }
    }

    pub fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn cuts(&self) -> usize {
        self.cuts.load(Ordering::SeqCst)
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(client: TcpStream, target: &str, mut left: usize, cuts: &AtomicUsize) {
    let Ok(daemon) = TcpStream::connect(target).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_daemon, mut to_daemon) = daemon.into_split();
    let up = tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_daemon).await });
    let mut buffer = [0; 1024];
    while left > 0 {
        let most = left.min(buffer.len());
        let Ok(read @ 1..) = from_daemon.read(&mut buffer[..most]).await else { break };
        if to_client.write_all(&buffer[..read]).await.is_err() {
            break;
        }
        left -= read;
    }
    if left == 0 {
        cuts.fetch_add(1, Ordering::SeqCst);
    }
    up.abort();
}
