//! One repaired blob, or one that could not be, as it is told.

use std::path::PathBuf;

use larder::vocabulary::events::{Repair, RepairStatus};

use super::json::Line;
use super::text;

/// What helps where larder finds no good bytes.
pub(crate) const HELP: &str = "`larder repair --from PATH` takes them from a file, a directory or another store; adding the good \
                    file again heals it too";

/// One blob in JSON.
pub(crate) fn line(told: &Repair) -> Line {
    let paths = |paths: &[PathBuf]| paths.iter().map(|path| Line::part().path("path", path)).collect::<Vec<_>>();
    let tried = told.tried.iter().map(|(path, reason)| Line::part().path("path", path).with("reason", reason));
    let line = Line::event("repair")
        .with("status", told.status.word())
        .with("digest", told.digest.to_string())
        .maybe("carrier", told.carrier)
        .names(told.names.iter())
        .with("size_bytes", told.size_bytes)
        .maybe("detail", (!told.found.is_empty()).then_some(&told.found));
    let line = line.damage(&told.damage);
    let line = match &told.from {
        Some((origin, path)) => line.with("origin", origin.word()).path("from", path),
        None => line,
    };
    let taken = told.taken.iter().map(|taken| {
        Line::part().with("origin", taken.origin.word()).path("path", &taken.path).with("bytes", taken.bytes)
    });
    line.list_unless_empty("taken", taken)
        .list("tried", tried)
        .with("outside_links", told.outside_links)
        .list("outside", paths(&told.outside).into_iter())
        .list("evidence", paths(&told.evidence).into_iter())
        .maybe("help", (told.status == RepairStatus::Unrepaired).then_some(HELP))
}

/// One blob in words.
pub(crate) fn words(told: &Repair) -> String {
    let names = told.names.iter().map(text::name).collect::<Vec<_>>().join(", ");
    let names = if names.is_empty() { "no name".to_owned() } else { names };
    let detail = if told.found.is_empty() { String::new() } else { format!(": {}", text::message(&told.found)) };
    let copy = told.carrier.map_or(String::new(), |number| format!(" carrier {number} of"));
    let mut lines = vec![format!("{}:{copy} {}{detail}; named {names}", word(told.status), told.digest)];
    if let Some((origin, path)) = &told.from {
        lines.push(format!("  from {} ({})", text::path(path), origin.word()));
    }
    lines.extend(
        told.taken
            .iter()
            .map(|taken| format!("  {} bytes of {} ({})", taken.bytes, text::path(&taken.path), taken.origin.word())),
    );
    let tried = told.tried.iter().filter(|_| told.status == RepairStatus::Unrepaired);
    lines.extend(tried.map(|(path, reason)| format!("  not from {}: {}", text::path(path), text::message(reason))));
    if told.outside_links > 0 {
        let links = text::count(told.outside_links, "link");
        lines.push(format!("  {links} outside the store to the bad file{}", listed(&told.outside)));
    }
    lines.extend(told.evidence.iter().map(|path| format!("  bad bytes kept in {}", text::path(path))));
    lines.join("\n")
}

fn listed(outside: &[PathBuf]) -> String {
    let paths: Vec<String> = outside.iter().map(|path| text::path(path)).collect();
    if paths.is_empty() { String::new() } else { format!(": {}", paths.join(", ")) }
}

fn word(status: RepairStatus) -> &'static str {
    match status {
        RepairStatus::WouldRepair => "would repair",
        other => other.word(),
    }
}

#[cfg(test)]
mod tests {
    use larder::vocabulary::events::Origin;
    use larder::{Damage, Digest, Name};

    use super::*;

    fn told(status: RepairStatus) -> Repair {
        Repair {
            digest: Digest::EMPTY,
            carrier: None,
            names: vec![Name::new("a").unwrap()],
            size_bytes: 7,
            status,
            found: "it is not there".to_owned(),
            damage: Damage::default(),
            taken: Vec::new(),
            from: Some((Origin::Source, "/src/a".into())),
            tried: vec![("/b".into(), "its bytes are others".to_owned())],
            outside_links: 1,
            outside: vec!["/out".into()],
            evidence: vec!["/q".into()],
        }
    }

    #[test]
    fn a_repaired_blob_is_exactly_the_promised_line() {
        let expected = format!(
            concat!(
                r#"{{"schema":1,"event":"repair","status":"repaired","digest":"{}","names":["a"],"size_bytes":7,"#,
                r#""detail":"it is not there","origin":"source","from":"/src/a","#,
                r#""tried":[{{"path":"/b","reason":"its bytes are others"}}],"outside_links":1,"#,
                r#""outside":[{{"path":"/out"}}],"evidence":[{{"path":"/q"}}]}}"#
            ),
            Digest::EMPTY
        );
        assert_eq!(line(&told(RepairStatus::Repaired)).close(), expected);
        let unrepaired = Repair { from: None, ..told(RepairStatus::Unrepaired) };
        assert!(line(&unrepaired).close().contains(r#""help":"`larder repair --from PATH`"#));
        assert!(words(&unrepaired).contains("not from /b"));
    }
}
