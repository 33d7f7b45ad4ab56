//! What in a URL is a secret, or part of a signature that is made anew each time.
//!
//! The rule is a list of what is taken out, not one of what stays: most queries say which document is meant
//! (`?id=1706.03762`), and a document that lost its query would be another one's. So that a list is enough, it goes by
//! endings (`…token`, `…password`), by families (`X-Amz-…`), by what a value looks like (a JSON Web Token, the marks that
//! services put before their tokens, another URL with a secret in it), and is rather too long: `?key=` goes although
//! some server may mean a document with it, since for many it is the caller's password.

use super::percent::read_generously;

/// What stands where a secret was.
pub(super) const REDACTED: &str = "REDACTED";

/// A parameter with one of these names is a secret.
const NAMES: &str = "key sig sign hmac auth authorization bearer pass pwd pw jwt otp sas session sessid sessionid \
                     jsessionid phpsessid hdnts hdnea expires expiry googleaccessid";
/// So is one whose name ends so, after everything that is no letter or digit is left out of it.
const ENDINGS: &str = "token secret password passwd passphrase signature credential credentials apikey accesskey \
                       secretkey privatekey authkey subscriptionkey accesskeyid resourcekey";
/// The families of signed URLs: Amazon, Google, Alibaba, Tencent. Each new signature changes all of them.
const FAMILIES: &str = "xamz xgoog xoss xcos qsign";
/// Names of what goes with a signature, and only there: CloudFront's, and those of Azure's shared access signatures.
const COMPANIONS: &str = "policy keypairid exp sv ss srt sp se st spr sr sip si skoid sktid skt ske sks skv saoid suoid \
                          scid xid";
/// The marks before tokens of services, each with as many letters, digits, dashes and underscores as there must follow.
const MARKS: [(&str, usize); 9] = [
    ("hf_", 16),
    ("ghp_", 16),
    ("gho_", 16),
    ("ghs_", 16),
    ("github_pat_", 16),
    ("glpat-", 16),
    ("sk-", 20),
    ("AKIA", 16),
    ("AIza", 30),
];
/// How many times over something may be percent-encoded and still be looked into.
const DEPTH: u32 = 3;

/// One parameter of a query: what stands before it, its name, and its value if there is a `=`.
pub(super) struct Parameter<'a> {
    pub(super) separator: Option<char>,
    pub(super) name: &'a str,
    pub(super) value: Option<&'a str>,
}

/// The parameters of a query, cut at `&` and `;`, empty ones left out.
pub(super) fn parameters(query: &str) -> impl Iterator<Item = Parameter<'_>> {
    let mut separator = None;
    query.split_inclusive(['&', ';']).filter_map(move |piece| {
        let before = separator;
        separator = piece.chars().last().filter(|c| matches!(c, '&' | ';'));
        let piece = piece.trim_end_matches(['&', ';']);
        let (name, value) = piece.split_once('=').map_or((piece, None), |(name, value)| (name, Some(value)));
        (!piece.is_empty()).then_some(Parameter { separator: before, name, value })
    })
}

/// Whether a query is signed, so that what goes with a signature goes with it.
pub(super) fn is_signed(query: &str) -> bool {
    parameters(query).any(|p| p.is_signature())
}

impl Parameter<'_> {
    /// Whether this is what signs the query.
    pub(super) fn is_signature(&self) -> bool {
        let name = squeezed(self.name);
        self.value.is_some() && (matches!(&*name, "sig" | "sign" | "hmac") || name.ends_with("signature"))
    }

    /// Whether the value is a secret, in a query that is signed or not.
    pub(super) fn is_secret(&self, signed: bool) -> bool {
        let Some(value) = self.value else { return self.has_secret_name() };
        let name = squeezed(self.name);
        let companion = signed && among(COMPANIONS, &name);
        companion || name_tells(&name) || value == REDACTED || looks_secret(value, DEPTH)
    }

    /// Whether there is a secret in the name itself.
    pub(super) fn has_secret_name(&self) -> bool {
        self.name == REDACTED || looks_secret(self.name, DEPTH)
    }
}

fn name_tells(name: &str) -> bool {
    let word = name.trim_end_matches(|c: char| c.is_ascii_digit());
    among(NAMES, word)
        || ENDINGS.split_whitespace().any(|ending| word.ends_with(ending))
        || FAMILIES.split_whitespace().any(|family| name.starts_with(family))
}

fn among(list: &str, word: &str) -> bool {
    list.split_whitespace().any(|one| one == word)
}

