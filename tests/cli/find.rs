//! Finding from outside: `ls`, `show`, `where`, `why`, `stats`.

use std::fs;

use crate::outside::{self, Place, digest, noise};

fn place() -> Place {
    let place = Place::new();
    place.file("d/large", noise(1, 100_000));
    place.file("d/small", "s");
    place.file("d/twin", "s");
    place.file("e/middle", noise(2, 5000));
    place.json(&["add", "d", "e"]).exits(0);
    place
}

#[test]
fn ls_sorts_filters_and_sums() {
    let place = place();
    let names = |words: &[&str]| place.json(&[&["ls"], words].concat()).exits(0).names("name");
    assert_eq!(names(&[]), ["d/large", "d/small", "d/twin", "e/middle"]);
    assert_eq!(names(&["--reverse"]), ["e/middle", "d/twin", "d/small", "d/large"]);
    assert_eq!(names(&["d"]), ["d/large", "d/small", "d/twin"]);
    assert_eq!(names(&["d/small"]), ["d/small"]);
    assert_eq!(names(&["."]).len(), 4);
    assert_eq!(names(&["--sort", "size"])[..2], ["d/large", "e/middle"]);
    assert_eq!(names(&["--min-size", "4KiB"]), ["d/large", "e/middle"]);
    assert_eq!(names(&["--max-size", "4999"]), ["d/small", "d/twin"]);
    assert_eq!(names(&["--min-size", "5kB", "--max-size", "5kB"]), ["e/middle"]);
    assert_eq!(names(&["--newer", "1h"]).len(), 4);
    assert_eq!(names(&["--older", "1h"]).len(), 0);
    assert_eq!(names(&["--min-size", "1TiB"]).len(), 0, "a filter that lets nothing through is no error");

    let summary = place.json(&["ls"]).event("summary");
    assert_eq!((&summary["names"], &summary["blobs"]), (&4.into(), &3.into()));
    assert_eq!(summary["logical_bytes"], 105_002);
    let physical = summary["physical_bytes"].as_u64().unwrap();
    assert_eq!(physical, outside::allocated(&place.store().join("sha256")));
    assert_eq!(summary["reclaimable_bytes"], physical);
    // What is shared with another name frees nothing, nor does what is linked outside.
    assert_eq!(place.json(&["ls", "d/twin"]).event("summary")["reclaimable_bytes"], 0);
    place.json(&["get", "e/middle", "out", "--mode", "hardlink"]).exits(0);
    assert_eq!(place.json(&["ls", "e"]).event("summary")["reclaimable_bytes"], 0);
    assert!(place.json(&["ls", "e"]).event("summary")["physical_bytes"].as_u64().unwrap() > 0);
}

#[test]
fn show_tells_everything_about_one_blob() {
    let place = place();
    let blob = place.json(&["show", "d/twin"]).exits(0).event("blob");
    assert_eq!(blob["digest"], digest(b"s"));
    assert_eq!(blob["names"].as_array().unwrap().len(), 2);
    assert_eq!(blob["uri"], format!("larder:{}", digest(b"s")));
    assert!(blob["sources"][0]["uri"].as_str().unwrap().starts_with("file:///"));
    assert_eq!(place.json(&["where", &digest(b"s")]).event("where")["uri"], blob["uri"]);
    assert_eq!((&blob["present"], &blob["damaged"], &blob["size_bytes"]), (&true.into(), &false.into(), &1.into()));
    assert_eq!(blob["blake3"].as_str().unwrap().trim_start_matches("blake3:"), blake3::hash(b"s").to_string());
    assert!(fs::metadata(blob["path"].as_str().unwrap()).unwrap().len() == 1);
    assert_eq!(place.json(&["show", &digest(b"s")]).exits(0).event("blob")["digest"], digest(b"s"));
    // Without any name it is still there.
    place.json(&["rm", "d/small", "d/twin"]).exits(0);
    let blob = place.json(&["show", &digest(b"s")]).exits(0).event("blob");
    assert_eq!(blob["names"].as_array().unwrap().len(), 0);
}

#[test]
fn where_finds_blobs_by_the_beginning_of_their_digest() {
    let place = place();
    let hex = digest(b"s")["sha256:".len()..].to_owned();
    for prefix in [&hex[..4], &hex[..20], &hex, &format!("sha256:{}", &hex[..7])] {
        let ran = place.json(&["where", prefix]).exits(0);
        assert_eq!(ran.event("where")["names"], serde_json::json!(["d/small", "d/twin"]));
    }
    let mut other = hex.clone().into_bytes();
    other[63] = if other[63] == b'0' { b'1' } else { b'0' };
    place.json(&["where", std::str::from_utf8(&other).unwrap()]).exits(1);
}

