//! Rows in a `HashMap` in memory: the floor of lookups. Reads the manifest `DIR/records.tsv` when it is opened.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;

use larder_peers::data::Row;
use larder_peers::rows::{self, Rows};

struct Map(Mutex<HashMap<String, [u8; 32]>>);

impl Rows for Map {
    fn open(directory: &Path) -> Self {
        let manifest = directory.join("records.tsv");
        let rows = manifest.exists().then(|| rows::manifest(&manifest));
        Map(Mutex::new(rows.into_iter().flatten().map(|row| (row.name, row.digest)).collect()))
    }

    fn load(&self, rows: &mut dyn Iterator<Item = Row>) {
        self.0.lock().expect("no thread panics").extend(rows.map(|row| (row.name, row.digest)));
    }

    fn put(&self, row: &Row) {
        self.0.lock().expect("no thread panics").insert(row.name.clone(), row.digest);
    }

    fn get(&self, name: &str) -> Option<[u8; 32]> {
        self.0.lock().expect("no thread panics").get(name).copied()
    }
}

fn main() {
    rows::main::<Map>();
}
