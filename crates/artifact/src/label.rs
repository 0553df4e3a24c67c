//! Labels: the names under which gateways subscribe.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The gateway environment that WSO2 API Manager 3.2.0 ships, used where no label is named.
pub const DEFAULT_LABEL: &str = "Production and Sandbox";

/// The name under which gateways subscribe, 1 to 255 characters, kept exactly as given.
///
/// Matches `GATEWAY_LABEL varchar(255)` of `AM_GW_API_ARTIFACTS`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = String))]
pub struct Label(String);

/// Why a text is not a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    #[error("a label must not be empty")]
    Empty,
    #[error("a label has at most 255 characters, this one has {0}")]
    TooLong(usize),
    #[error("a label must not hold control characters")]
    Control,
    /// Databases that compare texts without their trailing blanks would take two for one.
    #[error("a label must not begin or end with blanks")]
    Blanks,
}

impl Label {
    /// Parses a label.
    pub fn parse(text: impl Into<String>) -> Result<Self, LabelError> {
        let text = text.into();
        if text.trim().is_empty() {
            return Err(LabelError::Empty);
        }
        let characters = text.chars().count();
        if characters > 255 {
            return Err(LabelError::TooLong(characters));
        }
        if text.chars().any(char::is_control) {
            return Err(LabelError::Control);
        }
        if text.trim() != text {
            return Err(LabelError::Blanks);
        }
        Ok(Self(text))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Label {
    type Error = LabelError;

    fn try_from(text: String) -> Result<Self, LabelError> {
        Self::parse(text)
    }
}

impl std::str::FromStr for Label {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        Self::parse(text)
    }
}

impl From<Label> for String {
    fn from(label: Label) -> Self {
        label.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_names_of_one_to_255_characters() {
        assert_eq!(Label::parse(DEFAULT_LABEL).unwrap().as_str(), DEFAULT_LABEL);
        assert!(Label::parse("ä".repeat(255)).is_ok());
        assert_eq!(Label::parse("ä".repeat(256)), Err(LabelError::TooLong(256)));
        assert_eq!(Label::parse("  "), Err(LabelError::Empty));
        assert_eq!(Label::parse("a\nb"), Err(LabelError::Control));
    }

    #[test]
    fn json_refuses_what_parse_refuses() {
        assert!(serde_json::from_str::<Label>("\"\"").is_err());
        assert_eq!(
            serde_json::from_str::<Label>("\"Label1\"")
                .unwrap()
                .as_str(),
            "Label1"
        );
    }
}
