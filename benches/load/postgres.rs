//! The same events with PostgreSQL under an actix server: each in one transaction, durable as PostgreSQL is by default.
//!
//! It is made easy for PostgreSQL where that is honest: prepared statements, two round trips a transaction (what is
//! known; what follows from it), the hot rows last, and no hash chain, no set of evidence, no key but the primary ones
//! and the provider's reference. What it must have is what the ledger has: a receipt, an order that is locked while it
//! is decided on, entries in a sequence, and balances that are right at every commit.

use actix_web::web::{self, Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use futures_util::future::{try_join, try_join4};
use serde::Deserialize;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Config, NoTls};

use super::servers::serve;

/// Where Debian puts it; else it is looked for on the PATH.
const DIRECTORY: &str = "/usr/lib/postgresql/15/bin";
const READY_WITHIN: Duration = Duration::from_secs(60);

/// Balance rows are changed by every event: room on their page spares the index each time.
const SCHEMA: &str = "
    CREATE TABLE receipts (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        account text NOT NULL,
        received_at timestamptz NOT NULL DEFAULT now(),
        content_type text,
        body bytea NOT NULL
    );
    CREATE TABLE orders (
        account text NOT NULL,
        reference text NOT NULL,
        provider_ref text NOT NULL,
        state text,
        gross bigint NOT NULL DEFAULT 0,
        seq bigint,
        updated_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (account, reference),
        UNIQUE (account, provider_ref)
    );
    CREATE TABLE entries (
        seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        recorded_at timestamptz NOT NULL DEFAULT now(),
        account text NOT NULL,
        reference text NOT NULL,
        kind text NOT NULL,
        amount bigint NOT NULL,
        debit text,
        credit text,
        receipt bigint NOT NULL,
        previous bigint
    );
    CREATE TABLE balances (
        ledger_account text PRIMARY KEY,
        debits bigint NOT NULL DEFAULT 0,
        credits bigint NOT NULL DEFAULT 0
    ) WITH (fillfactor = 10);
    INSERT INTO balances (ledger_account) VALUES ('receivable:events'), ('sales:events');";

const RECEIPT: &str =
    "INSERT INTO receipts (account, content_type, body) VALUES ('events', $1, $2) RETURNING id";
const ORDER: &str = "INSERT INTO orders (account, reference, provider_ref) VALUES ('events', $1, $2) \
                     ON CONFLICT (account, reference) DO NOTHING";
const LOCKED: &str =
    "SELECT state, gross, seq FROM orders WHERE account = 'events' AND reference = $1 FOR UPDATE";
const ENTRIES: &str = "WITH created AS (
        INSERT INTO entries (account, reference, kind, amount, receipt, previous)
        VALUES ('events', $1, 'order.created', 0, $2, NULL) RETURNING seq
    ), paid AS (
        INSERT INTO entries (account, reference, kind, amount, debit, credit, receipt, previous)
        SELECT 'events', $1, 'order.paid', $3, 'receivable:events', 'sales:events', $2, seq FROM created RETURNING seq
    )
    UPDATE orders SET state = 'paid', gross = $3, seq = paid.seq, updated_at = now()
    FROM paid WHERE account = 'events' AND reference = $1";
const DEBIT: &str = "UPDATE balances SET debits = debits + $1 WHERE ledger_account = 'receivable:events'";
const CREDIT: &str = "UPDATE balances SET credits = credits + $1 WHERE ledger_account = 'sales:events'";

/// Whether the balances are kept, or left to whoever asks and sums the entries up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Balances {
    Kept,
    LeftOut,
}

/// A PostgreSQL of our own: default settings, a directory and a socket that nobody else has. It ends with this value.
pub struct Cluster {
    server: Child,
    dir: TempDir,
}

/// An actix server over a cluster. Its connections end with this value.
pub struct Served {
    pub port: u16,
    pool: Pool,
}

