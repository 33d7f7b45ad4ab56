use proptest::prelude::*;

use super::*;
use crate::vocabulary::url::redacted;

fn shown(text: &str) -> String {
    ModelRef::parse(text).map_or_else(|why| format!("{why:?}"), |reference| reference.to_string())
}

/// What must hold of every reference that is read, however strange.
fn is_stable(text: &str) {
    let Ok(reference) = ModelRef::parse(text) else { return };
    let printed = reference.to_string();
    let again = ModelRef::parse(&printed).unwrap_or_else(|why| panic!("{text:?} prints as {printed:?}: {why}"));
    assert_eq!(again.to_string(), printed, "of {text:?}");
    assert_eq!(again, reference, "of {text:?}");
    let stored = reference.canonical();
    let again = ModelRef::parse(&stored).unwrap_or_else(|why| panic!("{text:?} is stored as {stored:?}: {why}"));
    assert_eq!(again.to_string(), stored, "what is stored has nothing to hide: {text:?}");
    assert_eq!(again, reference, "of {text:?}");
    assert!(stored.is_ascii() && !stored.chars().any(|c| c.is_control() || c == ' '), "{stored:?}");
}

#[test]
fn a_repository_has_one_spelling() {
    for (text, one) in [
        ("hf:TheBloke/Llama-2-7B", "hf:TheBloke/Llama-2-7B"),
        ("HF:TheBloke/Llama-2-7B/", "hf:TheBloke/Llama-2-7B"),
        ("hf://TheBloke/Llama-2-7B", "hf:TheBloke/Llama-2-7B"),
        ("hf:gpt2", "hf:gpt2"),
        ("hf:o/r/q4/x.gguf", "hf:o/r/q4/x.gguf"),
        ("hf:o/r/./a/../b//c", "hf:o/r/b/c"),
        ("hf:o/r/x.gguf@v1.0", "hf:o/r/x.gguf@v1.0"),
        ("hf:o/r@v1.0/x.gguf", "hf:o/r/x.gguf@v1.0"),
        ("hf:o/r@main", "hf:o/r"),
        ("hf:o/r@refs/pr/7", "hf:o/r@refs/pr/7"),
        ("hf:o/r@refs/pr/7/a/b", "hf:o/r/a/b@refs/pr/7"),
        ("hf:o/r/a@refs/convert/parquet", "hf:o/r/a@refs/convert/parquet"),
        ("hf:o/r@feature%2Fx", "hf:o/r@feature%2Fx"),
        ("hf:o/r/icon@2x/a", "hf:o/r/icon%402x/a"),
        ("hf:o/r/my file.gguf", "hf:o/r/my%20file.gguf"),
        ("hf:datasets/o/r/a", "hf:datasets/o/r/a"),
        ("https://huggingface.co/meta-llama/Llama-3.1-8B-Instruct", "hf:meta-llama/Llama-3.1-8B-Instruct"),
        ("http://hf.co/o/r/", "hf:o/r"),
        ("https://HuggingFace.co/o/r/resolve/main/a/x.gguf?download=true", "hf:o/r/a/x.gguf"),
        ("https://me:hf_secret@huggingface.co/o/r/blob/v2/x.gguf", "hf:o/r/x.gguf@v2"),
        ("https://huggingface.co/o/r/resolve/refs%2Fpr%2F1/x", "hf:o/r/x@refs/pr/1"),
        ("https://huggingface.co/o/r/tree/dev", "hf:o/r@dev"),
        ("https://huggingface.co/gpt2/resolve/main/config.json", "hf:gpt2@main/config.json"),
        ("hf:gpt2@v1/a/b", "hf:gpt2@v1/a/b"),
        ("hf://hf_AbCdEfGhIjKlMnOpQrStUvWxYz01234567@o/r", "hf:o/r"),
        ("hf:hf_AbCdEfGhIjKlMnOpQrStUvWxYz01234567@o/r@v1/a", "hf:o/r/a@v1"),
        ("hf:hf_short@v1/a", "hf:hf_short@v1/a"),
        ("hf:datasets/squad@main/a", "hf:datasets/squad@main/a"),
        ("https://huggingface.co/gpt2/resolve/refs/pr/1/a", "hf:gpt2@refs/pr/1/a"),
        ("https://huggingface.co/datasets/o/r/resolve/main/a", "hf:datasets/o/r/a"),
        ("https://huggingface.co/docs/hub", "https://huggingface.co/docs/hub"),
        ("https://huggingface.co/o/r/discussions/1", "https://huggingface.co/o/r/discussions/1"),
        ("https://huggingface.co/o", "https://huggingface.co/o"),
        ("https://huggingface.co", "https://huggingface.co"),
    ] {
        assert_eq!(shown(text), one, "{text}");
        is_stable(text);
    }
}

