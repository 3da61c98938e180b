//! The corpus of the fuzz target, and bytes derived from it: what the fuzzer looks for is looked for here as well.

use std::{fs, path::PathBuf};

use larder_kv::{
    Hlc,
    wal::{
        header::Header,
        record::{Record, RecordKind},
    },
};

#[path = "../../../fuzz/src/record_reader.rs"]
mod record_reader;

const MUTATIONS: u64 = 200;

fn corpus() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/record_reader")
}

/// What the corpus begins with; the fuzzer may have added to it.
fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let mut records = Vec::new();
    let mut add = |kind, author, seq, key: &str, value: &str| {
        let hlc = Hlc::new(1_700_000_000_000, 7);
        Record { kind, author, hlc, seq, key: key.as_bytes(), value: value.as_bytes() }.encode(&mut records);
    };
    add(RecordKind::Author, 1, 9, "node-b", "");
    add(RecordKind::Seen, 0, 3, "", "");
    add(RecordKind::Delivered, 0, 2, "node-b", "");
    add(RecordKind::Put, 0, 1, "settings/theme", "dark");
    add(RecordKind::Put, 1, 4, "settings/theme", "");
    add(RecordKind::Remove, 0, 2, "gone", "");
    let header = Header { node_id: "fuzz".into(), epoch: 1, generation: 1 }.encode();
    let frame = record_reader::sound_frame(&records);
    let seal = record_reader::sound_frame(&[]);
    let tagged = |kind: u8, bytes: &[u8]| [&[kind], bytes].concat();
    vec![
        ("records", tagged(0, &records)),
        ("frame", tagged(1, &frame)),
        ("seal", tagged(1, &seal)),
        ("header", tagged(2, &header)),
        ("file-of-records", tagged(3, &records)),
        ("file-of-frames", tagged(4, &[&frame[..], &[0; 40], &frame[..]].concat())),
        ("empty", vec![4]),
    ]
}

/// SplitMix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Flips bits, writes lengths that are likely to hurt, cuts, and repeats.
fn mutate(bytes: &mut Vec<u8>, random: &mut u64) {
    for _ in 0..=next(random) % 4 {
        let at = usize::try_from(next(random)).unwrap_or_default() % bytes.len().max(1);
        match next(random) % 6 {
            0 | 1 if !bytes.is_empty() => bytes[at] ^= 1 << (next(random) % 8),
            2 if at + 4 <= bytes.len() => {
                let lengths = [0, 1, 23, 24, 32, 65_536, 65_537, 64 << 20, 128 << 20, u32::MAX];
                let length = lengths[usize::try_from(next(random)).unwrap_or_default() % lengths.len()];
                bytes[at..at + 4].copy_from_slice(&length.to_le_bytes());
            }
            3 if at + 8 <= bytes.len() => bytes[at..at + 8].fill(0xff),
            4 => bytes.truncate(at.max(1)),
            _ => {
                let part = bytes[at.min(bytes.len())..].to_vec();
                bytes.extend_from_slice(&part[..part.len().min(4_096)]);
            }
        }
    }
}

#[test]
fn any_bytes_are_read_or_refused() {
    let seeds = seeds();
    if std::env::var_os("LARDER_WRITE_CORPUS").is_some() {
        for (name, bytes) in &seeds {
            fs::write(corpus().join(name), bytes).expect("the corpus can be written");
        }
    }
    let mut files: Vec<_> = fs::read_dir(corpus())
        .expect("there is a corpus")
        .map(|entry| entry.expect("an entry of the corpus").path())
        .collect();
    files.sort();
    assert!(files.len() >= seeds.len(), "the corpus lacks some of what it began with");
    let seed: u64 = match std::env::var("LARDER_FUZZ_SEED") {
        Ok(seed) => seed.parse().expect("LARDER_FUZZ_SEED is a number"),
        Err(_) => u64::from(std::process::id()),
    };
    println!("seed {seed}: repeat with LARDER_FUZZ_SEED={seed}");
    let mut random = seed;
    for file in files {
        println!("{}", file.display());
        let bytes = fs::read(&file).expect("a file of the corpus");
        record_reader::check(&bytes);
        for n in 0..MUTATIONS {
            let mut mutated = bytes.clone();
            mutate(&mut mutated, &mut random);
            // A frame of any records: what a checksum lets through is the records' own business.
            if n % 2 == 0 && !mutated.is_empty() {
                mutated[0] = u8::try_from(n / 2 % 5).unwrap_or_default();
            }
            record_reader::check(&mutated);
        }
    }
}
