//! `[secrets]`: the texts that `$secret{alias}` stands for, and where they are kept.

use std::io::Read as _;

use super::Environment;
use super::placeholder::{Part, Text};

/// The longest secret that a file may hold, in bytes.
const MOST: u64 = 64 * 1024;

/// What `[secrets]` says of an alias.
pub(super) struct Entry {
    pub text: String,
    /// Byte offset in the user's file.
    pub offset: usize,
}

/// Where a secret is kept.
#[derive(Debug)]
pub(super) enum Kept {
    /// `"[plain text]"`: in the user's file itself.
    Plainly(String),
    /// `"$env{NAME}"`: in an environment variable.
    InEnvironment(String),
    /// `"file:/path"`: in a file of its own; the path may have environment variables.
    InFile(Text),
}

impl Entry {
    /// Where the secret is kept, or what is wrong with the entry.
    pub fn kept(&self) -> Result<Kept, String> {
        let plain = self.text.strip_prefix('[');
        if let Some(plain) = plain.and_then(|text| text.strip_suffix(']')) {
            return Ok(Kept::Plainly(plain.to_owned()));
        }
        let in_file = self.text.strip_prefix("file:");
        if let Some(path) = in_file.filter(|path| !path.is_empty()) {
            return Ok(Kept::InFile(Text::parse(path)));
        }
        match Text::parse(&self.text).parts.as_slice() {
            [Part::Env(name)] => Ok(Kept::InEnvironment(name.clone())),
            _ => Err(
                "values encrypted by WSO2's cipher tool cannot be read; write \"[plain text]\", \
                 \"$env{NAME}\" or \"file:/path\""
                    .to_owned(),
            ),
        }
    }
}

impl Kept {
    /// The secret itself, or why it cannot be had. The reason never holds what was read.
    pub fn read(&self, environment: &Environment<'_>) -> Result<String, String> {
        match self {
            Self::Plainly(text) => Ok(text.clone()),
            Self::InEnvironment(name) => variable(environment, name),
            Self::InFile(path) => {
                let mut resolved = String::new();
                for part in &path.parts {
                    match part {
                        Part::Plain(text) => resolved.push_str(text),
                        Part::Env(name) => resolved.push_str(&variable(environment, name)?),
                        _ => return Err("only $env{NAME} can stand in a path".to_owned()),
                    }
                }
                // file:///path is the same file as file:/path.
                let file = match resolved.strip_prefix("//") {
                    Some(rest) if rest.starts_with('/') => rest,
                    _ => &resolved,
                };
                content(file).map_err(|reason| format!("file {}: {reason}", path.written))
            }
        }
    }
}

/// An environment variable, which may be empty.
pub(super) fn variable(environment: &Environment<'_>, name: &str) -> Result<String, String> {
    environment(name).map_err(|error| {
        let rule = match error {
            std::env::VarError::NotPresent => "is not set",
            std::env::VarError::NotUnicode(_) => "is not UTF-8",
        };
        format!("$env{{{name}}}: the environment variable {rule}")
    })
}

/// The text of a file without the newline at its end.
fn content(file: &str) -> Result<String, String> {
    let open = std::fs::File::open(file).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    open.take(MOST + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MOST) {
        return Err(format!("a secret may have {MOST} bytes"));
    }
    let mut text = String::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}
