//! A repository at Hugging Face, or a file in it.

use std::fmt;

use crate::vocabulary::limits::{HUB_NAME_BYTES, REFERENCE_BYTES};
use crate::vocabulary::name::has_control;
use crate::vocabulary::url::{SourceUrl, Split, UnusableReference, decoded_text, encode, is_token};

/// A repository at Hugging Face, a file or directory in it if one is named, and a revision unless it is `main`.
///
/// It is written `hf:ORG/REPO[/PATH][@REVISION]`, or `hf:REPO` for the few that belong to nobody. Datasets and spaces have
/// `datasets/` or `spaces/` before them, as at the site. Names keep their case. It also reads `hf://ORG/REPO@REVISION/PATH`,
/// as the site's own libraries write it, and writes it so where the repository belongs to nobody and a path is named. A
/// slash in a revision is `%2F`, but in `refs/pr/N` and `refs/convert/NAME`; an `@` in a path is `%40`. `main` is what is
/// meant where there is no revision, so it is left out.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HubRef {
    repository: String,
    path: String,
    revision: String,
}

/// Hosts of the site.
const HOSTS: [&str; 3] = ["huggingface.co", "www.huggingface.co", "hf.co"];
/// First components of the site's URLs that are no organisations.
const PAGES: [&str; 14] = [
    "api",
    "blog",
    "chat",
    "collections",
    "docs",
    "enterprise",
    "learn",
    "models",
    "organizations",
    "papers",
    "posts",
    "settings",
    "tasks",
    "new",
];
/// Kinds of repositories whose names begin with the kind.
const KINDS: [&str; 2] = ["datasets", "spaces"];
/// What stands between repository and revision in the site's URLs.
const VIEWS: [&str; 4] = ["resolve", "blob", "raw", "tree"];

impl HubRef {
    /// Reads what stands behind `hf:`.
    pub(super) fn parse(rest: &str) -> Result<Self, UnusableReference> {
        if rest.contains(['?', '#']) {
            return Err(UnusableReference::Query);
        }
        let segments: Vec<&str> = without_token(rest).split('/').filter(|segment| !segment.is_empty()).collect();
        let most = if segments.first().is_some_and(|first| KINDS.contains(first)) { 3 } else { 2 };
        let named = &segments[..most.min(segments.len())];
        let Some(last) = named.iter().position(|segment| segment.contains('@')) else {
            let path = segments[named.len()..].join("/");
            let (path, revision) = revision_behind(&path);
            return HubRef::of(&named.join("/"), path, revision);
        };
        let (name, revision) = segments[last].split_once('@').unwrap_or_default();
        let (revision, path) = revision_before(revision, &segments[last + 1..]);
        HubRef::of(&[&segments[..last], &[name]].concat().join("/"), &path, Some(&revision))
    }

    /// What a URL of the site means; `None` for every other URL, and for pages of the site that are no repository.
    pub(super) fn of_url(url: &SourceUrl) -> Option<Self> {
        let split = Split::of(url.canonical())?;
        let of_site = matches!(split.scheme, "http" | "https") && HOSTS.contains(&split.authority?);
        let segments: Vec<&str> = split.path.split('/').skip(1).collect();
        let first = *segments.first().filter(|first| of_site && !PAGES.contains(first))?;
        let named = match segments.iter().position(|segment| VIEWS.contains(segment)) {
            Some(view) => view,
            None => segments.len(),
        };
        let most = if KINDS.contains(&first) { 3 } else { 2 };
        let whole = named == most || (named == most - 1 && named < segments.len());
        let (name, rest) = segments.split_at(named);
        let (revision, path) = match rest {
            [] => (None, String::new()),
            [_view] => return None,
            [_view, first, rest @ ..] => {
                let (revision, path) = revision_before(first, rest);
                (Some(revision), path)
            }
        };
        HubRef::of(&name.join("/"), &path, revision.as_deref()).ok().filter(|_| whole)
    }