#[test]
fn why_tells_what_keeps_a_blob() {
    let place = place();
    let why = place.json(&["why", "d/small"]).exits(0).event("why");
    assert_eq!((&why["kept"], &why["collectable"], &why["outside_links"]), (&true.into(), &false.into(), &0.into()));
    place.json(&["get", "d/small", "out", "--mode", "hardlink"]).exits(0);
    assert_eq!(place.json(&["why", "d/small"]).event("why")["outside_links"], 1);
    place.json(&["rm", "d/small", "d/twin"]).exits(0);
    let why = place.json(&["why", &digest(b"s")]).exits(0).event("why");
    assert_eq!((&why["kept"], &why["collectable"]), (&false.into(), &false.into()), "its grace is not over");
    assert!(why["unrooted"].is_string());
    let why = place.json(&["why", &digest(b"s"), "--grace", "0s"]).exits(0).event("why");
    assert_eq!(why["collectable"], true);
    let words = place.larder(&["why", &digest(b"s")]).exits(0).text();
    assert!(words.contains("outside"), "{words}");
    place.json(&["pin", &digest(b"s")]).exits(0);
    assert_eq!(place.json(&["why", &digest(b"s"), "--grace", "0s"]).event("why")["kept"], true);
}

#[test]
fn why_gone_tells_what_took_a_name_and_a_blob_away() {
    let place = place();
    let (s, gone) = (digest(b"s"), |what: &str| place.json(&["why-gone", what]).exits(0));
    place.json(&["why-gone", "no/such"]).exits(1);
    place.json(&["why-gone", &digest(b"never seen")]).exits(1);
    assert_eq!(gone("d/small").event("summary")["gone"], false);

    place.json(&["mv", "d/small", "d/moved"]).exits(0);
    place.json(&["rm", "d"]).exits(0);
    let of_name = gone("d/small");
    let departed = of_name.event("departed");
    assert_eq!((&departed["name"], &departed["rule"]), (&"d/small".into(), &"mv to d/moved".into()));
    assert_eq!(departed["digest"], s.as_str());
    assert_eq!((of_name.events("removed").len(), &of_name.event("summary")["gone"]), (0, &true.into()));
    let of_digest = gone(&s);
    assert_eq!(of_digest.event("summary")["gone"], false, "it is not collected yet");
    assert_eq!(of_digest.names("departed"), ["d/small", "d/moved", "d/twin"], "in the order of time, then of names");

    place.json(&["gc", "--grace", "0s", "--yes-most"]).exits(0);
    for again in ["", "compact", "rebuild"] {
        if !again.is_empty() {
            place.json(&[again]).exits(0);
        }
        let removed = gone(&s).event("removed");
        assert_eq!((&removed["digest"], &removed["rule"]), (&s.as_str().into(), &"gc: unrooted".into()), "{again}");
        assert_eq!((&removed["size_bytes"], removed["when"].is_string()), (&1.into(), true));
        assert_eq!(gone("d/twin").event("departed")["rule"], "rm", "{again}");
        assert_eq!(gone("d/twin").event("removed")["digest"], s.as_str(), "{again}");
    }
    let words = place.larder(&["why-gone", "d/twin"]).exits(0).text();
    assert!(words.contains("d/twin is gone") && words.contains("gc: unrooted"), "{words}");
    // What came back is not gone, and how it went before is still told by its name.
    place.json(&["add", "d"]).exits(0);
    assert_eq!(gone(&s).event("summary")["gone"], false);
    assert_eq!(gone("d/twin").event("departed")["rule"], "rm");
}

#[test]
fn stats_agree_with_the_disk() {
    let place = place();
    let stats = place.json(&["stats"]).exits(0).event("stats");
    assert_eq!((&stats["blobs"], &stats["names"], &stats["logical_bytes"]), (&3.into(), &4.into(), &105_002.into()));
    assert_eq!(stats["blob_bytes"], 105_001);
    assert_eq!(stats["allocated_bytes"].as_u64().unwrap(), outside::allocated(&place.store().join("sha256")));
    place.json(&["rm", "e"]).exits(0);
    let stats = place.json(&["stats"]).event("stats");
    assert_eq!((&stats["unrooted_blobs"], &stats["names"]), (&1.into(), &3.into()));
    assert_eq!(stats["reclaimable_bytes"], 8192);
    assert_eq!(stats["fenced"], false);
}

