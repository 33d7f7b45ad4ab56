//! What somebody types may be a URL with a password in it, and what larder says about it goes to logs.

use crate::outside::{self, Place, Ran};

/// Stands where secrets stand.
const SECRET: &str = "hunter2zq";

/// URLs that somebody may take for a path or a name, each with the secret in another place.
fn urls() -> Vec<String> {
    vec![
        format!("https://me:{SECRET}@example.org/a"),
        format!("https:/me:{SECRET}@example.org/a"),
        format!("s3:/me:{SECRET}@bucket/a"),
        format!("https://me:p/{SECRET}@example.org/a"),
        format!("https://me:p\\{SECRET}@example.org/a"),
        format!("https://me:p\n{SECRET}@example.org/a"),
        format!("https://example.org/a?id=1&token={SECRET}"),
        format!("s3://bucket/a?X-Amz-Date=1&X-Amz-Signature={SECRET}"),
        format!("https://example.org/a?u=https%3A%2F%2Fme%3A{SECRET}%40example.org"),
    ]
}

/// Every way to hand text to larder that it then has to complain about; `@` is the URL.
const CALLS: [&str; 41] = [
    "finalise @ --artifact x",
    "finalise here --artifact x --expect @",
    "finalise here --model @/ --if-there @",
    "config get @",
    "config set @ 1",
    "config set limits.max_bytes @",
    "ls --set @",
    "ls --set storage.layout=@",
    "ls --metrics-file @/x",
    "ls --otlp @",
    "ls --log @",
    "add @",
    "add here @",
    "add --links @",
    "add here --name @/../x",
    "add here --expect @",
    "add here --@",
    "ls @//",
    "ls --min-size @",
    "show @",
    "where @",
    "why @",
    "get @ out",
    "cat @",
    "path @",
    "checkout @ out",
    "link @ x",
    "mv @ x",
    "unlink @",
    "rm @",
    "pin @",
    "verify @",
    "register @ nothing",
    "register model:hf/x @",
    "register model:hf/x --uri @",
    "register document:x --url @ nothing",
    "import-manifest @",
    "export-manifest -o @/x",
    "tag @ x",
    "verify --file @ --expect @",
    "@",
];

fn tells_nothing(ran: &Ran, call: &str, url: &str) {
    assert_ne!(ran.code, 0, "{call} took {url:?}");
    let said = format!("{}{}", ran.text(), ran.err);
    assert!(!said.contains(SECRET), "{call} with {url:?} says {said}");
}

#[test]
fn no_error_prints_the_credentials_of_a_url() {
    let place = Place::with_store();
    place.file("here", "1");
    for url in urls() {
        for call in CALLS {
            let words: Vec<String> = call.split(' ').map(|word| word.replace('@', &url)).collect();
            tells_nothing(&place.larder(&words), call, &url);
            tells_nothing(&place.json(&words), &format!("{call} --json"), &url);
        }
        let call = "--store URL stats";
        let mut command = place.command(&["stats"]);
        command.env("LARDER_STORE", &url);
        tells_nothing(&outside::run(command), "LARDER_STORE=URL", &url);
        tells_nothing(&place.larder(&["--store", &url, "stats"]), call, &url);
        tells_nothing(&place.json(&["--store", &url, "stats"]), call, &url);
    }
}

#[test]
fn an_error_still_says_which_url_it_means() {
    let place = Place::with_store();
    let url = format!("https://me:{SECRET}@example.org/a.pdf?id=7&token={SECRET}");
    let said = place.larder(&["add", &url]).exits(3).err;
    for part in ["REDACTED@example.org/a.pdf?id=7&token=REDACTED", "failed: "] {
        assert!(said.contains(part), "{said}");
    }
    let missing = place.larder(&["add", "me@home?a=b"]).exits(3).err;
    assert!(missing.contains("me@home?a=b"), "what is no secret is told as it is: {missing}");
}

/// The URL is where the store is made, since somebody took it for a directory.
#[test]
fn a_store_that_is_made_where_a_url_says_is_told_without_its_secrets() {
    let made = |args: &[&str]| {
        let place = Place::new();
        place.file("here", "1");
        let mut command = place.command(args);
        command.env("LARDER_STORE", format!("https://me:{SECRET}@example.org/a"));
        outside::run(command).exits(0)
    };
    let ran = made(&["add", "here"]);
    let said = format!("{}{}", ran.text(), ran.err);
    assert!(said.contains("REDACTED@example.org/a") && !said.contains(SECRET), "{said}");
    // Where the store is, is data there, and told as it is; what is said about it is not.
    let notice = made(&["--json", "add", "here"]).event("notice")["text"].to_string();
    assert!(notice.contains("REDACTED@example.org/a") && !notice.contains(SECRET), "{notice}");
}
