//! References, source URLs and places as a user or a file gives them: one spelling, and no secret told.
#![no_main]

use larder::vocabulary::limits::{REFERENCE_BYTES, STORED_URI_BYTES};
use larder::vocabulary::url::redacted;
use larder::{ModelRef, SourceUrl, StoredUri};
use libfuzzer_sys::fuzz_target;

/// What is planted where secrets stand, and must never be seen again.
const SECRET: &str = "zq9secret9qz";

fuzz_target!(|text: &str| {
    model(text);
    source(text);
    place(text);
    in_text(text);
    for planted in [
        format!("https://a:{SECRET}@{text}"),
        format!("xy://{SECRET}@{text}"),
        format!("https://h/{text}?token={SECRET}"),
        format!("https://h/a?b={text}&X-Amz-Signature={SECRET}"),
        format!("https://h/a?{text};key={SECRET}"),
    ] {
        tells_nothing(&planted);
    }
});

fn model(text: &str) {
    let Ok(reference) = ModelRef::parse(text) else { return };
    for told in [reference.to_string(), reference.canonical()] {
        let again = ModelRef::parse(&told).expect("what is told can be read");
        assert_eq!(again, reference);
        assert_eq!(again.to_string(), told);
    }
    let canonical = reference.canonical();
    assert!(canonical.len() <= REFERENCE_BYTES && canonical.bytes().all(|b| b.is_ascii_graphic()));
    assert!(!reference.provider().is_empty() && !reference.reference().is_empty());
    if let Ok(absolute) = reference.clone().from_directory("/d".as_ref()) {
        assert!(absolute.local_path().is_none_or(|path| path.is_absolute()));
    }
}

fn source(text: &str) {
    let Ok(url) = SourceUrl::parse(text) else { return };
    for told in [url.to_string(), url.canonical().to_owned()] {
        let again = SourceUrl::parse(&told).expect("what is told can be read");
        assert_eq!(again, url);
        assert_eq!(again.to_string(), told);
    }
    assert!(url.canonical().len() <= REFERENCE_BYTES && url.canonical().starts_with(url.scheme()));
}

fn place(text: &str) {
    let Ok(uri) = StoredUri::parse(text) else { return };
    let told = uri.to_string();
    assert!(told.len() <= STORED_URI_BYTES && told.bytes().all(|b| b.is_ascii_graphic()));
    assert_eq!(StoredUri::parse(&told), Ok(uri));
}

fn in_text(text: &str) {
    let once = redacted(text);
    assert_eq!(redacted(&once), once);
}

fn tells_nothing(planted: &str) {
    if let Ok(reference) = ModelRef::parse(planted) {
        assert!(!reference.to_string().contains(SECRET), "{planted:?} shows {reference}");
        assert!(!reference.canonical().contains(SECRET), "{planted:?} keeps {}", reference.canonical());
    }
    let error = planted.parse::<SourceUrl>().err().map(|error| error.to_string()).unwrap_or_default();
    assert!(!error.contains(SECRET), "{planted:?}: {error}");
}
