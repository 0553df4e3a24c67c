//! Names of files and directories: API Manager's own where they are safe, and safe ones else. Pure.

use artifact::Digest;

/// Bytes of a file's name without its ending; what is longer is cut.
const MAX_STEM: usize = 160;
/// Bytes of a directory's name.
const MAX_DIRECTORY: usize = 200;
/// Names that Windows keeps for devices, whatever their ending.
const DEVICES: [&str; 4] = ["con", "prn", "aux", "nul"];

/// The file of a piece with this name. It is the one that API Manager gives it – blanks and the
/// characters `\ / ? * | : < >` become `_` – unless that is no safe name or `taken` by another
/// piece; then it carries a digest of the name. `taken` is asked for names in lower case, so that no
/// two files differ only in that.
#[must_use]
pub fn file_name(name: &str, taken: impl Fn(&str) -> bool) -> String {
    let mut stem: String = name.chars().map(plain).collect();
    if stem.is_empty() || stem.starts_with('.') || is_device(&stem) {
        stem.insert(0, '_');
    }
    let first = format!("{stem}.xml");
    if stem.len() <= MAX_STEM && !taken(&first.to_lowercase()) {
        return first;
    }
    stem.truncate(floor_char_boundary(&stem, MAX_STEM));
    let mut tries = 0_u32;
    loop {
        let mark = short_digest(&format!("{tries}\n{name}"));
        let file = format!("{stem}~{mark}.xml");
        if !taken(&file.to_lowercase()) {
            return file;
        }
        tries += 1;
    }
}

/// The directory of a label or a tenant: the text itself where it is a safe name, with `%XX` for
/// what is not safe in it. No two texts have the same directory.
#[must_use]
pub fn directory_name(text: &str) -> String {
    let mut name = String::new();
    let last = text.chars().count().saturating_sub(1);
    for (at, c) in text.chars().enumerate() {
        let at_the_end = (at == 0 || at == last) && (c == '.' || c == ' ');
        let safe = !at_the_end && c != '%' && c != '~' && (c == ' ' || plain(c) == c);
        if safe {
            name.push(c);
        } else {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                name.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    if is_device(&name)
        && let Some((first, rest)) = name.split_at_checked(1)
    {
        let byte = first.bytes().next().unwrap_or_default();
        name = format!("%{byte:02X}{rest}");
    }
    if name.is_empty() {
        return "%".to_owned();
    }
    if name.len() > MAX_DIRECTORY {
        name.truncate(floor_char_boundary(&name, MAX_DIRECTORY));
        name = format!("{name}~{}", short_digest(text));
    }
    name
}

/// The text whose [`directory_name`] this is; `None` where it is none, or was too long.
#[must_use]
pub fn of_directory(name: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next()?, rest.next()?];
        let digits = std::str::from_utf8(&digits).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
    }
    let text = String::from_utf8(bytes).ok()?;
    (directory_name(&text) == name && !name.contains('~')).then_some(text)
}

/// The tenant of a Synapse directory by its path, `…tenants/TENANT/synapse-configs/default/`. A
/// number is API Manager's id of a tenant, and does not tell which.
#[must_use]
pub fn tenant_of(root: &str) -> Option<String> {
    let root = root.strip_suffix("/synapse-configs/default/")?;
    let (above, name) = root.rsplit_once('/')?;
    if above.rsplit('/').next() != Some("tenants") || name.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    of_directory(name)
}

/// The character as it stands in a file's name.
fn plain(c: char) -> char {
    match c {
        '\\' | '/' | '?' | '*' | '|' | ':' | '<' | '>' | ' ' | '"' => '_',
        c if c.is_control() => '_',
        c => c,
    }
}

fn is_device(stem: &str) -> bool {
    let first = stem.split('.').next().unwrap_or(stem).to_ascii_lowercase();
    let numbered = |prefix: &str| {
        let number = first.strip_prefix(prefix);
        number.is_some_and(|n| n.len() == 1 && n.bytes().all(|b| b.is_ascii_digit()))
    };
    DEVICES.contains(&first.as_str()) || numbered("com") || numbered("lpt")
}

fn short_digest(text: &str) -> String {
    Digest::of(text.as_bytes()).short()
}

