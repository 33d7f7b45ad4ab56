//! Rows in LMDB: one table by name, synced as it is by default.

use std::path::Path;

use heed::types::{Bytes, Str};
use heed::{Database, Env, EnvOpenOptions, PutFlags};
use larder_peers::data::Row;
use larder_peers::rows::{self, Rows};

struct Lmdb {
    env: Env,
    table: Database<Str, Bytes>,
}

fn value(row: &Row) -> Vec<u8> {
    [&row.digest[..], &row.size.to_le_bytes(), row.source.as_bytes()].concat()
}

impl Rows for Lmdb {
    fn open(directory: &Path) -> Self {
        std::fs::create_dir_all(directory).expect("a directory");
        let mut options = EnvOpenOptions::new();
        // SAFETY: nobody else has this directory.
        let env = unsafe { options.map_size(64 << 30).open(directory) }.expect("an environment");
        let reading = env.read_txn().expect("a transaction");
        let table = env.open_database(&reading, None).expect("it can be read");
        drop(reading);
        let table = table.unwrap_or_else(|| {
            let mut writing = env.write_txn().expect("a transaction");
            let table = env.create_database(&mut writing, None).expect("a table");
            writing.commit().expect("a commit");
            table
        });
        Lmdb { env, table }
    }

    fn load(&self, rows: &mut dyn Iterator<Item = Row>) {
        let mut writing = self.env.write_txn().expect("a transaction");
        for row in rows {
            self.table.put_with_flags(&mut writing, PutFlags::APPEND, &row.name, &value(&row)).expect("a put");
        }
        writing.commit().expect("a commit");
    }

    fn put(&self, row: &Row) {
        let mut writing = self.env.write_txn().expect("a transaction");
        self.table.put(&mut writing, &row.name, &value(row)).expect("a put");
        writing.commit().expect("a commit");
    }

    fn get(&self, name: &str) -> Option<[u8; 32]> {
        let reading = self.env.read_txn().expect("a transaction");
        let found = self.table.get(&reading, name).expect("it can be read")?;
        Some(found[..32].try_into().expect("a digest"))
    }
}

fn main() {
    rows::main::<Lmdb>();
}