#[test]
fn a_repository_that_cannot_be_one_is_refused() {
    for (text, why) in [
        ("hf:", "Empty"),
        ("hf:///", "Empty"),
        ("hf:@v1", "Empty"),
        ("hf:o/r@", "Revision"),
        ("hf:o r/x", "Repository"),
        ("hf:../x", "Repository"),
        ("hf://me:pw@o/r", "Repository"),
        ("hf:o/r@refs", "Revision"),
        ("hf:o/ü", "Repository"),
        ("hf:o/%41", "Repository"),
        ("hf:datasets/", "Repository"),
        ("hf:o/r/../../etc", "Climbs"),
        ("hf:o/r/..%2fa", "Climbs"),
        ("hf:o/r/a%4", "Escape"),
        ("hf:o/r/%ff", "Escape"),
        ("hf:o/r/a%00", "Control"),
        ("hf:o/r\n", "Control"),
        ("hf:o/r/x?token=1", "Query"),
        ("hf:o/r/x#1", "Query"),
    ] {
        assert_eq!(shown(text), why, "{text}");
    }
    assert_eq!(shown(&format!("hf:o/{}", "x".repeat(97))), "Repository");
}

#[test]
fn what_has_no_scheme_is_a_path_as_it_stands() {
    for (text, one) in [
        ("TheBloke/Llama-2-7B", "file:TheBloke/Llama-2-7B"),
        ("./hf:x", "file:hf:x"),
        ("models/../x.gguf", "file:x.gguf"),
        ("../x", "file:../x"),
        ("/srv/models/", "file:///srv/models"),
        ("100%", "file:100%25"),
        (" a ", "file:%20a%20"),
        ("a?b#c", "file:a%3Fb%23c"),
        ("файл", "file:%D1%84%D0%B0%D0%B9%D0%BB"),
        ("FILE:a%20b", "file:a%20b"),
        ("local:a", "file:a"),
        ("", "Empty"),
        (".", "Empty"),
        ("/", "Empty"),
        ("a\0b", "Control"),
        ("a\u{85}b", "Control"),
        ("C:\\models\\x", "Drive"),
        ("file://server/x", "OtherHost"),
    ] {
        assert_eq!(shown(text), one, "{text:?}");
        is_stable(text);
    }
}

#[test]
fn provider_reference_version_and_path_are_told_apart() {
    for (text, provider, reference, version, path) in [
        ("hf:o/r/q/x.gguf@v1", "hf", "o/r", Some("v1"), Some("q/x.gguf")),
        ("hf:o/r", "hf", "o/r", None, None),
        ("/srv/x y", "local", "/srv/x%20y", None, None),
        ("https://h/a?id=1&token=2", "https", "h/a?id=1", None, None),
        ("s3://Bucket/Key", "s3", "Bucket/Key", None, None),
        ("ollama:llama3", "ollama", "llama3", None, None),
        ("oci://h:5000/a/b:v1", "oci", "h:5000/a/b", Some("v1"), None),
        ("oci://h:5000/a/b", "oci", "h:5000/a/b", None, None),
        ("oci://h:5000", "oci", "h:5000", None, None),
        ("docker://h/b@sha256:00", "docker", "h/b", Some("sha256:00"), None),
    ] {
        let read = ModelRef::parse(text).unwrap();
        assert_eq!(
            (read.provider(), &*read.reference(), read.version(), read.path()),
            (provider, reference, version, path)
        );
    }
    let path = ModelRef::parse("a/b").unwrap();
    assert_eq!(path.local_path(), Some(Path::new("a/b")));
    assert_eq!(path.from_directory(Path::new("/srv")).unwrap().to_string(), "file:///srv/a/b");
    let odd = std::os::unix::ffi::OsStrExt::from_bytes(b"a\xff");
    assert_eq!(ModelRef::of_path(Path::new::<std::ffi::OsStr>(odd)).unwrap().to_string(), "file:a%FF");
}

