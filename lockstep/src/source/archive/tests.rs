//! Archives made in memory, good and hostile.

use std::io::Write;

use zip::write::SimpleFileOptions;
use zip::{System, ZipWriter};

use super::*;

fn options() -> SimpleFileOptions {
    SimpleFileOptions::default().compression_method(CompressionMethod::Deflated)
}

fn zip_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        zip.start_file(*name, options()).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn read(bytes: &[u8]) -> Result<Vec<ArchiveEntry>, ArchiveError> {
    read_zip(bytes, &ArchiveLimits::default())
}

fn refusal(bytes: &[u8]) -> String {
    read(bytes).unwrap_err().to_string()
}

/// `bytes` with every `from` replaced by `to` of the same length: names and header fields
/// that the writer itself would not write.
fn patched(mut bytes: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut at = 0;
    while at + from.len() <= bytes.len() {
        if bytes[at..].starts_with(from) {
            bytes[at..at + to.len()].copy_from_slice(to);
        }
        at += 1;
    }
    bytes
}

/// `bytes` with the 16-bit field at `offset` of every central directory header set.
fn with_header_field(mut bytes: Vec<u8>, offset: usize, value: u16) -> Vec<u8> {
    for at in 0..bytes.len() - 46 {
        if bytes[at..].starts_with(b"PK\x01\x02") {
            bytes[at + offset..at + offset + 2].copy_from_slice(&value.to_le_bytes());
        }
    }
    bytes
}

#[test]
fn reads_files_in_order_and_skips_directories() {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.add_directory("api/", options()).unwrap();
    zip.start_file("api/b.xml", options()).unwrap();
    zip.write_all(b"<api/>").unwrap();
    let stored = options().compression_method(CompressionMethod::Stored);
    zip.start_file("./a.txt", stored).unwrap();
    zip.write_all(b"a").unwrap();
    let bytes = zip.finish().unwrap().into_inner();

    let entries = read(&bytes).unwrap();
    let paths: Vec<&str> = entries.iter().map(|it| it.path.as_str()).collect();
    assert_eq!(paths, ["api/b.xml", "a.txt"]);
    assert_eq!(entries[0].bytes, b"<api/>");
}

#[test]
fn refuses_paths_that_leave_the_archive() {
    for (name, rule) in [
        ("../up.xml", ".."),
        ("api/../../up.xml", ".."),
        ("/etc/passwd", "absolute"),
        ("api//x.xml", "empty segment"),
        ("C:/x.xml", "drive letter"),
        ("line\nfeed", "control character"),
    ] {
        let placeholder = "n".repeat(name.len());
        let zip = zip_of(&[(&placeholder, b"x")]);
        let text = refusal(&patched(zip, placeholder.as_bytes(), name.as_bytes()));
        assert!(text.contains(rule), "{name}: {text}");
        assert!(!text.contains('\n'), "{text:?}");
    }
    for (name, rule) in [
        (b"api\\x", "backslash"),
        (b"a\0xyz", "NUL"),
        (b"a\xffxyz", "not UTF-8"),
    ] {
        let text = refusal(&patched(zip_of(&[("nnnnn", b"x")]), b"nnnnn", name));
        assert!(text.contains(rule), "{text}");
    }
}

#[test]
fn refuses_links_encryption_other_methods_and_twins() {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.add_symlink("link", "/etc/passwd", options().system(System::Unix))
        .unwrap();
    let text = refusal(&zip.finish().unwrap().into_inner());
    assert!(
        text.contains("\"link\"") && text.contains("symbolic links"),
        "{text}"
    );

    let plain = zip_of(&[("a.xml", b"x")]);
    let text = refusal(&with_header_field(plain.clone(), 8, 1));
    assert!(text.contains("password"), "{text}");
    let text = refusal(&with_header_field(plain, 10, 12));
    assert!(text.contains("compression method"), "{text}");

    let twins = patched(
        zip_of(&[("a.xml", b"1"), ("b.xml", b"2")]),
        b"b.xml",
        b"a.xml",
    );
    assert!(matches!(read(&twins), Err(ArchiveError::Duplicate { .. })));
    let twins = zip_of(&[("a.xml", b"1"), ("./a.xml", b"2")]);
    assert!(matches!(read(&twins), Err(ArchiveError::Duplicate { .. })));
}

#[test]
fn holds_every_limit() {
    let zip = zip_of(&[("a", b"12345"), ("b", b"12345")]);
    let few = ArchiveLimits {
        max_entries: 1,
        ..ArchiveLimits::default()
    };
    assert!(matches!(
        read_zip(&zip, &few),
        Err(ArchiveError::TooManyEntries { count: 2, max: 1 })
    ));
    let short = ArchiveLimits {
        max_entry_bytes: 4,
        ..ArchiveLimits::default()
    };
    assert!(matches!(
        read_zip(&zip, &short),
        Err(ArchiveError::EntryTooLarge { .. })
    ));
    let small = ArchiveLimits {
        max_total_bytes: 9,
        ..ArchiveLimits::default()
    };
    let error = read_zip(&zip, &small).unwrap_err();
    assert!(matches!(&error, ArchiveError::TotalTooLarge { name, .. } if name == "\"b\""));
}

#[test]
fn stops_a_bomb_whatever_its_headers_say() {
    let bomb = zip_of(&[("bomb", &vec![0; 8 << 20])]);
    assert!(bomb.len() < 10_000, "{}", bomb.len());
    assert!(matches!(read(&bomb), Err(ArchiveError::Ratio { .. })));

    // The central directory's uncompressed size is at 24, low half first.
    let with_size =
        |low, high| with_header_field(with_header_field(bomb.clone(), 24, low), 26, high);
    let smaller = read(&with_size(10, 0));
    assert!(matches!(smaller, Err(ArchiveError::Damaged { .. })));
    let larger = read(&with_size(0, 0x1000));
    assert!(matches!(larger, Err(ArchiveError::Ratio { .. })));

    // A compressed size that claims the files behind it as well, at 20, buys nothing.
    let mut padding = vec![0; 100_000];
    for (index, byte) in padding.iter_mut().enumerate() {
        *byte = (index * index / 7) as u8;
    }
    let two = zip_of(&[("bomb", &vec![0; 8 << 20]), ("padding", &padding)]);
    let claimed = read(&with_header_field(two, 20, u16::MAX));
    assert!(
        matches!(claimed, Err(ArchiveError::Ratio { .. })),
        "{claimed:?}"
    );

    let just_below = zip_of(&[("zeros", &vec![0; 1 << 20])]);
    assert_eq!(read(&just_below).unwrap()[0].bytes.len(), 1 << 20);
}

#[test]
fn refuses_what_is_damaged() {
    let zip = zip_of(&[("a.xml", b"some content, long enough to be cut")]);
    for len in 0..zip.len() {
        assert!(read(&zip[..len]).is_err(), "cut at {len}");
    }
    assert!(matches!(read(b"garbage"), Err(ArchiveError::Unreadable(_))));
    assert!(matches!(read(b""), Err(ArchiveError::Unreadable(_))));

    let mut flipped = zip;
    // After the 30-byte local header and the five bytes of the name.
    flipped[40] ^= 0xff;
    assert!(matches!(read(&flipped), Err(ArchiveError::Damaged { .. })));
}