/// Letters and digits alone, in lower case: `X-Amz-Signature` and `x_amz_signature` are one. What stands before a `?` in
/// a name is the rest of some URL.
fn squeezed(name: &str) -> String {
    let read = read_generously(name);
    let name = read.rsplit(['?', '#', '&', ';', '/']).next().unwrap_or_default();
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// Whether a value is a token by its looks, or a URL with a secret in it, encoded or not.
fn looks_secret(value: &str, depth: u32) -> bool {
    if is_token(value) || has_user(value) || has_secret_parameter(value) {
        return true;
    }
    let read = if value.contains('%') { read_generously(value) } else { return false };
    depth > 0 && read != value && looks_secret(&read, depth - 1)
}

/// Whether it is a token by its looks: a mark that a service puts before its tokens, or a JSON Web Token.
pub(in crate::vocabulary) fn is_token(value: &str) -> bool {
    is_marked(value) || is_web_token(value)
}

fn is_marked(value: &str) -> bool {
    let of_token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    MARKS.iter().any(|(mark, least)| {
        value.strip_prefix(mark).is_some_and(|rest| rest.len() >= *least && rest.chars().all(of_token))
    })
}

/// A JSON Web Token: three parts, the first of which is an object in base64.
fn is_web_token(value: &str) -> bool {
    value.starts_with("eyJ") && value.split('.').count() == 3
}

/// Whether there is a URL in `text` with a user before its host.
fn has_user(text: &str) -> bool {
    text.match_indices("://").any(|(at, mark)| {
        let rest = &text[at + mark.len()..];
        rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())].contains('@')
    })
}

/// Whether any parameter in `text` is a secret, however many queries stand in each other's values.
fn has_secret_parameter(text: &str) -> bool {
    let pieces = text.split(['?', '#', '&', ';']).skip(1);
    pieces.filter_map(|piece| piece.split_once('=')).any(|(name, value)| name_tells(&squeezed(name)) || is_token(value))
}

/// `segment` of a path without parameters that are secrets (`;jsessionid=…`).
pub(super) fn segment_without_secrets(segment: &str) -> String {
    let mut parts = segment.split(';');
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, value) = part.split_once('=').map_or((part, None), |(name, value)| (name, Some(value)));
        if value.is_none() || !(Parameter { separator: None, name, value }).is_secret(false) {
            kept.push(';');
            kept.push_str(part);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(query: &str) -> Vec<&str> {
        let signed = is_signed(query);
        parameters(query).filter(|p| p.is_secret(signed)).map(|p| p.name).collect()
    }

    #[test]
    fn what_says_which_document_is_meant_is_no_secret() {
        for query in [
            "id=1706.03762&page=3",
            "download=true",
            "file=tokenizer.json",
            "tokenizer=fast",
            "monkey=1",
            "versionId=3",
            "policy=7&se=2&sp=3",
            "path=a/b?c=d",
            "max_tokens=5",
            "author=keats",
            "sort=asc",
            "url=https%3A%2F%2Fh%2Fa",
            "token",
            "key",
        ] {
            assert_eq!(secrets(query), Vec::<&str>::new(), "{query}");
        }
    }

    #[test]
    fn credentials_and_signatures_are_secrets_in_any_spelling() {
        for query in [
            "key=1",
            "token=1",
            "access_token=1",
            "accessToken=1",
            "ACCESS-TOKEN=1",
            "api_key=1",
            "x-api-key=1",
            "sig=1",
            "X-Amz-Signature=1",
            "x%2Damz%2Ddate=1",
            "X-Goog-Credential=1",
            "Expires=1",
            "password=1",
            "token2=1",
            "t%6Fken=1",
            "a=hf_0123456789abcdefXYZ",
            "a=eyJhbGciOi.eyJzdWIi.c2ln",
            "u=https://me:pw@h/x",
            "u=https%3A%2F%2Fme%3Apw%40h%2Fx",
            "u=https%253A%252F%252Fme%253Apw%2540h",
            "u=/a?token=1",
            "a?key=1",
            "u=/a%23key=1",
            "u=/a?b=/c?d=/e?f=/g?h=/i?key=1",
            "a=REDACTED",
        ] {
            assert_eq!(secrets(query).len(), 1, "{query}");
        }
        assert_eq!(secrets("a=1;token=2&b=3"), ["token"]);
        assert_eq!(secrets("Policy=1&Signature=2&Key-Pair-Id=3&a=4"), ["Policy", "Signature", "Key-Pair-Id"]);
        assert_eq!(secrets("sv=1&sp=r&sig=2&restype=x"), ["sv", "sp", "sig"]);
    }

    #[test]
    fn parameters_of_paths_are_secrets_by_the_same_names() {
        assert_eq!(segment_without_secrets("a;jsessionid=1;v=2"), "a;v=2");
        assert_eq!(segment_without_secrets("a;b;;c=1"), "a;b;;c=1");
    }
}
