//! The properties on kept inputs and, for a while, on mutations of them.
//!
//! `LOCKSTEP_FUZZ_SECONDS` is the budget for mutations, 1 if it is not set, and `LOCKSTEP_SEED`
//! repeats a run. The input that runs lies in `fuzz/artifacts/TARGET/running`, so it is there also
//! when the process was ended by it.

use std::hash::{BuildHasher, RandomState};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::*;

/// What threads of the runtime have.
const STACK: usize = 2 * 1024 * 1024;
/// Bytes of an input that is mutated: longer ones say the same more slowly.
const MAX_MUTATED: usize = 8 * 1024;
/// Bytes of a mutated input.
const MAX_INPUT: usize = 64 * 1024;

/// Bytes that mean something in one of the languages, and those of a letter that is not ASCII.
const SIGNS: &[u8] = b"<>&;!{}()[]*/'\"$@.:|\\%?=#+-,019 \n\t\x01\xc3\xa9";

type Property = fn(&[u8]);
/// Folders of the shared corpus.
type Folders = &'static [&'static str];

/// Each with the folders that it can read.
const TARGETS: [(&str, Property, Folders); 7] = [
    ("xml", xml, &["api", "rendered", "malformed", "other"]),
    ("uri_template", uri_template, &[]),
    ("json_path", json_path, &[]),
    ("xpath", xpath, &[]),
    ("conversion", conversion, &[]),
    ("payload_factory", payload_factory, &[]),
    (
        "artifact",
        artifact,
        &["api", "rendered", "sequences", "endpoints", "local-entries"],
    ),
];

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn tell(line: &str) {
    std::io::stderr()
        .write_all(format!("{line}\n").as_bytes())
        .unwrap();
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files(&path, found),
            false => found.push(path),
        }
    }
}

/// The seeds and regressions of a target.
fn kept(target: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in ["seeds", "regressions"] {
        files(&root().join("fuzz").join(folder).join(target), &mut found);
    }
    found.sort();
    found
}

fn shared(folders: &[&str]) -> Vec<PathBuf> {
    let shared =
        std::env::var_os("LOCKSTEP_SHARED").map_or_else(|| root().join("../shared"), PathBuf::from);
    let corpus = shared.join("synapse/corpus");
    let mut found = Vec::new();
    for folder in folders {
        files(&corpus.join(folder), &mut found);
    }
    found.sort();
    found
}

/// Numbers from a seed (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        usize::try_from(number).unwrap() % bound.max(1)
    }

    /// A piece of a text.
    fn piece<'t>(&mut self, text: &'t [u8]) -> &'t [u8] {
        let start = self.below(text.len());
        let most = [4, 16, 64, 1024][self.below(4)];
        let length = self.below(most + 1).min(text.len() - start);
        &text[start..start + length]
    }
}

/// One of the inputs with a few pieces changed, moved, repeated, or taken from another one.
fn mutated(inputs: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut made = inputs[random.below(inputs.len())].clone();
    for _ in 0..=random.below(6) {
        let other = &inputs[random.below(inputs.len())];
        let at = random.below(made.len() + 1);
        let piece = match random.below(6) {
            0 | 1 => random.piece(other).to_vec(),
            2 => random.piece(&made).to_vec(),
            3 => {
                let times = 1 + random.below(200);
                random.piece(&made).repeat(times)
            }
            4 => vec![SIGNS[random.below(SIGNS.len())]],
            _ => Vec::new(),
        };
        let replaced = match random.below(3) {
            0 => random.below(16).min(made.len() - at),
            _ => 0,
        };
        made.splice(at..at + replaced, piece);
        made.truncate(MAX_INPUT);
    }
    made
}

#[test]
fn kept_inputs_hold() {
    for (target, property, _) in TARGETS {
        let kept = kept(target);
        assert!(!kept.is_empty(), "{target} has no seeds");
        for path in kept {
            // Named before: an overflow of the stack ends the process.
            tell(&format!("{target}: {}", path.display()));
            property(&std::fs::read(path).unwrap());
        }
    }
}

#[test]
fn mutated_inputs_hold() {
    let number = |name: &str| Some(std::env::var(name).ok()?.parse::<u64>().unwrap());
    let budget = Duration::from_secs(number("LOCKSTEP_FUZZ_SECONDS").unwrap_or(1));
    let seed = number("LOCKSTEP_SEED").unwrap_or_else(|| RandomState::new().hash_one(()));
    let run = |target: &str, property: Property, inputs: &[Vec<u8>], number: u64| {
        let mut random = Random((seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1);
        let folder = root().join("fuzz/artifacts").join(target);
        std::fs::create_dir_all(&folder).unwrap();
        let begun = Instant::now();
        let mut count = 0;
        while count == 0 || begun.elapsed() < budget {
            let input = mutated(inputs, &mut random);
            std::fs::write(folder.join("running"), &input).unwrap();
            property(&input);
            count += 1;
        }
        std::fs::remove_file(folder.join("running")).unwrap();
        tell(&format!("{target}: {count} mutated inputs"));
    };
    let failed: Vec<&str> = std::thread::scope(|scope| {
        let threads: Vec<_> = (1..)
            .zip(TARGETS)
            .map(|(number, (target, property, folders))| {
                let mut paths = kept(target);
                paths.extend(shared(folders));
                let inputs = paths.iter().map(|path| std::fs::read(path).unwrap());
                let inputs: Vec<Vec<u8>> =
                    inputs.filter(|input| input.len() <= MAX_MUTATED).collect();
                let thread = std::thread::Builder::new()
                    .name(target.into())
                    .stack_size(STACK);
                let run = move || run(target, property, &inputs, number);
                (target, thread.spawn_scoped(scope, run).unwrap())
            })
            .collect();
        let ended = threads.into_iter();
        ended
            .filter_map(|(target, thread)| thread.join().is_err().then_some(target))
            .collect()
    });
    assert!(
        failed.is_empty(),
        "{failed:?}: the inputs are fuzz/artifacts/TARGET/running; LOCKSTEP_SEED={seed} repeats them"
    );
}
