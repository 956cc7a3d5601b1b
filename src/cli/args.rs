//! What may be typed.

use crate::export::{Ends, Format};
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// A payments ledger beside the shop: every provider callback becomes one canonical story per order.
#[derive(Parser)]
#[command(name = "razao", version)]
pub struct Arguments {
    /// The configuration; RAZAO__SECTION__KEY overlays it.
    #[arg(long, global = true, default_value = "config.toml", value_name = "FILE")]
    pub config: PathBuf,
    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Subcommand)]
pub enum Command {
    /// Run the daemon (also without a command).
    Serve,
    /// Run the daemon beside the simulated providers, on a fresh data directory and free ports.
    Demo(DemoOptions),
    /// Run the simulated providers alone.
    Sandbox(SandboxOptions),
    /// Print a signed token for the API.
    Token(TokenOptions),
    /// Replay the whole ledger, and name the first difference if anything is off.
    Verify(VerifyOptions),
    /// Copy the ledger to another directory, consistent at one commit; also while the daemon runs. Again into the same
    /// directory, only what is new is written.
    Backup(BackupOptions),
    /// Make a data directory of a backup, which is checked whole before anything is moved into place.
    Restore(RestoreOptions),
    /// Register existing orders in bulk from a CSV file; also while the daemon runs, and as often as wanted.
    Import(ImportOptions),
    /// Say which callback URL to enter where at an account's provider, or register it there where the provider has an
    /// API for it, and compare what it delivered. The URL holds the account's callback key.
    Connect(ConnectOptions),
    /// Follow a running daemon's events, one per line, and resume after any cut; forward them, signed, if wanted.
    Listen(ListenOptions),
    /// Print a range of the ledger for other programs, as GET /v1/export does.
    Export(ExportOptions),
    /// Name every problem of the configuration with its key; start nothing.
    CheckConfig,
}

#[derive(Args)]
pub struct TokenOptions {
    /// What it may do, with spaces between: "orders:read balances:read".
    #[arg(long)]
    pub scope: String,
    /// The accounts it sees, with commas between; without it all.
    #[arg(long, value_delimiter = ',')]
    pub accounts: Vec<String>,
    /// How long it lives: 30s, 15m, 1h, 7d.
    #[arg(long, default_value = "1h")]
    pub ttl: String,
    /// Whom it is for; an operator's decisions carry it.
    #[arg(long, default_value = "razao-cli")]
    pub subject: String,
}

#[derive(Args)]
pub struct DemoOptions {
    /// Play every life once, compare the ledger with what the providers know, and end: 0 if they agree, 1 if not.
    #[arg(long)]
    pub once: bool,
}

#[derive(Args)]
pub struct SandboxOptions {
    /// Where the providers' APIs are served.
    #[arg(long, default_value = "127.0.0.1:9901", value_name = "ADDRESS")]
    pub listen: String,
    /// The daemon that gets their callbacks.
    #[arg(long, default_value = "http://127.0.0.1:8080", value_name = "URL")]
    pub daemon: String,
    /// Pause between two things that happen to a payment; what providers do in hours.
    #[arg(long, default_value = "2s", value_name = "DURATION")]
    pub beat: String,
}

#[derive(Args)]
pub struct ImportOptions {
    /// Columns account, reference, amount, currency; optionally expires_at, provider_ref and metadata.NAME. In any
    /// order, with a header, commas or semicolons between.
    #[arg(value_name = "FILE.csv")]
    pub file: PathBuf,
}

#[derive(Args)]
pub struct ConnectOptions {
    /// The account, as [[accounts]] calls it.
    #[arg(long, value_name = "ID")]
    pub account: String,
    /// Where the provider reaches this daemon.
    #[arg(long, value_name = "URL")]
    pub public_url: String,
}

#[derive(Args)]
pub struct ListenOptions {
    /// Starts at this seq; without it with what comes from now on.
    #[arg(long, value_name = "SEQ")]
    pub from: Option<u64>,
    /// Types or patterns, with commas between: order.paid,order.refunded or order.*.
    #[arg(long, value_name = "TYPES")]
    pub types: Option<String>,
    /// Posts each event to this address, signed as webhooks are.
    #[arg(long, value_name = "URL")]
    pub forward_to: Option<String>,
    /// What forwarded events are signed with; without it a new one, which is printed.
    #[arg(long, value_name = "WHSEC", requires = "forward_to")]
    pub secret: Option<String>,
    /// The daemon; by default where the configuration has it listen.
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// A token with events:read; by default short-lived ones by the configuration's key.
    #[arg(long)]
    pub token: Option<String>,
    /// Prints each event's body as it came.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct ExportOptions {
    /// csv, csv-br (semicolons and decimal commas), ndjson, hledger or beancount.
    #[arg(long)]
    pub format: Format,
    /// A day (its start in reports.timezone), a time of recording or a seq, inclusive; without it the beginning.
    #[arg(long, value_name = "FROM")]
    pub from: Option<String>,
    /// A day's start or a time, exclusive, or a seq, inclusive; without it the end.
    #[arg(long, value_name = "TO")]
    pub to: Option<String>,
    /// Entries of this account alone.
    #[arg(long, value_name = "ID")]
    pub account: Option<String>,
    /// Balances at both ends of a journal: comment, assert, or open (posted from equity, then asserted). Without it assert
    /// where nothing was held before the range, else comment.
    #[arg(long, value_name = "HOW")]
    pub balances: Option<Ends>,
}

#[derive(Args)]
pub struct VerifyOptions {
    /// The data directory; by default the configured one.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// A seal that was kept, to compare with the ledger; as often as wanted.
    #[arg(long, value_name = "FILE")]
    pub seal: Vec<PathBuf>,
    /// A backup instead: checked and replayed as a restore would, in the temporary directory.
    #[arg(long, value_name = "DIR", conflicts_with = "data")]
    pub backup: Option<PathBuf>,
}

#[derive(Args)]
pub struct BackupOptions {
    /// Where it is written: a new directory, or one with an earlier backup of the same ledger.
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
    /// Goes on, at most a second behind the running daemon, until it is ended.
    #[arg(long, conflicts_with = "verify")]
    pub follow: bool,
    /// Replays the backup afterwards, as `razao verify --backup` does.
    #[arg(long)]
    pub verify: bool,
}

#[derive(Args)]
pub struct RestoreOptions {
    /// The backup.
    #[arg(long, value_name = "DIR")]
    pub from: PathBuf,
    /// The data directory to make; it must not exist, or be empty.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
}
