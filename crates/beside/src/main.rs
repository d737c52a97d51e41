//! Messages in files, beside what people use instead: a bare file, SQLite, redb. One run, one disk, 64 bytes and 1 KiB.
//!
//! Each subject appends messages for a moment, one after the other in turn, and that several times; the table has the medians. Where nothing is brought to the disk, databases get
//! a thousand messages in each transaction, as those do who mind speed; where each message is, one. A reader of such a table keeps in mind that a database has an index, and a log has none.
//!
//! ```sh
//! cargo run --release --manifest-path crates/beside/Cargo.toml [DIRECTORY]
//! ```

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use redb::{Database, Durability, TableDefinition};
use rusqlite::Connection;
use tubepost::{Domain, Fsync, Mailbox, Sender};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const ROUNDS: usize = 9;
const ROUND: Duration = Duration::from_millis(200);
/// Messages in a transaction where nothing is brought to the disk.
const BATCH: usize = 1000;
const LENGTHS: [usize; 2] = [64, 1024];
const TABLE: TableDefinition<u64, &[u8]> = TableDefinition::new("messages");

/// Who appends: so many messages in one call.
trait Subject {
    fn append(&mut self, message: &[u8], number: usize) -> Result<()>;
}

struct Bare {
    file: File,
    synced: bool,
}

impl Subject for Bare {
    fn append(&mut self, message: &[u8], number: usize) -> Result<()> {
        for _ in 0..number {
            self.file.write_all(message)?;
            if self.synced {
                self.file.sync_data()?;
            }
        }
        Ok(())
    }
}

struct Tubepost {
    out: Sender<[u8]>,
    domain: Domain,
    home: PathBuf,
}

impl Tubepost {
    fn new(directory: &Path, synced: bool) -> Result<Self> {
        let home = PathBuf::from(format!("/dev/shm/tubepost-beside-{}", std::process::id()));
        let domain = Domain::open(&home)?;
        let fsync = if synced { Fsync::Each } else { Fsync::Never };
        let kept = tubepost::File { dir: Some(directory.join("log")), fsync: Some(fsync), ..tubepost::File::default() };
        Mailbox::<[u8]>::options().domain(&domain).strategy(kept).create("beside")?;
        Ok(Self { out: Sender::<[u8]>::options().domain(&domain).open("beside")?, domain, home })
    }
}

impl Subject for Tubepost {
    fn append(&mut self, message: &[u8], number: usize) -> Result<()> {
        for _ in 0..number {
            self.out.send(message).map_err(|why| why.to_string())?; // the error has the message
        }
        Ok(())
    }
}

impl Drop for Tubepost {
    fn drop(&mut self) {
        let _ = self.domain.remove("beside");
        let _ = std::fs::remove_dir(&self.home);
    }
}

struct Sqlite(Connection);

impl Sqlite {
    fn new(directory: &Path, synced: bool) -> Result<Self> {
        let connection = Connection::open(directory.join("sqlite"))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", if synced { "FULL" } else { "OFF" })?;
        connection.execute("CREATE TABLE messages (seq INTEGER PRIMARY KEY, message BLOB)", ())?;
        Ok(Self(connection))
    }
}

impl Subject for Sqlite {
    fn append(&mut self, message: &[u8], number: usize) -> Result<()> {
        let transaction = self.0.transaction()?;
        {
            let mut insert = transaction.prepare_cached("INSERT INTO messages (message) VALUES (?1)")?;
            for _ in 0..number {
                insert.execute((message,))?;
            }
        }
        Ok(transaction.commit()?)
    }
}

struct Redb {
    database: Database,
    synced: bool,
    next: u64,
}

impl Subject for Redb {
    fn append(&mut self, message: &[u8], number: usize) -> Result<()> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(if self.synced { Durability::Immediate } else { Durability::None })?;
        {
            let mut table = transaction.open_table(TABLE)?;
            for _ in 0..number {
                table.insert(self.next, message)?;
                self.next += 1;
            }
        }
        Ok(transaction.commit()?)
    }
}

const SUBJECTS: [&str; 4] = ["write()", "tubepost", "SQLite (WAL)", "redb"];

fn subject(which: &str, directory: &Path, synced: bool) -> Result<Box<dyn Subject>> {
    Ok(match which {
        "write()" => {
            let file = OpenOptions::new().append(true).create_new(true).open(directory.join("bare"))?;
            Box::new(Bare { file, synced })
        }
        "tubepost" => Box::new(Tubepost::new(directory, synced)?),
        "redb" => Box::new(Redb { database: Database::create(directory.join("redb"))?, synced, next: 0 }),
        _ => Box::new(Sqlite::new(directory, synced)?),
    })
}

/// Messages in a second.
fn measure(which: &str, place: &Path, length: usize, synced: bool) -> Result<f64> {
    let directory = place.join(format!("tubepost-beside-{}", std::process::id()));
    std::fs::create_dir(&directory)?;
    let (message, batch) = (vec![7; length], if synced { 1 } else { BATCH });
    let rate = {
        let mut subject = subject(which, &directory, synced)?;
        subject.append(&message, batch)?;
        let (begin, mut number) = (Instant::now(), 0);
        while begin.elapsed() < ROUND {
            subject.append(&message, batch)?;
            number += batch;
        }
        number as f64 / begin.elapsed().as_secs_f64()
    };
    std::fs::remove_dir_all(directory)?;
    Ok(rate)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() -> Result<()> {
    let place = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    println!("messages a second, in {}; medians of {ROUNDS} rounds of {ROUND:?}", place.display());
    for (synced, title) in [(false, "not synced"), (true, "each on the disk when it is sent")] {
        println!("\n{title}\n{:14} {:>12} {:>12}", "", "64 B", "1024 B");
        let mut found = vec![vec![Vec::new(); LENGTHS.len()]; SUBJECTS.len()];
        for _ in 0..ROUNDS {
            for (at, length) in LENGTHS.into_iter().enumerate() {
                for (which, name) in SUBJECTS.into_iter().enumerate() {
                    found[which][at].push(measure(name, &place, length, synced)?);
                }
            }
        }
        for (name, rates) in SUBJECTS.into_iter().zip(found) {
            let [short, long] = [0, 1].map(|at| median(rates[at].clone()));
            println!("{name:14} {short:>12.0} {long:>12.0}");
        }
    }
    Ok(())
}
