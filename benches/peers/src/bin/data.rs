//! Makes the data sets: `data DIR SCALE d1 d2 d3 d4`, each below a directory of its name.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use larder_peers::{Words, data};

const MIB: f64 = 1048576.0;

fn main() {
    let words = Words::read();
    let (root, scale) = (words.path(0), words.at(1).parse::<f64>().expect("a scale"));
    for set in words.from(2) {
        let directory = root.join(set);
        fs::create_dir_all(&directory).expect("a directory for data");
        match set.as_str() {
            "d1" => data::shards(&directory, 16, bytes(256.0 * scale)),
            "d2" => data::noise_file(&directory.join("big.bin"), 2000, bytes(2048.0 * scale) as u64),
            "d3" => data::documents(&directory, count(100_000.0 * scale)),
            "d4" => records(&directory.join("records.tsv"), count(1_000_000.0 * scale) as u64),
            other => panic!("{other}: not one of d1, d2, d3, d4"),
        }
    }
}

/// So many MiB, and no round number of blocks when it is scaled down.
fn bytes(mebibytes: f64) -> usize {
    (mebibytes * MIB) as usize
}

fn count(scaled: f64) -> usize {
    (scaled as usize).max(10)
}

/// In the order of their names, as a user who keeps a list keeps it.
fn records(path: &Path, count: u64) {
    let mut rows: Vec<data::Row> = (0..count).map(data::row).collect();
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path).expect("room for data"));
    for row in rows {
        let digest: String = row.digest.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(file, "{}\t{digest}\t{}\t{}", row.name, row.size, row.source).expect("room for data");
    }
    file.flush().expect("room for data");
}
