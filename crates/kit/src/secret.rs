//! Text that must not be shown.

use std::fmt;

use serde::Deserialize;

/// A password or another text that must not be shown. It has no `Display`, and its `Debug` tells
/// only whether there is one; the text itself comes out by [`Secret::expose`].
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// `text` as a secret; it may be empty, which means that there is none.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that has to send it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.is_empty() {
            "Secret(empty)"
        } else {
            "Secret(********)"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_shown_by_nothing_but_expose() {
        let secret = Secret::new("wso2carbon");
        assert_eq!(secret.expose(), "wso2carbon");
        assert_eq!(format!("{secret:?}"), "Secret(********)");
        assert_eq!(format!("{:?}", Secret::default()), "Secret(empty)");
        let read: Secret = serde_json::from_str("\"wso2carbon\"").unwrap();
        assert_eq!(read, secret);
    }
}