impl Cluster {
    pub fn start() -> Result<Cluster, String> {
        let binaries = binaries().ok_or("it is not installed")?;
        let dir = tempfile::Builder::new().prefix("pg").tempdir().map_err(|error| error.to_string())?;
        let owner = owner(dir.path())?;
        let data = dir.path().join("data");
        let as_owner = |program: &str| {
            let mut command = Command::new(binaries.join(program));
            command.current_dir(dir.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            if let Some((user, group)) = owner {
                command.uid(user).gid(group);
            }
            command
        };
        let mut initdb = as_owner("initdb");
        initdb.arg("-D").arg(&data).args(["-U", "bench", "--auth=trust", "--no-locale", "-E", "UTF8"]);
        let made = initdb.status().map_err(|error| error.to_string())?;
        if !made.success() {
            return Err(format!("initdb ended with {made}"));
        }
        let mut postgres = as_owner("postgres");
        postgres.arg("-D").arg(&data).arg("-k").arg(dir.path()).args(["-c", "listen_addresses="]);
        let server = postgres.spawn().map_err(|error| error.to_string())?;
        let mut cluster = Cluster { server, dir };
        cluster.until_ready()?;
        Ok(cluster)
    }

    fn until_ready(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            let ready = self.execute("SELECT 1");
            if ready.is_ok() {
                return Ok(());
            }
            if let Ok(Some(status)) = self.server.try_wait() {
                return Err(format!("it ended with {status}"));
            }
            if Instant::now() > deadline {
                return Err("it did not become ready".to_owned());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn config(&self) -> Config {
        let mut config = Config::new();
        config.host_path(self.dir.path()).user("bench").dbname("postgres");
        config
    }

    /// Makes the tables anew and serves callbacks, over so many connections.
    pub fn serve(&self, connections: usize, balances: Balances) -> Served {
        self.execute("DROP TABLE IF EXISTS receipts, orders, entries, balances").unwrap();
        self.execute(SCHEMA).unwrap();
        // Later tables must not pay for writing out what earlier ones left behind.
        self.execute("CHECKPOINT").unwrap();
        let recycling_method = RecyclingMethod::Fast;
        let manager = Manager::from_config(self.config(), NoTls, ManagerConfig { recycling_method });
        let pool = Pool::builder(manager).max_size(connections).runtime(Runtime::Tokio1).build().unwrap();
        let state = Data::new((pool.clone(), balances));
        let port = serve(move |config| {
            config.app_data(state.clone()).default_service(web::to(take));
        });
        Served { port, pool }
    }

    /// What PostgreSQL says its settings are.
    pub fn settings(&self) -> String {
        let query = "SELECT string_agg(name || '=' || setting, ', ' ORDER BY name) FROM pg_settings \
                     WHERE name IN ('fsync', 'synchronous_commit', 'full_page_writes', 'server_version')";
        let row = alone(async {
            let (client, connection) =
                self.config().connect(NoTls).await.map_err(|error| error.to_string())?;
            let connection = tokio::spawn(connection);
            let row = client.query_one(query, &[]).await.map_err(|error| error.to_string())?;
            connection.abort();
            Ok(row)
        });
        row.unwrap().get(0)
    }

    fn execute(&self, statements: &str) -> Result<(), String> {
        alone(async {
            let (client, connection) =
                self.config().connect(NoTls).await.map_err(|error| error.to_string())?;
            let connection = tokio::spawn(connection);
            client.batch_execute(statements).await.map_err(|error| error.to_string())?;
            connection.abort();
            Ok(())
        })
    }
}

impl Drop for Cluster {
    /// SIGINT is PostgreSQL's fast shutdown.
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-INT", &self.server.id().to_string()]).status();
        let deadline = Instant::now() + READY_WITHIN;
        while matches!(self.server.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl Drop for Served {
    /// The next server must find room among PostgreSQL's connections.
    fn drop(&mut self) {
        self.pool.close();
    }
}

fn binaries() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::iter::once(PathBuf::from(DIRECTORY)).chain(std::env::split_paths(&path));
    // A link on the PATH leads to where initdb and the libraries are.
    let found = places.filter_map(|place| std::fs::canonicalize(place.join("postgres")).ok());
    found.filter_map(|binary| binary.parent().map(Path::to_owned)).find(|place| place.join("initdb").exists())
}

/// PostgreSQL refuses to run as root: then it runs as its own user, who gets the directory.
fn owner(dir: &Path) -> Result<Option<(u32, u32)>, String> {
    let mine = std::fs::metadata(dir).map_err(|error| error.to_string())?.uid();
    if mine != 0 {
        return Ok(None);
    }
    let users = std::fs::read_to_string("/etc/passwd").map_err(|error| error.to_string())?;
    let fields = users.lines().find_map(|line| line.strip_prefix("postgres:")).map(|line| line.split(':'));
    let mut ids = fields.into_iter().flatten().skip(1).filter_map(|field| field.parse::<u32>().ok());
    let (Some(user), Some(group)) = (ids.next(), ids.next()) else {
        return Err("root may not run it, and there is no user `postgres`".to_owned());
    };
    chown(dir, Some(user), Some(group)).map_err(|error| error.to_string())?;
    Ok(Some((user, group)))
}

fn alone<T>(work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

#[derive(Deserialize)]
struct Event {
    data: Payment,
}

#[derive(Deserialize)]
struct Payment {
    id: String,
    external_id: String,
    status: String,
    total_cents: i64,
}

async fn take(request: HttpRequest, body: Bytes, state: Data<(Pool, Balances)>) -> HttpResponse {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    if header("authorization") != Some("webhook") {
        return HttpResponse::Unauthorized().finish();
    }
    let Ok(Event { data: payment }) = serde_json::from_slice::<Event>(&body) else {
        return HttpResponse::BadRequest().finish();
    };
    match keep(&state.0, state.1, header("content-type"), &body, &payment).await {
        Ok(receipt) => {
            HttpResponse::Ok().content_type("application/json").body(format!("{{\"receipt\":\"{receipt}\"}}"))
        }
        Err(error) => HttpResponse::InternalServerError().body(format!("{error:?}")),
    }
}

/// One transaction. Statements that wait for nothing are sent together.
async fn keep(
    pool: &Pool,
    balances: Balances,
    content_type: Option<&str>,
    body: &[u8],
    payment: &Payment,
) -> Result<i64, Box<dyn std::error::Error>> {
    let client = pool.get().await?;
    let (receipt, order) = (client.prepare_cached(RECEIPT).await?, client.prepare_cached(ORDER).await?);
    let (locked, entries) = (client.prepare_cached(LOCKED).await?, client.prepare_cached(ENTRIES).await?);
    let (debit, credit) = (client.prepare_cached(DEBIT).await?, client.prepare_cached(CREDIT).await?);
    let reference = &payment.external_id;
    let (_, receipt, _, locked) = try_join4(
        client.batch_execute("BEGIN"),
        client.query_one(&receipt, &[&content_type, &body]),
        client.execute(&order, &[reference, &payment.id]),
        client.query_one(&locked, &[reference]),
    )
    .await?;
    let id: i64 = receipt.get(0);
    let state: Option<String> = locked.get(0);
    if state.is_some() || payment.status != "PAID" {
        client.batch_execute("COMMIT").await?;
        return Ok(id);
    }
    let amount = &payment.total_cents;
    let told: [&(dyn ToSql + Sync); 3] = [reference, &id, amount];
    let entered = client.execute(&entries, &told);
    let amount: &[&(dyn ToSql + Sync)] = &[amount];
    match balances {
        Balances::Kept => {
            let posted = (client.execute(&debit, amount), client.execute(&credit, amount));
            try_join4(entered, posted.0, posted.1, client.batch_execute("COMMIT")).await?;
        }
        Balances::LeftOut => {
            try_join(entered, client.batch_execute("COMMIT")).await?;
        }
    }
    Ok(id)
}
