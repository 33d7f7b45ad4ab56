//! Names, prefixes and digests as a user or a file gives them, held against a slow and obvious account of what is one.
#![no_main]

use std::path::{Component, Path};

use larder::vocabulary::limits::{NAME_BYTES, NAME_COMPONENT_BYTES, NAME_DEPTH};
use larder::vocabulary::url::{base_name_of_url, policy_name};
use larder::{Digest, DigestPrefix, Name, Prefix};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    name(bytes);
    let middle = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    prefix(&bytes[..middle], bytes.get(middle + 1..).unwrap_or_default());
    on_disk(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        digest(text);
        digest_prefix(text);
        url(text);
    }
});

fn is_name(bytes: &[u8]) -> bool {
    let components: Vec<&[u8]> = bytes.split(|b| *b == b'/').collect();
    let mut control = bytes.iter().any(|b| *b < 0x20 || *b == 0x7f);
    for at in 1..bytes.len() {
        control |= bytes[at - 1] == 0xc2 && (0x80..0xa0).contains(&bytes[at]);
    }
    let bad = |c: &&[u8]| c.is_empty() || *c == b"." || *c == b".." || c.len() > NAME_COMPONENT_BYTES;
    bytes.len() <= NAME_BYTES && components.len() <= NAME_DEPTH && !control && !components.iter().any(bad)
}

fn name(bytes: &[u8]) {
    let made = Name::new(bytes);
    assert_eq!(made.is_ok(), is_name(bytes));
    let Ok(name) = made else { return };
    assert_eq!(name.as_bytes(), bytes);
    below_its_directory(&name);
    assert_eq!(name.as_str(), std::str::from_utf8(bytes).ok());
    assert!(!name.base().contains(&b'/') && bytes.ends_with(name.base()));
    let ancestors: Vec<Name> = name.ancestors().collect();
    assert_eq!(ancestors.len(), bytes.iter().filter(|b| **b == b'/').count());
    for above in &ancestors {
        assert_eq!(Name::new(above.as_bytes()).expect("what is above a name is one"), *above);
        assert!(Prefix::Below(above.clone()).contains(&name));
    }
    assert!(!name.to_string().chars().any(char::is_control), "nothing that a terminal takes as a command");

    let written = postcard::to_allocvec(&name).expect("a name can be written");
    assert_eq!(postcard::from_bytes::<Name>(&written).as_ref(), Ok(&name));
    assert_eq!(Prefix::new(bytes).expect("a name is a prefix"), Prefix::Below(name));
}

fn below_its_directory(name: &Name) {
    let directory = Path::new("/store/names");
    let joined = directory.join(name.as_path());
    assert!(joined.starts_with(directory) && joined != directory);
    assert!(name.as_path().components().all(|c| matches!(c, Component::Normal(_))));
}

fn prefix(first: &[u8], second: &[u8]) {
    let Ok(prefix) = Prefix::new(first) else { return };
    if std::str::from_utf8(first).is_ok() {
        assert_eq!(Prefix::new(prefix.to_string().as_bytes()).expect("it is read as it is written"), prefix);
    }
    let Ok(name) = Name::new(second) else { return };
    let (is_it, below) = match &prefix {
        Prefix::Everything => (false, true),
        Prefix::Below(top) => {
            let mut directory = top.as_bytes().to_vec();
            directory.push(b'/');
            (*top == name, name.as_bytes().starts_with(&directory))
        }
    };
    assert_eq!(prefix.contains(&name), is_it || below);
    if prefix.contains(&name) {
        let relative = prefix.relative(&name);
        assert!(relative.components().all(|c| matches!(c, Component::Normal(_))) && relative != Path::new(""));
        assert!(name.as_path().ends_with(relative));
    }
}

/// No name that a file claims is trusted.
fn on_disk(bytes: &[u8]) {
    if let Ok(name) = postcard::from_bytes::<Name>(bytes) {
        assert!(is_name(name.as_bytes()));
    }
}

fn digest(text: &str) {
    let Ok(digest) = text.parse::<Digest>() else { return };
    assert_eq!(digest.to_string(), text, "there is one way to write it");
    assert_eq!(Digest::from_hex(&digest.to_hex()), Some(digest));
    assert_eq!(text.parse::<DigestPrefix>().expect("a digest is its own beginning").first(), digest);
}

fn digest_prefix(text: &str) {
    let Ok(prefix) = text.parse::<DigestPrefix>() else { return };
    assert!(prefix.matches(&prefix.first()), "the smallest digest with a beginning has that beginning");
    assert_eq!(prefix.to_string().parse::<DigestPrefix>().expect("it is read as it is written"), prefix);
    if prefix.first() != Digest::from_bytes([0; 32]) {
        let before = predecessor(prefix.first());
        assert!(!prefix.matches(&before), "and nothing smaller has it");
    }
}

fn predecessor(digest: Digest) -> Digest {
    let mut bytes = *digest.as_bytes();
    for byte in bytes.iter_mut().rev() {
        let (less, borrow) = byte.overflowing_sub(1);
        *byte = less;
        if !borrow {
            break;
        }
    }
    Digest::from_bytes(bytes)
}

/// Whatever a server calls its files, they have a name, always the same, which is one component below its artifact.
fn url(text: &str) {
    let base = base_name_of_url(text);
    assert_eq!(base, base_name_of_url(text));
    assert_eq!(base.base(), base.as_bytes());
    assert!(is_name(base.as_bytes()));
    for artifact in ["meta/llama", text] {
        let name = policy_name(artifact, text);
        assert!(is_name(name.as_bytes()));
        below_its_directory(&name);
        if Name::new(artifact).is_ok_and(|id| id.as_bytes().len() + base.as_bytes().len() < 1000) {
            assert_eq!(name.base(), base.base());
        }
    }
}
