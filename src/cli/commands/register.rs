//! `larder register`: a model or document into the catalog, with its files.

mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::Result;
use larder::format::options::CatalogOptions;
use larder::store::Store;
use larder::work::catalog::register::{IfThere, NewVariant, Registered, Registration};
use larder::work::catalog::verify::Verified;
use larder::work::names::Target;
use larder::{Digest, Entry, EntryTarget, Key, ModelRef, Name, Prefix, SourceUrl, State};

use self::sources::Sources;
use super::add;
use crate::cli::context::{Access, Context};
use crate::cli::entries::{self, pair};
use crate::cli::exit::Exit;
use crate::cli::fault::Fault;
use crate::cli::json::Line;
use crate::cli::watch::Watch;
use crate::cli::{text, words};

/// The arguments of `larder register`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
KEY is model:PROVIDER/REFERENCE[@VERSION], a reference such as hf:ORG/REPO[@REVISION], or document:ARTIFACT with --url and \
--resolver. The same key is the same entry: registering it again changes nothing unless --if-registered says so.

Files are taken in and hashed, and the entry is active then; with --expect, bytes that are other than expected are kept \
for inspection, and the entry is failed (exit 3). A directory gives a variant for each of its files, all in one step. \
Without a file, the entry is pending.

Example:
  larder register model:hf/org/repo@v1 q4.gguf --expect sha256:9f86d0… --tag chat
  larder register hf:org/repo shards/ --meta architecture=llama
  larder register document:10.1234/x --url https://example.org/x.pdf --resolver unpaywall x.pdf
  larder register model:local/llama --blob models/llama.gguf --verify")]
pub(crate) struct Args {
    /// Which model or document it is
    #[arg(value_name = "KEY")]
    key: String,
    /// Its files, or directories of them; they get names in the store
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The version of a model, where KEY does not say it
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
    /// Where a document was downloaded from
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// What found a document
    #[arg(long, value_name = "NAME")]
    resolver: Option<String>,
    /// What is in the store already: a name with everything below it, or a digest; several times for several
    #[arg(long, value_name = "NAME|DIGEST", value_parser = words::scope(), conflicts_with = "paths")]
    blob: Vec<words::Scope>,
    /// Where its bytes are, when the store is not to have them: file:///PATH, s3://BUCKET/KEY
    #[arg(long, value_name = "URI", conflicts_with_all = ["paths", "blob"])]
    uri: Option<larder::StoredUri>,
    /// How many bytes it has, when the store is not to have them
    #[arg(long, value_name = "SIZE", value_parser = words::size, conflicts_with_all = ["paths", "blob"])]
    size: Option<u64>,
    /// The digest that its one file should have
    #[arg(long, value_name = "DIGEST")]
    expect: Option<Digest>,
    /// What the one file is called within the entry: q4, pdf, text
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,
    /// The name of the one file in the store [default: made of KEY and the file's own]
    #[arg(long, value_parser = words::name(), conflicts_with = "prefix")]
    name: Option<Name>,
    /// Goes before the names of the files in the store, in the place of what is made of KEY
    #[arg(long, value_parser = words::prefix())]
    prefix: Option<Prefix>,
    /// Take the files in by link, and take their old names away once they are kept
    #[arg(long = "move", conflicts_with = "link")]
    take: bool,
    /// Take the files in by link: they become read-only hardlinks to the blobs
    #[arg(long)]
    link: bool,
    /// How the names are kept [default: as the store is set]
    #[arg(long, value_enum, value_name = "HOW")]
    alias: Option<words::Alias>,
    /// Hash what --blob or --uri points at, and put on record what that shows
    #[arg(long)]
    verify: bool,
    /// What people call it
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
    /// Where it came from: a URL, kept without credentials
    #[arg(long, value_name = "URL")]
    source: Option<String>,
    /// Its media type
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// The run that brought it in
    #[arg(long, value_name = "RUN")]
    run: Option<String>,
    /// A word to find it by; several times for several
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// What to say of it
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// What is known of it: architecture=llama; several times for several
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    meta: Vec<(String, String)>,
    /// Where its bill of materials is
    #[arg(long, value_name = "URL")]
    sbom: Option<String>,
    /// Where its signature is
    #[arg(long, value_name = "URL")]
    signature: Option<String>,
    /// What becomes of an entry that is registered already
    #[arg(long, value_enum, value_name = "HOW", default_value_t)]
    if_registered: words::IfRegistered,
    /// Only show what would be done
    #[arg(long)]
    dry_run: bool,
}