    /// Takes name, path and revision, the latter two percent-encoded.
    fn of(repository: &str, path: &str, revision: Option<&str>) -> Result<Self, UnusableReference> {
        if repository.is_empty() {
            return Err(UnusableReference::Empty);
        }
        if !repository.split('/').all(is_repository_name) || KINDS.contains(&repository) {
            return Err(UnusableReference::Repository);
        }
        let path = normalised(&decoded_text(path).ok_or(UnusableReference::Escape)?)?;
        let revision = revision.map(|text| decoded_text(text).ok_or(UnusableReference::Escape)).transpose()?;
        // A reference called refs could not be told from the beginning of refs/pr/N.
        if revision.as_ref().is_some_and(|revision| matches!(&**revision, "" | "refs")) {
            return Err(UnusableReference::Revision);
        }
        let revision = revision.filter(|revision| revision != "main").unwrap_or_default();
        if [&path, &revision].iter().any(|text| has_control(text.as_bytes())) {
            return Err(UnusableReference::Control);
        }
        let hub = HubRef { repository: repository.to_owned(), path, revision };
        if hub.to_string().len() > REFERENCE_BYTES { Err(UnusableReference::TooLong) } else { Ok(hub) }
    }

    /// Whether there is no organisation before the name.
    fn is_nobodys(&self) -> bool {
        let mut parts = self.repository.split('/');
        let kind = parts.next().is_some_and(|first| KINDS.contains(&first));
        parts.count() == usize::from(kind)
    }

    /// The repository: `org/repo`, `repo`, `datasets/org/repo`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The file or directory in it.
    pub fn path(&self) -> Option<&str> {
        Some(&*self.path).filter(|path| !path.is_empty())
    }

    /// The revision: a branch, tag or commit; `None` is `main`.
    pub fn revision(&self) -> Option<&str> {
        Some(&*self.revision).filter(|revision| !revision.is_empty())
    }
}

impl fmt::Display for HubRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut path, mut revision) = (String::new(), String::new());
        encode(&mut path, self.path.as_bytes(), "/:!$&'()*+,;=");
        encode(&mut revision, self.revision.as_bytes(), if is_special(&self.revision) { "/" } else { "" });
        write!(f, "hf:{}", self.repository)?;
        match (path.as_str(), revision.as_str()) {
            ("", "") => Ok(()),
            ("", revision) => write!(f, "@{revision}"),
            // The first part of the path would be read as the name of the repository.
            (path, "") if self.is_nobodys() => write!(f, "@main/{path}"),
            (path, revision) if self.is_nobodys() => write!(f, "@{revision}/{path}"),
            (path, "") => write!(f, "/{path}"),
            (path, revision) => write!(f, "/{path}@{revision}"),
        }
    }
}

impl fmt::Debug for HubRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn is_repository_name(name: &str) -> bool {
    let of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    (1..=HUB_NAME_BYTES).contains(&name.len()) && name.chars().all(of_name) && !matches!(name, "." | "..")
}

/// What stands behind a token of the site that was put in front as if it were the user of a URL: it is a secret, and no
/// repository is called so.
fn without_token(rest: &str) -> &str {
    match rest.trim_start_matches('/').split_once('@') {
        Some((user, repository)) if is_token(user) => repository,
        _ => rest,
    }
}

/// A revision behind a path: what stands behind the last `@`, unless there is a directory in it.
fn revision_behind(path: &str) -> (&str, Option<&str>) {
    match path.rsplit_once('@') {
        Some((path, revision)) if !revision.contains('/') || is_special(revision) => (path, Some(revision)),
        _ => (path, None),
    }
}

/// A revision before a path: one segment, or the three of `refs/pr/N`.
fn revision_before(first: &str, rest: &[&str]) -> (String, String) {
    let special = [&[first], &rest[..rest.len().min(2)]].concat().join("/");
    if is_special(&special) { (special, rest[2..].join("/")) } else { (first.to_owned(), rest.join("/")) }
}

/// The references with slashes that the site itself makes.
fn is_special(revision: &str) -> bool {
    let behind = revision.strip_prefix("refs/pr/").or_else(|| revision.strip_prefix("refs/convert/"));
    behind.is_some_and(|name| !name.is_empty() && !name.contains('/'))
}

fn normalised(path: &str) -> Result<String, UnusableReference> {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/').filter(|segment| !matches!(*segment, "" | ".")) {
        if segment == ".." {
            kept.pop().ok_or(UnusableReference::Climbs)?;
        } else {
            kept.push(segment);
        }
    }
    Ok(kept.join("/"))
}
