//! The admin's socket, `control.sock` in the data directory: what commands ask of a running daemon. No token: who may open
//! the directory is the admin.
//!
//! A connection is one request, a line of JSON. Lines of JSON answer it, the last of them telling its end; a backup is
//! answered with what [`crate::backup::feed::send`] writes. Everything here blocks, so each connection has a thread: what
//! is asked for is long, and seldom.

use super::batch;
use crate::backup::feed::{Live, Since, send};
use crate::domain::ids::AccountId;
use crate::export::asked::Asked;
use crate::export::{Custom, Export};
use crate::ingest::accounts::Accounts;
use crate::ledger::command::{Command, RegistrationNews, Reply, SubmitError};
use crate::ledger::reader::Reader;
use crate::ledger::seal::Kept;
use crate::ledger::verify::{Difference, Verified, verify_with};
use crate::ledger::writer::Handle;
use crate::store::seals;
use crate::views::seal::SealView;
use crate::wire::json::Json;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::watch;

const SOCKET: &str = "control.sock";
/// Names the socket where its path would be too long to bind.
const ELSEWHERE: &str = "control.path";
/// The system's own limit is a little higher, and differs.
const PATH_BYTES_MAX: usize = 100;
const CONNECTIONS_MAX: usize = 16;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a connection that waits for its next line looks whether the daemon stops.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A peer that takes nothing for so long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(300);
/// Where a chunk's length would stand.
pub const BROKEN_OFF: u32 = u32::MAX;
const LINE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// So many registrations wait for the ledger at the same time.
const AT_ONCE: usize = 64;

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Request {
    /// With the seals that somebody kept, as they stand in their files.
    Verify {
        seals: Vec<KeptSeal>,
    },
    Export(Asked),
    /// Whoever asks says what its backup holds already.
    Backup {
        since: Option<Since>,
        follow: bool,
    },
    /// Lines with registrations follow, each answered with what became of them.
    Import,
}

/// A line of an answer.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    Progress {
        done: u64,
        all: u64,
    },
    Verified {
        entries: u64,
        orders: u64,
        receipts: u64,
        periods: u64,
        head: String,
        /// The public keys that the ledger signed with.
        known: Vec<[u8; 32]>,
    },
    Difference(String),
    Registered(Vec<Said>),
    /// The bytes of a backup follow, or the chunks of an export.
    Feed,
    Failed(String),
}

/// What became of a line that was to be registered.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    New,
    Known,
    Refused(String),
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct KeptSeal {
    name: String,
    seal: SealView,
}

/// What requests reach.
pub struct Office {
    pub reader: Reader,
    pub accounts: Accounts,
    pub custom: Custom,
    /// Turns true when the daemon drains; connections end then.
    pub draining: watch::Receiver<bool>,
    /// The ledger's writer ends once nobody holds this, so it is let go of before.
    pub handle: Mutex<Option<Handle>>,
}

/// The socket, open.
pub struct Control {
    socket: PathBuf,
    elsewhere: Option<PathBuf>,
    office: Arc<Office>,
    accepting: JoinHandle<()>,
}

/// Opens the socket of a data directory whose lock is held.
pub fn open(dir: &Path, office: Office) -> io::Result<Control> {
    let (socket, elsewhere) = place(dir)?;
    remove(&socket)?;
    let listener = UnixListener::bind(&socket)?;
    fs::set_permissions(&socket, Permissions::from_mode(0o600))?;
    if let Some(note) = &elsewhere {
        fs::write(note, socket.as_os_str().as_bytes())?;
    } else {
        remove(&dir.join(ELSEWHERE))?;
    }
    let office = Arc::new(office);
    let accepting = {
        let office = Arc::clone(&office);
        std::thread::Builder::new().name("control".to_owned()).spawn(move || accept(&listener, &office))?
    };
    Ok(Control { socket, elsewhere, office, accepting })
}

/// A connection to the daemon that has the data directory; none: nobody listens there.
pub fn connect(dir: &Path) -> Option<UnixStream> {
    let elsewhere = fs::read(dir.join(ELSEWHERE)).ok().map(|path| PathBuf::from(OsStr::from_bytes(&path)));
    let own = dir.join(SOCKET);
    let known = elsewhere.into_iter().chain([own]);
    known.filter(|path| path.as_os_str().len() <= PATH_BYTES_MAX).find_map(|it| UnixStream::connect(it).ok())
}

