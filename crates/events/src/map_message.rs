//! The body of a JMS MapMessage, as the client libraries of API Manager's broker encode it: in
//! their default form (`amqp/map`) and in the legacy one (`jms/map-message`).
//!
//! Bytes in, values out; what the values mean is not known here. No input makes a reader panic,
//! recurse without bound or allocate more than a fixed multiple of the body's length.

mod amqp;
mod cursor;
mod jms;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

pub use amqp::{read_amqp_map, write_amqp_map};
pub use jms::read_jms_map;

/// Content type of the default encoding: the map of AMQP 0-10.
pub const AMQP_MAP: &str = "amqp/map";
/// Content type of the legacy encoding.
pub const JMS_MAP: &str = "jms/map-message";
/// How many levels of maps and lists a value may have. A real notification has none.
pub const MAX_DEPTH: usize = 16;
/// How many bytes of UTF-8 a key may have: its length is written in one byte.
pub const MAX_KEY_BYTES: usize = 255;

/// Keys and values in the order of the wire. A key may stand there twice: the last one counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MapMessage {
    entries: Vec<(String, Value)>,
}

/// A value, by its type on the wire. All numbers are big-endian there.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Boolean(bool),
    Byte(i8),
    UnsignedByte(u8),
    Short(i16),
    UnsignedShort(u16),
    Int(i32),
    UnsignedInt(u32),
    Long(i64),
    UnsignedLong(u64),
    /// Written from Java's milliseconds since the epoch; the unit is not part of the encoding.
    DateTime(i64),
    Float(f32),
    Double(f64),
    /// One UTF-16 code unit, as Java has it; it may be half of a surrogate pair.
    Char(u16),
    Bytes(Vec<u8>),
    String(String),
    /// Most significant byte first.
    Uuid([u8; 16]),
    Map(MapMessage),
    List(Vec<Self>),
}

/// Why bytes are not a map, or a map cannot be written. `at` is an offset in the body, in bytes
/// from its start; no variant holds a part of the body's content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MapMessageError {
    #[error("byte {at}: {what} needs {needs} bytes, {left} are left")]
    Truncated {
        what: &'static str,
        at: usize,
        needs: usize,
        left: usize,
    },
    #[error("byte {at}: {count} {what} cannot be in the {left} bytes that are left")]
    TooMany {
        what: &'static str,
        at: usize,
        count: usize,
        left: usize,
    },
    #[error("byte {at}: {what} is negative")]
    Negative { what: &'static str, at: usize },
    #[error("byte {at}: unknown type code 0x{code:02x}")]
    UnknownType { code: u8, at: usize },
    #[error("byte {at}: {what} is not UTF-8")]
    NotUtf8 { what: &'static str, at: usize },
    #[error("byte {at}: maps and lists are nested more than {MAX_DEPTH} levels deep")]
    TooDeep { at: usize },
    #[error("a key has {length} bytes, at most {MAX_KEY_BYTES} can be written")]
    KeyTooLong { length: usize },
    #[error("{what} has {length} bytes, more than a 32-bit size can say")]
    TooLarge { what: &'static str, length: usize },
}

impl MapMessage {
    /// A map without entries.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an entry at the end; an earlier one of the same key stays, but is not found any more.
    pub fn push(&mut self, key: impl Into<String>, value: Value) {
        self.entries.push((key.into(), value));
    }

    /// The value of the last entry with this key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        let mut latest_first = self.entries.iter().rev();
        latest_first
            .find(|(name, _)| name == key)
            .map(|(_, value)| value)
    }

    /// All entries in the order of the wire, doubled keys included.
    #[must_use]
    pub fn entries(&self) -> &[(String, Value)] {
        &self.entries
    }
}

impl<K: Into<String>> FromIterator<(K, Value)> for MapMessage {
    fn from_iter<I: IntoIterator<Item = (K, Value)>>(entries: I) -> Self {
        let entries = entries.into_iter();
        Self {
            entries: entries.map(|(key, value)| (key.into(), value)).collect(),
        }
    }
}

impl Value {
    /// The text of a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The number of those types that a Java reader gets as a `Long`: int64, uint64, datetime and
    /// uint32. A uint64 above `i64::MAX` comes out negative, as it does there.
    #[must_use]
    pub fn as_long(&self) -> Option<i64> {
        match *self {
            Self::Long(number) | Self::DateTime(number) => Some(number),
            Self::UnsignedLong(number) => Some(number.cast_signed()),
            Self::UnsignedInt(number) => Some(i64::from(number)),
            _ => None,
        }
    }
}