impl Args {
    fn key(&self) -> Result<Key> {
        let said = |text: &Option<String>| text.clone().unwrap_or_default();
        let of_documents = self.url.is_some() || self.resolver.is_some();
        if let Some(artifact) = self.key.strip_prefix("document:") {
            if self.version.is_some() {
                return Err(Fault::usage("register this", "a document has no --version").into());
            }
            return Ok(Key::document(artifact, &self.without_secrets(&self.url)?, &said(&self.resolver))?);
        }
        if of_documents {
            return Err(Fault::usage("register this", "--url and --resolver are for a document: KEY").into());
        }
        let (provider, reference, version) = if self.key.starts_with("model:") {
            match self.key.parse::<EntryTarget>()? {
                EntryTarget::Model { provider, reference, version } => (provider, reference, version),
                _ => unreachable!("what begins with model: is a model"),
            }
        } else {
            let meant = ModelRef::parse(&self.key).map_err(|e| e.of(&self.key))?;
            if meant.local_path().is_some() && !self.key.contains(':') {
                let reason = "KEY is model:PROVIDER/REFERENCE[@VERSION], hf:ORG/REPO or document:ARTIFACT";
                return Err(Fault::usage(&format!("register {:?}", self.key), reason).into());
            }
            let version = meant.version().map(str::to_owned);
            (meant.provider().to_owned(), meant.reference().into_owned(), version)
        };
        if self.version.is_some() && version.as_ref().is_some_and(|version| Some(version) != self.version.as_ref()) {
            return Err(Fault::usage("register this", "KEY and --version say two versions").into());
        }
        let version = version.or(self.version.clone()).unwrap_or_default();
        Ok(Key::model(&provider, &reference, &version)?)
    }

    /// A URL as it may be stored.
    fn without_secrets(&self, url: &Option<String>) -> larder::Result<String> {
        match url.as_deref() {
            None | Some("") => Ok(String::new()),
            Some(text) => Ok(text.parse::<SourceUrl>()?.canonical().to_owned()),
        }
    }

    fn registration(&self, key: Key) -> larder::Result<Registration> {
        let said = |text: &Option<String>| text.clone().unwrap_or_default();
        let metadata: BTreeMap<String, String> = self.meta.iter().cloned().collect();
        let tags: BTreeSet<String> = self.tag.iter().cloned().collect();
        Ok(Registration {
            title: said(&self.title),
            source: self.without_secrets(&self.source)?,
            content_type: said(&self.content_type),
            run: said(&self.run),
            metadata,
            tags,
            notes: said(&self.note),
            sbom: self.without_secrets(&self.sbom)?,
            signature: self.without_secrets(&self.signature)?,
            ..Registration::new(key)
        })
    }

    fn if_there(&self) -> IfThere {
        self.if_registered.into()
    }

    /// What clap cannot see: arguments that are fine alone and make no sense together.
    fn check(&self) -> Result<(), Fault> {
        let several = self.paths.len() > 1 || self.blob.len() > 1;
        let wrong = |reason| Err(Fault::usage("register this", reason));
        let taken_in = self.take || self.link || self.alias.is_some() || self.name.is_some() || self.prefix.is_some();
        match () {
            () if several && self.expect.is_some() => wrong("--expect is for one file"),
            () if several && self.variant.is_some() => wrong("--variant is for one file"),
            () if several && self.name.is_some() => wrong("--name is for one file; --prefix takes several"),
            () if taken_in && self.paths.is_empty() => wrong("there is no file to be taken in"),
            () if self.verify && self.blob.is_empty() && self.uri.is_none() => {
                wrong("--verify is for --blob and --uri: files are hashed as they are taken in")
            }
            () => Ok(()),
        }
    }
}

/// Registers.
pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit> {
    args.check()?;
    let registration = args.registration(args.key()?)?;
    // What cannot be registered is not taken in.
    registration.check()?;
    let store = if args.dry_run { context.open(Access::Read)? } else { add::store(context)?.0 };
    let there = store.entry(&registration.key)?;
    if let Some(there) = &there {
        match args.if_there() {
            IfThere::Keep => return tell(context, args, &store, "kept", there, None),
            IfThere::Refuse => return Err(taken(context, there).into()),
            IfThere::Merge => {}
        }
    }
    let sources = Sources::of(args, &store, &registration.key)?;
    if args.dry_run {
        return would(context, &registration.key, &sources, there.is_some());
    }
    let watch = Watch::new(context);
    let registered = register(args, &store, registration, sources, &watch);
    watch.finish();
    let Some((registered, verified)) = registered? else {
        let told = "register it";
        let reason = "not all of its files could be taken in, and it is not registered";
        let hint = "what was taken in stays under its name; run the same command again once the rest can be".to_owned();
        let fault = Fault::failed(larder::ErrorKind::Damaged, told, reason, hint);
        return Err(if context.interrupt.asked() { interrupted().into() } else { fault.into() });
    };
    let status = match (registered.new, args.if_there()) {
        (true, _) => "new",
        (false, IfThere::Merge) => "merged",
        (false, _) => "kept",
    };
    tell(context, args, &store, status, &registered.entry, verified.as_ref())
}

