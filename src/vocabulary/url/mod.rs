//! Where things come from, as URLs: read, brought to one spelling, and shown without their secrets.
//!
//! Everything here is total: no text makes it panic, and what it refuses it refuses with an [`UnusableReference`].

mod base;
mod local;
mod percent;
mod redact;
mod secret;
mod source;
mod split;
mod unusable;

pub use base::{base_name_of_url, policy_name};
pub use local::LocalPath;
pub use redact::redacted;
pub use source::SourceUrl;
pub use unusable::UnusableReference;

pub(in crate::vocabulary) use percent::{decoded, decoded_text, encode};
pub(in crate::vocabulary) use secret::is_token;
pub(in crate::vocabulary) use split::{Split, without_scheme};