impl Control {
    /// Ends it; the drain must have begun.
    pub fn close(self) {
        drop(self.office.handle.lock().unwrap_or_else(PoisonError::into_inner).take());
        // One more connection wakes the thread, which then sees that the daemon drains.
        drop(UnixStream::connect(&self.socket));
        drop(self.accepting.join());
        drop(fs::remove_file(&self.socket));
        if let Some(note) = self.elsewhere {
            drop(fs::remove_file(note));
            drop(self.socket.parent().map(fs::remove_dir));
        }
    }
}

/// Where the socket is, and the file that says so where that is not the data directory.
fn place(dir: &Path) -> io::Result<(PathBuf, Option<PathBuf>)> {
    let own = dir.join(SOCKET);
    if own.as_os_str().len() <= PATH_BYTES_MAX {
        return Ok((own, None));
    }
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_dir());
    let real = fs::canonicalize(dir)?;
    let name = blake3::hash(real.as_os_str().as_bytes()).to_hex();
    let name = name.get(..16).unwrap_or_default();
    let private = runtime.unwrap_or_else(std::env::temp_dir).join(format!("razao-{name}"));
    match DirBuilder::new().mode(0o700).create(&private) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    // Where others may write it could be somebody else's, who could put another socket into it.
    let found = fs::symlink_metadata(&private)?;
    if !found.is_dir() || found.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other(format!("{} belongs to somebody else", private.display())));
    }
    fs::set_permissions(&private, Permissions::from_mode(0o700))?;
    Ok((private.join(SOCKET), Some(dir.join(ELSEWHERE))))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn accept(listener: &UnixListener, office: &Arc<Office>) {
    let open = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        if office.is_closing() {
            return;
        }
        let (Ok(stream), office, open) = (stream, Arc::clone(office), Arc::clone(&open)) else { continue };
        let serve = move || {
            let others = open.fetch_add(1, Ordering::SeqCst);
            if let Err(error) = office.serve(stream, others) {
                tracing::debug!(%error, "a control connection ended");
            }
            open.fetch_sub(1, Ordering::SeqCst);
        };
        if let Err(error) = std::thread::Builder::new().name("control-one".to_owned()).spawn(serve) {
            tracing::warn!(%error, "a control connection was not served");
        }
    }
}

impl Office {
    fn is_closing(&self) -> bool {
        *self.draining.borrow()
    }

    fn serve(&self, stream: UnixStream, others: usize) -> io::Result<()> {
        stream.set_read_timeout(Some(REQUEST_TIMEOUT))?;
        stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
        let mut lines = BufReader::new(stream.try_clone()?);
        let mut out = BufWriter::new(stream);
        let mut text = Vec::new();
        lines.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut text)?;
        if others >= CONNECTIONS_MAX {
            return say(&mut out, &Line::Failed("the daemon serves too many commands; try again".to_owned()));
        }
        match serde_json::from_slice(&text) {
            Ok(Request::Verify { seals }) => self.verify(seals, &mut out),
            Ok(Request::Export(asked)) => self.export(&asked, &mut out),
            Ok(Request::Backup { since, follow }) => self.backup(since.as_ref(), follow, &mut out),
            Ok(Request::Import) => self.import(&mut lines, &mut out),
            Err(_) => say(&mut out, &Line::Failed("the daemon is of another version; restart it".to_owned())),
        }
    }

    fn verify(&self, seals: Vec<KeptSeal>, out: &mut impl Write) -> io::Result<()> {
        let frozen = self.reader.frozen();
        let mut gone = Ok(());
        let kept: Vec<_> = seals.into_iter().map(|KeptSeal { name, seal }| Kept { name, seal }).collect();
        let verified = verify_with(&*frozen, &kept, &mut |done, all| {
            gone = say(out, &Line::Progress { done, all });
        });
        gone?;
        if let (Err(_), Some(why)) = (&verified, frozen.given_up()) {
            return say(out, &Line::Failed(format!("the ledger could not be verified: {why}")));
        }
        let known = seals::known(&*frozen);
        say(
            out,
            &match verified {
                Ok(Verified { entries, orders, receipts, periods, head }) => Line::Verified {
                    entries,
                    orders,
                    receipts,
                    periods,
                    head: head.to_hex(),
                    known: known.unwrap_or_default().into_iter().map(|key| key.0).collect(),
                },
                Err(difference @ (Difference::Found(_) | Difference::Store(_))) => {
                    Line::Difference(difference.to_string())
                }
            },
        )
    }

    fn export(&self, asked: &Asked, out: &mut impl Write) -> io::Result<()> {
        let is_configured = |account: &AccountId| self.accounts.get(account).is_some();
        match asked.begin(self.reader.clone(), self.custom.clone(), is_configured) {
            Ok(export) => {
                say(out, &Line::Feed)?;
                send_chunks(export, out)
            }
            Err(error) => say(out, &Line::Failed(error.to_string())),
        }
    }

    fn backup(&self, since: Option<&Since>, follow: bool, out: &mut impl Write) -> io::Result<()> {
        let draining = self.draining.clone();
        match Live::new(&self.reader, since, follow, move || *draining.borrow()) {
            Ok(mut live) => {
                say(out, &Line::Feed)?;
                send(&mut live, out)
            }
            Err(error) => say(out, &Line::Failed(error.to_string())),
        }
    }

    fn import(&self, lines: &mut BufReader<UnixStream>, out: &mut impl Write) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        lines.get_ref().set_read_timeout(Some(LOOK_EVERY))?;
        let mut text = Vec::new();
        loop {
            match lines.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut text) {
                Ok(_) if !text.ends_with(b"\n") => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && !self.is_closing() => continue,
                Err(error) => return Err(error),
            }
            let orders: Vec<String> = serde_json::from_slice(&text).map_err(io::Error::other)?;
            text.clear();
            let handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let Some(handle) = handle else {
                return say(out, &Line::Failed("the daemon is stopping".to_owned()));
            };
            let said = runtime.block_on(register(&handle, &self.accounts, orders));
            say(
                out,
                &match said {
                    Ok(said) => Line::Registered(said),
                    Err(error) => Line::Failed(error.to_string()),
                },
            )?;
        }
    }
}