#[test]
fn the_index_may_go_at_any_time() {
    let place = place();
    let before = place.names();
    place.json(&["rebuild"]).exits(0);
    let index = place.store().join("index");
    for spoil in 0..4 {
        match spoil {
            0 => fs::remove_dir_all(&index).unwrap(),
            1 => outside::files(&index).iter().for_each(|path| fs::write(path, "rubbish").unwrap()),
            2 => outside::files(&index).iter().for_each(|path| fs::File::create(path).map(drop).unwrap()),
            _ => {
                for path in outside::files(&index) {
                    let mut bytes = fs::read(&path).unwrap();
                    let middle = bytes.len() / 2;
                    if let Some(byte) = bytes.get_mut(middle) {
                        *byte ^= 0x10;
                    }
                    fs::write(&path, bytes).unwrap();
                }
            }
        }
        assert_eq!(place.names(), before, "{spoil}: a reader makes do");
        place.file("more", format!("{spoil}"));
        place.json(&["add", "more", "--replace"]).exits(0);
        assert_eq!(place.cat("d/small"), b"s");
        place.json(&["rm", "more"]).exits(0);
        place.json(&["verify"]).exits(0);
        place.json(&["rebuild"]).exits(0);
        assert_eq!(place.names(), before, "{spoil}");
    }
    place.json(&["compact"]).exits(0);
    fs::remove_dir_all(&index).unwrap();
    assert_eq!(place.names(), before);
    place.sound();
}

#[test]
fn debug_prints_frames_and_runs() {
    let place = place();
    let ran = place.json(&["debug", "frames"]).exits(0);
    assert!(ran.events("frame").iter().all(|line| line["state"] == "good"));
    assert_eq!(ran.event("summary")["bad"], 0);
    place.json(&["rebuild"]).exits(0);
    assert!(!place.json(&["debug", "runs"]).exits(0).events("run").is_empty());
    // A journal whose tail was cut in the middle of a frame: the next one goes on, readers too.
    let segment = outside::files(&place.store().join("journal")).pop().unwrap();
    let before = fs::read(&segment).unwrap();
    fs::write(&segment, &before[..before.len() - 3]).unwrap();
    let ran = place.json(&["ls"]);
    assert!([0, 3].contains(&ran.code), "{}", ran.err);
    fs::write(&segment, &before).unwrap();
    // Bytes behind its end are no frame, and are cut off by the next writer.
    let mut more = before.clone();
    more.extend_from_slice(&noise(7, 500));
    fs::write(&segment, more).unwrap();
    assert_eq!(place.names().len(), 4);
    place.file("new", "new");
    place.json(&["add", "new"]).exits(0);
    assert_eq!(place.names().len(), 5);
    place.sound();
}

#[test]
fn a_damaged_journal_is_a_finding_and_fences_collection() {
    let place = place();
    place.json(&["rm", "e"]).exits(0);
    let segment = outside::files(&place.store().join("journal")).pop().unwrap();
    let before = fs::read(&segment).unwrap();
    // Every byte in turn would take long; every hundredth shows the same.
    for at in (0..before.len()).step_by(101) {
        let mut bytes = before.clone();
        bytes[at] ^= 0x40;
        fs::write(&segment, &bytes).unwrap();
        for words in [&["ls"][..], &["verify"], &["debug", "frames"], &["gc", "--dry-run", "--grace", "0s"], &["stats"]]
        {
            let ran = place.json(words);
            assert!([0, 1, 3, 5].contains(&ran.code), "{at} {words:?}: {}", ran.err);
        }
        fs::write(&segment, &before).unwrap();
    }
    assert_eq!(place.names().len(), 3);
    // In the middle, behind it good frames: whatever else is done, nothing is collected.
    let mut bytes = before.clone();
    let middle = bytes.len() / 3;
    bytes[middle] ^= 1;
    fs::write(&segment, &bytes).unwrap();
    let blobs = outside::files(&place.store().join("sha256"));
    for words in [
        &["gc", "--grace", "0s"][..],
        &["gc", "--grace", "0s", "--yes-most"],
        &["gc", "--grace", "0s", "--orphan-ttl", "0s"],
    ] {
        let ran = place.json(words);
        assert!([1, 3, 5].contains(&ran.code), "{words:?}: {} {}", ran.code, ran.text());
        assert_eq!(outside::files(&place.store().join("sha256")), blobs);
    }
    for words in [&["ls"][..], &["verify"], &["compact"], &["rebuild"], &["add", "d"], &["gc", "--grace", "0s"]] {
        let ran = place.json(words);
        assert!([0, 1, 3, 5].contains(&ran.code), "{words:?}: {} {}", ran.code, ran.err);
        assert_eq!(outside::files(&place.store().join("sha256")), blobs, "{words:?}");
    }
}
