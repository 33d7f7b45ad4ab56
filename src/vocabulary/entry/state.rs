//! The life of an entry, and how far its bytes are to be trusted.

use serde::{Deserialize, Serialize};

use super::super::error::{Error, ErrorKind, Result};

/// Where an entry is in its life (R44).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum State {
    /// Registered; its bytes were not verified yet.
    Pending,
    /// Its bytes were verified.
    Active,
    /// Not to be used any more.
    Retired,
    /// Its bytes were not those that were expected.
    Failed,
}

/// What moves an entry from one state to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Its bytes were hashed.
    Verification,
    /// It was registered with other bytes, which nobody has hashed.
    Change,
    /// Somebody said so.
    Hand,
    /// A rule of retention says so.
    Rule,
}

impl State {
    /// All of them.
    pub const ALL: [State; 4] = [State::Pending, State::Active, State::Retired, State::Failed];

    /// The word for it in JSON and on the terminal.
    pub fn word(self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::Active => "active",
            State::Retired => "retired",
            State::Failed => "failed",
        }
    }

    /// The state of this word, in any case.
    pub fn of_word(word: &str) -> Option<Self> {
        State::ALL.into_iter().find(|state| state.word().eq_ignore_ascii_case(word))
    }

    /// Whether an entry may go from this state to `to`; to stay is always allowed.
    ///
    /// Only verification makes an entry active or failed. By hand, whatever is not pending can be taken back to that, to be
    /// verified again, but for what is active: that only other bytes do. Anything can be retired, and stays that until
    /// somebody says otherwise.
    pub fn may_become(self, to: State, by: By) -> bool {
        match (self, to, by) {
            (from, to, _) if from == to => true,
            (State::Pending | State::Active | State::Failed, State::Active | State::Failed, By::Verification) => true,
            (State::Retired | State::Failed, State::Pending, By::Hand) => true,
            (State::Active | State::Failed, State::Pending, By::Change) => true,
            (_, State::Retired, By::Hand | By::Rule) => true,
            _ => false,
        }
    }

    /// `to`, or [`ErrorKind::IllegalTransition`] with what may be done instead.
    pub fn transition(self, to: State, by: By) -> Result<State> {
        if self.may_become(to, by) {
            return Ok(to);
        }
        let remedy = match (self, to) {
            (State::Retired, State::Active | State::Failed) => "it is retired: make it pending, then verify it",
            (_, State::Active | State::Failed) => "only verifying its bytes does that",
            (State::Active, State::Pending) => "its bytes were verified already",
            _ => "nothing does that",
        };
        let attempt = format!("make an entry {} that is {}", to.word(), self.word());
        Err(Error::new(ErrorKind::IllegalTransition, attempt, remedy))
    }
}

/// How far an entry's bytes are to be trusted (R45), whatever its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Trust {
    /// Nobody has hashed them, or they were not what they should be.
    Unverified,
    /// They were hashed, but nobody had said what they should be.
    Warned,
    /// They are what somebody said they should be.
    Verified,
}

impl Trust {
    /// All of them.
    pub const ALL: [Trust; 3] = [Trust::Unverified, Trust::Warned, Trust::Verified];

    /// The word for it in JSON and on the terminal.
    pub fn word(self) -> &'static str {
        match self {
            Trust::Unverified => "unverified",
            Trust::Warned => "warned",
            Trust::Verified => "verified",
        }
    }

    /// The trust of this word, in any case.
    pub fn of_word(word: &str) -> Option<Self> {
        Trust::ALL.into_iter().find(|trust| trust.word().eq_ignore_ascii_case(word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_transitions() {
        use State::{Active, Failed, Pending, Retired};
        let table = [
            (By::Verification, vec![(Pending, Active), (Pending, Failed), (Active, Failed), (Failed, Active)]),
            (
                By::Hand,
                vec![(Pending, Retired), (Active, Retired), (Failed, Retired), (Retired, Pending), (Failed, Pending)],
            ),
            (By::Change, vec![(Active, Pending), (Failed, Pending)]),
            (By::Rule, vec![(Pending, Retired), (Active, Retired), (Failed, Retired)]),
        ];
        for (by, legal) in table {
            for from in State::ALL {
                for to in State::ALL {
                    let expected = from == to || legal.contains(&(from, to));
                    assert_eq!(from.may_become(to, by), expected, "{from:?} to {to:?} by {by:?}");
                    let outcome = from.transition(to, by);
                    match expected {
                        true => assert_eq!(outcome.unwrap(), to),
                        false => assert_eq!(outcome.unwrap_err().kind(), ErrorKind::IllegalTransition),
                    }
                }
            }
        }
    }

    #[test]
    fn words_read_back() {
        for state in State::ALL {
            assert_eq!(State::of_word(&state.word().to_uppercase()), Some(state));
        }
        for trust in Trust::ALL {
            assert_eq!(Trust::of_word(trust.word()), Some(trust));
        }
        assert_eq!((State::of_word("gone"), Trust::of_word("")), (None, None));
    }
}