#[test]
fn an_error_says_what_was_read_without_its_secrets() {
    for text in
        ["https://me:hunter2@h:port/x", "https://me:hunt/er2@h/x", "xy:?token=hunter2\u{1}", "hf:o/r?token=hunter2"]
    {
        let error = text.parse::<ModelRef>().unwrap_err().to_string();
        assert!(!error.contains("hunter2") && !error.contains("hunt/er2"), "{error}");
        assert!(error.starts_with("cannot read \""), "{error}");
    }
}

#[test]
fn what_is_written_reads_back_and_nothing_on_disk_is_trusted() {
    let reference = ModelRef::parse("https://me:pw@h/a?id=1&sig=2").unwrap();
    let bytes = postcard::to_allocvec(&reference).unwrap();
    assert_eq!(bytes, postcard::to_allocvec("https://h/a?id=1").unwrap());
    assert_eq!(postcard::from_bytes::<ModelRef>(&bytes).unwrap(), reference);
    assert!(postcard::from_bytes::<ModelRef>(&postcard::to_allocvec("a\0").unwrap()).is_err());
    assert!(postcard::from_bytes::<SourceUrl>(&postcard::to_allocvec("no url").unwrap()).is_err());
}

/// What references are made of.
const PIECES: &str = "hf: file: https: // / .. . @ : ? & ; = # %2F %40 % %25 token sig Expires x-amz-a me pw a Ü ß İ h \
                      huggingface.co resolve main refs/pr/1 80 443 [::1] \\ + hf_0123456789abcdef eyJ.a.b REDACTED oci: \
                      s3: \u{202e}";

/// Text made of that, so that most of it is nearly a reference.
fn nearly() -> impl Strategy<Value = String> {
    let pieces: Vec<&str> = PIECES.split_whitespace().chain([" "]).collect();
    let known = prop::sample::select(pieces).prop_map(str::to_owned);
    let piece = prop_oneof![8 => known, 1 => any::<char>().prop_map(String::from)];
    prop::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_printed_and_what_is_stored_read_as_the_same_reference(text in nearly()) {
        is_stable(&text);
    }

    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        is_stable(&text);
        let _ = redacted(&text);
    }

    #[test]
    fn no_secret_is_printed_or_stored(
        user in "[a-z]{0,3}", secret in "zq[a-zA-Z0-9]{8}", place in 0..9_usize, scheme in "(https|s3|ssh|x-y|git\\+https)",
    ) {
        let encoded: String = secret.bytes().map(|b| format!("%{b:02x}")).collect();
        let text = match place {
            0 => format!("{scheme}://{user}:{secret}@h/a"),
            1 => format!("{scheme}://{secret}@h/a?b=c"),
            2 => format!("{scheme}://h/a?id=1&X-Amz-Signature={secret}&b=2"),
            3 => format!("{scheme}://h/a?Access_Token={secret}"),
            4 => format!("{scheme}://h/a?b=1;token={encoded}"),
            5 => format!("{scheme}://h/a;jsessionid={secret}/b"),
            6 => format!("{scheme}://h/a?u=https%3A%2F%2Fme%3A{secret}%40g%2F"),
            7 => format!("{scheme}://h/web/https://me:{secret}@g/x"),
            _ => format!("{scheme}://h/a#access_token={secret}"),
        };
        let reference = ModelRef::parse(&text).unwrap();
        let printed = redacted(&format!("cannot read {text:?}")).into_owned();
        for told in [reference.to_string(), reference.canonical(), format!("{reference:?}"), printed] {
            prop_assert!(!told.contains(&secret) && !told.to_lowercase().contains(&encoded), "{} tells {}", text, told);
        }
    }
}
