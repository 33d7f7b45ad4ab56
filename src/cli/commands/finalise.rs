//! `larder finalise`: takes a finished download in, with where it came from.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use larder::work::finalise::{FinaliseOptions, Finalised, Finished};
use larder::{Digest, EntryTarget, ErrorKind, Key, ModelRef, Name};

use super::add;
use crate::cli::context::Context;
use crate::cli::entries::pair;
use crate::cli::exit::Exit;
use crate::cli::fault::Fault;
use crate::cli::json::Line;
use crate::cli::watch::Watch;
use crate::cli::{text, words};

/// The arguments of `larder finalise`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
FILE is hashed, kept once, named and registered, all or nothing. It goes away only after that is durable. What else is \
done (the layout, the catalog, reading back) is said by the options of the store: see `larder config show`.

Example:
  larder finalise /tmp/x.part --artifact 10.1000/x --url https://example.org/x.pdf --resolver unpaywall
  larder finalise model.gguf.part --model hf:org/repo@v1 --url https://example.org/model.gguf --expect sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
pub(crate) struct Args {
    /// The finished temporary file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The id of the document's artifact
    #[arg(long, value_name = "ID", required_unless_present = "model", conflicts_with = "model")]
    artifact: Option<String>,
    /// What found the document
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true, conflicts_with = "model")]
    resolver: String,
    /// The model: hf:ORG/REPO@VERSION, or model:PROVIDER/REFERENCE@VERSION
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// Where it was downloaded from
    #[arg(long, value_name = "URL", default_value = "", hide_default_value = true)]
    url: String,
    /// What the file is called within its entry; without it, it stands for the whole
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    variant: String,
    /// The digest that it should have
    #[arg(long, value_name = "DIGEST")]
    expect: Option<Digest>,
    /// Its media type
    #[arg(long, value_name = "TYPE", default_value = "", hide_default_value = true)]
    content_type: String,
    /// The run that brought it in
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    run: String,
    /// What people call it
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    title: String,
    /// A word to find it by; as often as needed
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Anything else that is known of it; as often as needed
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    meta: Vec<(String, String)>,
    /// The name that it gets, in place of the one that follows from where it came from
    #[arg(long, value_name = "NAME", value_parser = words::name())]
    name: Option<Name>,
    /// What becomes of an entry that is registered already
    #[arg(long, value_enum, value_name = "HOW", default_value_t = words::IfRegistered::Merge)]
    if_registered: words::IfRegistered,
    /// Leave FILE where it is
    #[arg(long)]
    leave: bool,
}

impl Args {
    fn key(&self) -> larder::Result<Key> {
        let Some(model) = &self.model else {
            return Key::download(self.artifact.as_deref().unwrap_or_default(), &self.url, &self.resolver);
        };
        if let Some(EntryTarget::Model { provider, reference, version }) =
            EntryTarget::is_meant(model).then(|| model.parse()).transpose()?
        {
            return Key::model(&provider, &reference, &version.unwrap_or_default());
        }
        Key::of_model(&ModelRef::parse(model).map_err(|why| why.of(model))?)
    }

    fn finished(&self) -> larder::Result<Finished> {
        let mut what = Finished::new(self.key()?);
        what.variant.clone_from(&self.variant);
        what.expected = self.expect;
        what.content_type.clone_from(&self.content_type);
        if self.model.is_some() && !self.url.is_empty() {
            what.called.clone_from(&self.url);
            what.registration.source =
                Key::download("source", &self.url, "")?.source_url().unwrap_or_default().to_owned();
        }
        let registration = &mut what.registration;
        registration.content_type.clone_from(&self.content_type);
        registration.run.clone_from(&self.run);
        registration.title.clone_from(&self.title);
        registration.tags.extend(self.tag.iter().cloned());
        registration.metadata = self.meta.iter().cloned().collect::<BTreeMap<_, _>>();
        Ok(what)
    }

    fn options(&self, store: &larder::Store) -> FinaliseOptions {
        FinaliseOptions {
            name: self.name.clone(),
            if_there: self.if_registered.into(),
            leave: self.leave,
            ..FinaliseOptions::of(store.options())
        }
    }
}

/// Finalises.
pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit> {
    let what = args.finished()?;
    let (store, _) = add::store(context)?;
    let watch = Watch::new(context);
    let done = store.finalise(&args.file, what, Some(&args.options(&store)), &watch);
    watch.finish();
    let done = match done {
        Err(e) if e.kind() == ErrorKind::Taken => return Err(taken(&e).into()),
        other => other?,
    };
    if context.out.json() {
        context.out.tell(line(&done));
    } else {
        context.out.summary(&words(context, &done));
        context.warn_of_scratch(&store);
    }
    Ok(if done.is_good() { Exit::Done } else { Exit::Findings })
}

fn taken(error: &larder::Error) -> Fault {
    let hint =
        "the file is where it was; --if-registered merge brings an entry up to date, --name chooses another name";
    Fault { message: error.to_string(), hint: Some(hint.to_owned()), exit: Exit::Failed, kind: "taken" }
}

fn line(done: &Finalised) -> Line {
    let line = Line::event("finalised")
        .with("digest", done.digest.to_string())
        .with("size_bytes", done.size_bytes)
        .with("status", done.status.word())
        .path("path", &done.path)
        .with("uri", done.uri.to_string());
    let line = match &done.name {
        Some(name) => line.name(name),
        None => line.with("name", ()),
    };
    let entry = done.entry.as_ref();
    line.with("entry", entry.map(|entry| entry.id().to_string()))
        .with("key", entry.map(|entry| entry.card.key.to_string()))
        .with("entry_new", done.entry_new)
        .with("state", entry.map(|entry| entry.card.state.word()))
        .with("trust", entry.map(|entry| entry.card.trust.word()))
        .with("verified", done.verified.as_ref().map(|verified| verified.is_good()))
        .with("left", &done.left)
}

fn words(context: &Context, done: &Finalised) -> String {
    let mut lines = vec![format!(
        "{}: {}, {}, {}",
        text::path(&done.path),
        done.digest,
        context.size(done.size_bytes),
        done.status.word()
    )];
    lines.extend(done.entry.as_ref().map(|entry| {
        let (new, key) =
            (if done.entry_new { "registered" } else { "known" }, text::message(&entry.card.key.to_string()));
        format!(
            "  entry      {key} (entry:{}), {new}, {}, {}",
            entry.id(),
            entry.card.state.word(),
            entry.card.trust.word()
        )
    }));
    if !done.is_good() {
        lines.push(match done.name {
            None => "  its bytes are not what they should be; they are kept to be looked at, under no name".to_owned(),
            Some(_) => "  the entry is failed: not all of its bytes are what they should be".to_owned(),
        });
    }
    lines.extend(done.left.iter().map(|why| format!("  left       {}", text::message(why))));
    lines.join("\n")
}
