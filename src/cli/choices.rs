//! What the user chose of the store's options, and where: for this call (`--set`), in the environment, in the store's file.

use std::env;
use std::ffi::OsString;

use anyhow::Result;
use clap::builder::{StringValueParser, TypedValueParser};
use larder::format::options::{Chosen, OptionKey, OptionValue};

use super::fault::Fault;

/// Where the value of an option comes from, the weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    /// Nobody chose anything.
    Default,
    /// `larder.toml`.
    File,
    /// A variable of the environment.
    Environment,
    /// An option of the command line.
    Flag,
}

impl Origin {
    /// The word for it in JSON.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Origin::Default => "default",
            Origin::File => "file",
            Origin::Environment => "environment",
            Origin::Flag => "flag",
        }
    }
}

/// One `--set KEY=VALUE`, checked.
pub(crate) type Setting = (OptionKey, String);

/// Reads `KEY=VALUE`.
pub(crate) fn setting() -> impl TypedValueParser<Value = Setting> {
    StringValueParser::new().try_map(|text| {
        let (name, value) = text.split_once('=').ok_or_else(|| "it is no KEY=VALUE".to_owned())?;
        let key = OptionKey::of(name).ok_or_else(|| unknown(name))?;
        Chosen::default().set(key, value).map_err(|why| why.to_string())?;
        Ok::<_, String>((key, value.to_owned()))
    })
}

/// Reads the name of an option.
pub(crate) fn key() -> impl TypedValueParser<Value = OptionKey> {
    StringValueParser::new().try_map(|name| OptionKey::of(&name).ok_or_else(|| unknown(&name)))
}

/// That there is no such option, and which there are.
pub(crate) fn unknown(name: &str) -> String {
    let all: Vec<String> = OptionKey::all().map(OptionKey::name).collect();
    format!("there is no option {name:?}; there are {}", all.join(", "))
}

/// What was chosen for this call alone.
pub(crate) struct Choices {
    /// By `--set`.
    pub(crate) flags: Chosen,
    /// By the environment.
    pub(crate) environment: Chosen,
}

impl Choices {
    /// Those of this process. Wrong usage, which names the variable, for a value that an option may not have.
    pub(crate) fn of_process(set: &[Setting]) -> Result<Choices> {
        Choices::of(set, |name| env::var_os(name))
    }

    fn of(set: &[Setting], variable: impl Fn(&str) -> Option<OsString>) -> Result<Choices> {
        let (mut flags, mut environment) = (Chosen::default(), Chosen::default());
        for (key, value) in set {
            flags.set(*key, value).map_err(|why| Fault::usage("use --set", &why.to_string()))?;
        }
        for key in OptionKey::all() {
            let name = key.environment();
            let Some(value) = variable(&name).filter(|value| !value.is_empty()) else { continue };
            let attempt = || format!("use the variable {name}");
            let text = value.into_string().map_err(|_| Fault::usage(&attempt(), "it is not UTF-8"))?;
            environment.set(key, &text).map_err(|why| Fault::usage(&attempt(), &why.to_string()))?;
        }
        Ok(Choices { flags, environment })
    }

    /// What goes before the store's own file.
    pub(crate) fn over_file(&self) -> Chosen {
        self.environment.clone().and(&self.flags)
    }

    /// What an option is, and where that comes from, for a store whose file says `file`.
    pub(crate) fn resolve(&self, key: OptionKey, file: &Chosen) -> (OptionValue, Origin) {
        let chosen = [(&self.flags, Origin::Flag), (&self.environment, Origin::Environment), (file, Origin::File)];
        let first = chosen.into_iter().find_map(|(chosen, origin)| Some((chosen.get(key)?.clone(), origin)));
        first.unwrap_or_else(|| (key.default_value(), Origin::Default))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(all: &'static [(&str, &str)]) -> impl Fn(&str) -> Option<OsString> {
        |name| all.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
    }

    #[test]
    fn a_flag_goes_before_the_environment_before_the_file_before_the_default() {
        let key = OptionKey::LimitsMaxBytes;
        let mut file = Chosen::default();
        let none = || environment(&[]);
        let resolve = |choices: Choices, file: &Chosen| {
            let (value, origin) = choices.resolve(key, file);
            (value.to_string(), origin.word())
        };
        assert_eq!(resolve(Choices::of(&[], none()).unwrap(), &file), ("0".into(), "default"));
        file.set(key, "1").unwrap();
        assert_eq!(resolve(Choices::of(&[], none()).unwrap(), &file), ("1".into(), "file"));
        let set = || environment(&[("LARDER_LIMITS_MAX_BYTES", "2KiB"), ("LARDER_LIMITS_MIN_FREE", "")]);
        assert_eq!(resolve(Choices::of(&[], set()).unwrap(), &file), ("2048".into(), "environment"));
        let flags = [(key, "3".to_owned()), (key, "4".to_owned())];
        assert_eq!(resolve(Choices::of(&flags, set()).unwrap(), &file), ("4".into(), "flag"));
        assert!(Choices::of(&[], set()).unwrap().environment.get(OptionKey::LimitsMinFree).is_none());
    }

    #[test]
    fn a_wrong_value_is_told_with_the_variable_and_what_it_may_be() {
        let set = environment(&[("LARDER_CATALOG_BACKEND", "oracle")]);
        let error = Choices::of(&[], set).err().unwrap().to_string();
        for word in ["LARDER_CATALOG_BACKEND", "catalog.backend", "oracle", "embedded or sqlite"] {
            assert!(error.contains(word), "{error}");
        }
    }
}
