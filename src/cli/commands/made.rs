//! What `get` and `checkout` tell when files have been made.

use std::time::Duration;

use larder::work::materialize::MaterializeReport;

use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::json::Line;
use crate::cli::text;

/// Tells, and says how the program ends.
pub(super) fn report(context: &Context, made: &MaterializeReport, time: Duration) -> Exit {
    if context.out.json() {
        context.out.tell(line(made, time));
    } else {
        context.out.summary(&words(context, made, time));
    }
    Exit::of_work(made.failed, made.interrupted)
}

fn line(made: &MaterializeReport, time: Duration) -> Line {
    let fallbacks =
        made.fallbacks.iter().map(|(reason, files)| Line::part().with("reason", reason).with("files", files));
    Line::event("summary")
        .with("files", made.files)
        .with("bytes", made.bytes)
        .with("hardlinked", made.hardlinked)
        .with("reflinked", made.reflinked)
        .with("copied", made.copied)
        .with("symlinked", made.symlinked)
        .with("unchanged", made.unchanged)
        .with("failed", made.failed)
        .with("not_restored", made.not_restored)
        .list("fallbacks", fallbacks)
        .with("interrupted", made.interrupted)
        .with("seconds", time.as_secs_f64())
        .path("destination", &made.destination)
}

fn words(context: &Context, made: &MaterializeReport, time: Duration) -> String {
    let mut lines = vec![format!(
        "Made {}, {}, in {}: {}",
        text::count(made.files, "file"),
        context.size(made.bytes),
        text::path(&made.destination),
        modes(made)
    )];
    if made.files > 1 {
        lines.push(format!("  took       {}: {}", text::took(time), text::speed(made.files, made.bytes, time)));
    }
    lines.extend(
        made.fallbacks
            .iter()
            .map(|(reason, files)| format!("  fell back  {}: {}", text::count(*files, "file"), text::message(reason))),
    );
    if made.unchanged > 0 {
        lines.push(format!("  unchanged  {}: there already", text::count(made.unchanged, "file")));
    }
    if made.not_restored > 0 {
        let files = text::count(made.not_restored, "file");
        lines.push(format!("  not as it was  {files}: a link cannot have its own mtime and executable bit"));
    }
    if made.failed > 0 {
        lines.push(format!("  failed     {}, named above", text::count(made.failed, "file")));
    }
    if made.interrupted {
        lines.push("  stopped    before its end; what is counted here is made".to_owned());
    }
    lines.join("\n")
}

fn modes(made: &MaterializeReport) -> String {
    let modes = [
        (made.hardlinked, "by hardlink"),
        (made.reflinked, "by reflink"),
        (made.copied, "by copy"),
        (made.symlinked, "by symlink"),
    ];
    let used: Vec<_> =
        modes.iter().filter(|(count, _)| *count > 0).map(|(count, how)| format!("{count} {how}")).collect();
    if used.is_empty() { "nothing to do".to_owned() } else { used.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::Verbosity;
    use crate::cli::tests::context;

    #[test]
    fn a_fall_back_is_told_with_its_reason() {
        let made = MaterializeReport {
            files: 2,
            bytes: 10,
            copied: 2,
            fallbacks: vec![("the filesystem cannot reflink".to_owned(), 2)],
            destination: "/d".into(),
            ..MaterializeReport::default()
        };
        let (context, out, _) = context("get", false, Verbosity::Normal);
        assert_eq!(report(&context, &made, Duration::from_secs(1)), Exit::Done);
        assert!(out.text().contains("Made 2 files, 10 B, in /d: 2 by copy\n"), "{}", out.text());
        assert!(out.text().contains("2 files: the filesystem cannot reflink"));
    }

    #[test]
    fn partly_made_is_a_finding() {
        let made = MaterializeReport { failed: 1, ..MaterializeReport::default() };
        let (context, out, _) = context("checkout", true, Verbosity::Normal);
        assert_eq!(report(&context, &made, Duration::ZERO), Exit::Findings);
        let value: serde_json::Value = serde_json::from_str(&out.text()).unwrap();
        assert_eq!((&value["schema"], &value["event"], &value["failed"]), (&1.into(), &"summary".into(), &1.into()));
    }
}
