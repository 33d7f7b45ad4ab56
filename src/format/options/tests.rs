use super::*;

fn chosen(all: &[(&str, &str)]) -> Chosen {
    let mut chosen = Chosen::default();
    for (name, text) in all {
        chosen.set(OptionKey::of(name).unwrap(), text).unwrap();
    }
    chosen
}

#[test]
fn every_option_has_a_name_of_its_own_and_a_default_that_it_may_be() {
    let mut names = std::collections::BTreeSet::new();
    for key in OptionKey::all() {
        assert_eq!(OptionKey::of(&key.name()), Some(key));
        assert!(names.insert(key.environment()), "{key:?}");
        let default = key.default_value();
        assert!(key.checked(default.clone()) == Some(default) || key == OptionKey::StorageRootDir, "{key:?}");
        assert!(!key.allowed().is_empty());
    }
    assert_eq!(OptionKey::CatalogVerifyOnRegister.environment(), "LARDER_CATALOG_VERIFY_ON_REGISTER");
    assert_eq!((OptionKey::of("catalog"), OptionKey::of("limits.backend"), OptionKey::of("")), (None, None, None));
}

#[test]
fn the_defaults_are_those_that_are_promised() {
    let options = Options::default();
    assert_eq!((options.storage.backend, options.storage.layout), (StorageBackend::Fs, PathLayout::PolicyPath));
    assert!(options.storage.hardlink_dedup && options.storage.s3_bucket.is_empty());
    assert_eq!((options.storage.s3_prefix.as_str(), options.storage.s3_storage_class.as_str()), ("docs/", "STANDARD"));
    let catalog = options.catalog;
    assert_eq!((catalog.backend, catalog.path.as_str()), (CatalogBackend::Embedded, "state/catalog.sqlite"));
    assert!(catalog.enabled && catalog.wal_mode && catalog.compute_sha256 && !catalog.verify_on_register);
    assert_eq!((catalog.retention_days, catalog.orphan_ttl_days), (0, 7));
    assert_eq!(options.limits, LimitOptions { max_bytes: 0, min_free: 0, trash_ttl_days: 7 });
}

#[test]
fn what_was_chosen_last_holds() {
    let file = chosen(&[("catalog.backend", "sqlite"), ("limits.max_bytes", "1KiB"), ("storage.layout", "cas")]);
    let call = chosen(&[("limits.max_bytes", "2MB"), ("catalog.retention_days", "30")]);
    let options = Options::of(&file.clone().and(&call));
    assert_eq!((options.catalog.backend, options.storage.layout), (CatalogBackend::Sqlite, PathLayout::Cas));
    assert_eq!((options.limits.max_bytes, options.catalog.retention_days), (2_000_000, 30));
    assert_eq!(Options::of(&file).limits.max_bytes, 1024);
    let fixed = file.filtered(OptionKey::is_fixed);
    assert_eq!(fixed.iter().map(|(key, _)| key.name()).collect::<Vec<_>>(), ["catalog.backend"]);
}

#[test]
fn what_an_option_may_not_be_is_refused_by_name() {
    let bad = [
        ("storage.backend", "gcs"),
        ("storage.backend", "S3"),
        ("storage.cas_prefix", "blobs"),
        ("storage.s3_bucket", "a/b"),
        ("storage.s3_storage_class", ""),
        ("storage.s3_prefix", "a\nb"),
        ("storage.root_dir", ""),
        ("catalog.path", "/etc/passwd"),
        ("catalog.path", "a/../../b"),
        ("catalog.path", ""),
        ("catalog.path", "larder.toml"),
        ("catalog.path", "lock"),
        ("catalog.path", "Uses.aside"),
        ("catalog.path", "journal/catalog.sqlite"),
        ("catalog.wal_mode", "yes"),
        ("catalog.retention_days", "-1"),
        ("catalog.retention_days", "100001"),
        ("limits.max_bytes", "1XB"),
        ("limits.max_bytes", "99999999PiB"),
        ("limits.max_bytes", "kib"),
        ("limits.min_free", "18446744073709551615"),
    ];
    for (name, text) in bad {
        let key = OptionKey::of(name).unwrap();
        let error = Chosen::default().set(key, text).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains(&key.allowed()), "{error}");
    }
    for (text, size) in [("0", 0), ("7", 7), ("7 b", 7), ("2KiB", 2048), ("3 GB", 3_000_000_000), ("1pib", 1 << 50)] {
        assert_eq!(OptionKey::LimitsMinFree.read(text), Some(OptionValue::Number(size)), "{text}");
    }
}

#[test]
fn the_document_has_every_option_with_its_variable_its_default_and_what_it_may_be() {
    let document = include_str!("../../../docs/options.md");
    for key in OptionKey::all() {
        let default = match (key, key.default_value().to_string()) {
            (OptionKey::StorageRootDir, _) => " the data home ".to_owned(),
            (_, none) if none.is_empty() => " ".to_owned(),
            (_, text) => format!(" `{text}` "),
        };
        let row = format!("| `{}` | `{}` |{default}| {} |", key.name(), key.environment(), key.allowed());
        assert!(document.contains(&row), "docs/options.md has no row {row}");
        assert!(document.matches(&format!("`{}`", key.name())).count() > 1, "docs/options.md does not explain {key:?}");
    }
    let settled = document.split_once("## What is settled").expect("a chapter on it").1;
    for key in OptionKey::all() {
        assert_eq!(settled.contains(&format!("`{}`", key.name())), key.is_fixed(), "{key:?}");
    }
}