impl KeptSeal {
    pub fn of(kept: &Kept) -> KeptSeal {
        KeptSeal { name: kept.name.clone(), seal: kept.seal.clone() }
    }
}

/// Each chunk behind its length. A length of 0 is the end; [`BROKEN_OFF`] is followed by a line that says why.
fn send_chunks(export: Export, out: &mut impl Write) -> io::Result<()> {
    for chunk in export {
        match chunk {
            Ok(chunk) if chunk.is_empty() => {}
            Ok(chunk) => {
                let length = u32::try_from(chunk.len()).map_err(io::Error::other)?;
                out.write_all(&length.to_be_bytes())?;
                out.write_all(&chunk)?;
            }
            Err(error) => {
                out.write_all(&BROKEN_OFF.to_be_bytes())?;
                return say(out, &Line::Failed(error.to_string()));
            }
        }
    }
    out.write_all(&0_u32.to_be_bytes())?;
    out.flush()
}

/// Registers lines, and answers each, in their order.
pub async fn register(
    handle: &Handle,
    accounts: &Accounts,
    lines: Vec<String>,
) -> Result<Vec<Said>, SubmitError> {
    let said = stream::iter(lines).map(|line| async move { register_one(handle, accounts, &line).await });
    said.buffered(AT_ONCE).try_collect().await
}

async fn register_one(handle: &Handle, accounts: &Accounts, line: &str) -> Result<Said, SubmitError> {
    let json = match Json::parse(line.as_bytes()) {
        Ok(json) => json,
        Err(error) => return Ok(Said::Refused(error.to_string())),
    };
    let registration = match batch::registration(&json, accounts, |_| true) {
        Ok(registration) => registration,
        Err(problem) => return Ok(Said::Refused(problem.detail)),
    };
    match handle.submit_patiently(Command::Register(registration)).await {
        Ok(Reply::Registered { news: RegistrationNews::First, .. }) => Ok(Said::New),
        Ok(Reply::Registered { news: RegistrationNews::Again, .. }) => Ok(Said::Known),
        Ok(_) => Err(SubmitError::Stopped("it answered something else".to_owned())),
        Err(SubmitError::Refused(refusal)) => Ok(Said::Refused(refusal.to_string())),
        Err(error @ (SubmitError::Busy | SubmitError::Stopped(_))) => Err(error),
    }
}

fn say(out: &mut impl Write, line: &Line) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")?;
    out.flush()
}