fn interrupted() -> larder::Error {
    larder::Error::new(larder::ErrorKind::Interrupted, "register it", "it was stopped before its end")
}

fn taken(context: &Context, there: &Entry) -> Fault {
    let attempt = format!("register {}", there.card.key);
    let reason = format!("it is registered already (entry:{})", there.id());
    let again = context.again();
    let hint = format!("--if-registered merge adds to it; `{again} show entry:{}` tells what it is", there.id());
    Fault { exit: Exit::Findings, ..Fault::failed(larder::ErrorKind::Taken, &attempt, &reason, hint) }
}

/// Takes the files in, and puts the entry on record; `None` where a file could not be taken in.
fn register(
    args: &Args,
    store: &Store,
    mut registration: Registration,
    sources: Sources,
    watch: &Watch<'_>,
) -> larder::Result<Option<(Registered, Option<Verified>)>> {
    let hashed = !args.paths.is_empty();
    let Some(variants) = sources.take_in(store, watch)? else { return Ok(None) };
    registration.variants = variants;
    if registration.variants.is_empty() && (args.uri.is_some() || args.size.is_some() || args.expect.is_some()) {
        registration.variants.push(NewVariant {
            name: args.variant.clone().unwrap_or_default(),
            uri: args.uri.as_ref().map(ToString::to_string).unwrap_or_default(),
            size_bytes: args.size,
            ..NewVariant::default()
        });
    }
    if let (Some(expect), [one]) = (args.expect, registration.variants.as_mut_slice()) {
        one.expected = Some(expect);
    }
    registration.hashed_by = hashed.then(|| "register".to_owned());
    let key = registration.key.clone();
    let mut all = store.register(vec![registration], args.if_there())?;
    let mut registered = all.pop().expect("one was registered");
    let verified = match args.verify || reads_back(&store.options().catalog, &registered.entry) {
        true => Some(store.verify_entry(&key, None, None, "register", watch)?),
        false => None,
    };
    if let Some(verified) = &verified {
        registered.entry = verified.entry.clone();
    }
    Ok(Some((registered, verified)))
}

/// Whether the options of the store want an entry read back that was registered just now.
fn reads_back(options: &CatalogOptions, entry: &larder::Entry) -> bool {
    let in_store = entry.variants.iter().all(|variant| variant.digest.is_some());
    options.verify_on_register && !entry.variants.is_empty() && (in_store || options.compute_sha256)
}

fn would(context: &Context, key: &Key, sources: &Sources, there: bool) -> Result<Exit> {
    let status = if there { "merged" } else { "new" };
    if context.out.json() {
        let line = Line::event("would_register").with("id", key.id().to_string()).with("key", key.to_string());
        let line = line.with("status", status).list(
            "variants",
            sources.shown().map(|(variant, target)| {
                let line = Line::part().with("name", variant);
                match target {
                    Target::Name(name) => line.bytes("alias", name.as_bytes()),
                    Target::Digest(digest) => line.with("digest", digest.to_string()),
                }
            }),
        );
        context.out.object(line)?;
        return Ok(Exit::Done);
    }
    let verb = if there { "Would add to" } else { "Would register" };
    context.out.say(&format!("{verb} {} (entry:{})", text::message(&key.to_string()), key.id()));
    for (variant, target) in sources.shown() {
        let variant = if variant.is_empty() { "(the whole)".to_owned() } else { text::message(variant) };
        context.out.say(&format!("  {variant}  {}", words::spoken(target)));
    }
    Ok(Exit::Done)
}

fn tell(
    context: &Context,
    args: &Args,
    store: &Store,
    status: &str,
    entry: &Entry,
    verified: Option<&Verified>,
) -> Result<Exit> {
    if context.out.json() {
        let event = if args.dry_run { "would_register" } else { "registered" };
        let line = Line::event(event).with("status", status).fields_of(&larder::format::manifest::fields(entry));
        context.out.object(line)?;
    } else {
        let word = match status {
            "new" => "Registered",
            "merged" => "Added to",
            _ => "Registered already:",
        };
        context.out.summary(&format!("{word} {} (entry:{})", entries::name(entry), entry.id()));
        if context.out.verbose() {
            context.out.say(&entries::words(context, entry));
        }
        context.warn_of_scratch(store);
    }
    let mismatched = status != "kept" && entry.card.state == State::Failed;
    if mismatched && !context.out.json() {
        let again = context.again();
        context.out.warn(&format!(
            "larder: its bytes are other than expected; they are kept for inspection, and the entry is failed: `{again} show \
             entry:{}` tells which",
            entry.id()
        ));
    }
    let unread = verified.is_some_and(|verified| !verified.is_good());
    Ok(if mismatched || unread { Exit::Findings } else { Exit::Done })
}
