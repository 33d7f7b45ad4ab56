//! Rows in redb: one table by name, every commit durable.

use std::path::Path;

use larder_peers::data::Row;
use larder_peers::rows::{self, Rows};
use redb::{Database, ReadableDatabase, TableDefinition};

const TABLE: TableDefinition<'_, &str, (&[u8; 32], u64, &str)> = TableDefinition::new("rows");

struct Redb(Database);

impl Redb {
    fn write(&self, rows: &mut dyn Iterator<Item = Row>) {
        let writing = self.0.begin_write().expect("a transaction");
        {
            let mut table = writing.open_table(TABLE).expect("a table");
            for row in rows {
                table.insert(row.name.as_str(), (&row.digest, row.size, row.source.as_str())).expect("an insert");
            }
        }
        writing.commit().expect("a commit");
    }
}

impl Rows for Redb {
    fn open(directory: &Path) -> Self {
        std::fs::create_dir_all(directory).expect("a directory");
        Redb(Database::create(directory.join("rows.redb")).expect("a database"))
    }

    fn load(&self, rows: &mut dyn Iterator<Item = Row>) {
        self.write(rows);
    }

    fn put(&self, row: &Row) {
        let again = Row { name: row.name.clone(), source: row.source.clone(), ..*row };
        self.write(&mut std::iter::once(again));
    }

    fn get(&self, name: &str) -> Option<[u8; 32]> {
        let table = self.0.begin_read().expect("a transaction").open_table(TABLE).expect("a table");
        Some(*table.get(name).expect("it can be read")?.value().0)
    }

    fn settle(mut self) {
        self.0.compact().expect("it can be made smaller");
    }
}

fn main() {
    rows::main::<Redb>();
}