/// The end of the last whole character within the first `most` bytes.
fn floor_char_boundary(text: &str, most: usize) -> usize {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    end
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordinary_names_are_api_managers() {
        for (name, file) in [
            (
                "admin--PizzaShackAPI:v1.0.0",
                "admin--PizzaShackAPI_v1.0.0.xml",
            ),
            ("admin--X:v1.0.0--In", "admin--X_v1.0.0--In.xml"),
            ("admin--StatusAPI", "admin--StatusAPI.xml"),
            ("my seq", "my_seq.xml"),
            ("../../etc/passwd", "_.._.._etc_passwd.xml"),
            ("..", "_...xml"),
            ("a\0b", "a_b.xml"),
            ("NUL", "_NUL.xml"),
            ("Lpt1.x", "_Lpt1.x.xml"),
        ] {
            assert_eq!(file_name(name, |_| false), file, "{name:?}");
        }
    }

    #[test]
    fn the_second_of_two_pieces_with_one_name_carries_a_digest() {
        let second = file_name("A:V1", |file| file == "a_v1.xml");
        assert!(
            second.starts_with("A_V1~") && second.ends_with(".xml"),
            "{second}"
        );
        let long = file_name(&"ä".repeat(200), |_| false);
        assert!(long.len() < 200 && long.contains('~'), "{long}");
    }

    #[test]
    fn directories_tell_their_label() {
        for (label, name) in [
            ("Production and Sandbox", "Production and Sandbox"),
            ("Label1", "Label1"),
            ("..", "%2E%2E"),
            ("a/../b", "a%2F..%2Fb"),
            (".hidden", "%2Ehidden"),
            ("50%", "50%25"),
            ("con", "%63on"),
            ("wso2.com", "wso2.com"),
        ] {
            assert_eq!(directory_name(label), name);
        }
        assert_eq!(of_directory("a%2F..%2Fb").as_deref(), Some("a/../b"));
        assert_eq!(of_directory("a%2f"), None, "only as it is written");
        let of = |root: &str| tenant_of(root);
        assert_eq!(
            of("x/tenants/wso2.com/synapse-configs/default/").as_deref(),
            Some("wso2.com")
        );
        assert_eq!(of("tenants/1/synapse-configs/default/"), None);
        assert_eq!(of("synapse-configs/default/"), None);
    }

    /// Texts that are hard on file systems.
    fn hard() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("..".to_owned()),
            Just("/".to_owned()),
            Just("\\".to_owned()),
            Just("\0".to_owned()),
            Just(":".to_owned()),
            Just("_".to_owned()),
            Just("~".to_owned()),
            Just("%".to_owned()),
            Just("aux".to_owned()),
            Just("A".to_owned()),
            Just("a".to_owned()),
            Just("é".repeat(120)),
            any::<String>(),
        ];
        prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
    }

    fn is_one_safe_segment(name: &str) -> bool {
        !name.is_empty()
            && name.len() <= 255
            && !name.starts_with('.')
            && !name.contains(['/', '\\', ':'])
            && !name.chars().any(char::is_control)
            && !is_device(name)
    }

    proptest! {
        #[test]
        fn every_file_name_is_safe_and_no_two_are_the_same(names in prop::collection::hash_set(hard(), 1..12)) {
            let mut files: HashSet<String> = HashSet::new();
            for name in &names {
                let file = file_name(name, |file| files.contains(file));
                prop_assert!(is_one_safe_segment(&file), "{file:?}");
                prop_assert!(file.ends_with(".xml"));
                prop_assert!(files.insert(file.to_lowercase()), "{file:?} twice");
            }
        }

        #[test]
        fn every_directory_is_safe_and_no_two_texts_have_the_same(texts in prop::collection::hash_set(hard(), 1..12)) {
            let mut directories: HashMap<String, String> = HashMap::new();
            for text in &texts {
                let name = directory_name(text);
                prop_assert!(is_one_safe_segment(&name) || name == "%", "{name:?}");
                if let Some(read) = of_directory(&name) {
                    prop_assert_eq!(&read, text);
                }
                let other = directories.insert(name.clone(), text.clone());
                prop_assert!(other.is_none(), "{name:?} of {other:?} and {text:?}");
            }
        }
    }
}
