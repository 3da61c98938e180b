//! Power cuts at every call, with what was not synced dropped, torn and reordered.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
};

use crate::{
    Client, ClientOptions, Result,
    io::{Disk, DiskFile, DiskLock, Locking, OpenFile, memory::MemoryDisk},
};

const SECTOR: usize = 512;

/// A disk that keeps apart what is durable and what is not, and remembers the state before one of its calls.
#[derive(Debug, Clone)]
struct CrashDisk(Arc<Mutex<Power>>);

#[derive(Debug)]
struct Power {
    calls: usize,
    cut_at: usize,
    now: State,
    cut: Option<(State, BTreeMap<String, u32>)>,
    /// What was answered so far, by key.
    answered: BTreeMap<String, u32>,
    /// For the proof: syncs that do nothing.
    ignores_syncs: bool,
}

#[derive(Debug, Clone, Default)]
struct State {
    files: Vec<FileState>,
    names: HashMap<PathBuf, usize>,
    durable_names: HashMap<PathBuf, usize>,
    /// Later states of the names, in order.
    unsynced_names: Vec<HashMap<PathBuf, usize>>,
}

#[derive(Debug, Clone, Default)]
struct FileState {
    now: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

/// Small, and the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % limit
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>, random: Option<&mut Random>) {
        match self {
            Self::Length(length) => bytes.resize(*length, 0),
            Self::Write(offset, new) => {
                if bytes.len() < offset + new.len() {
                    bytes.resize(offset + new.len(), 0);
                }
                let Some(random) = random else {
                    bytes[*offset..offset + new.len()].copy_from_slice(new);
                    return;
                };
                // Sector by sector: which of them arrive is chance.
                let mut at = *offset;
                while at < offset + new.len() {
                    let end = (at / SECTOR * SECTOR + SECTOR).min(offset + new.len());
                    if random.below(2) == 0 {
                        bytes[at..end].copy_from_slice(&new[at - offset..end - offset]);
                    }
                    at = end;
                }
            }
        }
    }
}

impl State {
    /// What a disk may hold after the power was cut.
    fn image(&self, random: &mut Random) -> MemoryDisk {
        let disk = MemoryDisk::default();
        let which = random.below(self.unsynced_names.len() + 1);
        let names = which.checked_sub(1).map_or(&self.durable_names, |which| &self.unsynced_names[which]);
        for (name, file) in names {
            let FileState { durable, unsynced, .. } = &self.files[*file];
            let mut bytes = durable.clone();
            let mut changes: Vec<&Change> = unsynced.iter().collect();
            if random.below(2) == 0 {
                for at in (1..changes.len()).rev() {
                    changes.swap(at, random.below(at + 1));
                }
            }
            for change in changes {
                match random.below(3) {
                    0 => {}
                    1 => change.apply(&mut bytes, None),
                    _ => change.apply(&mut bytes, Some(random)),
                }
            }
            disk.set_bytes(&name.display().to_string(), &bytes);
        }
        disk
    }

    fn name(&mut self, change: impl FnOnce(&mut HashMap<PathBuf, usize>)) {
        change(&mut self.names);
        self.unsynced_names.push(self.names.clone());
    }
}

impl CrashDisk {
    fn new(cut_at: usize, ignores_syncs: bool) -> Self {
        let (now, answered) = (State::default(), BTreeMap::new());
        Self(Arc::new(Mutex::new(Power { calls: 0, cut_at, now, cut: None, answered, ignores_syncs })))
    }

    fn call<T>(&self, run: impl FnOnce(&mut State) -> T) -> T {
        let mut power = self.0.lock().unwrap();
        power.calls += 1;
        if power.calls == power.cut_at {
            power.cut = Some((power.now.clone(), power.answered.clone()));
        }
        run(&mut power.now)
    }
}

impl Disk for CrashDisk {
    fn open(&self, path: &Path, how: OpenFile) -> io::Result<Arc<dyn DiskFile>> {
        self.call(|state| {
            let file = match (state.names.get(path), how) {
                (Some(file), OpenFile::Existing | OpenFile::Reading) => *file,
                (None, OpenFile::Existing | OpenFile::Reading) => return Err(io::ErrorKind::NotFound.into()),
                (_, OpenFile::Empty) => {
                    state.files.push(FileState::default());
                    let file = state.files.len() - 1;
                    state.name(|names| {
                        names.insert(path.into(), file);
                    });
                    file
                }
            };
            Ok(Arc::new(CrashFile { disk: self.clone(), file }) as Arc<dyn DiskFile>)
        })
    }

    fn create_directories(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(|state| {
            let file = *state.names.get(from).ok_or(io::ErrorKind::NotFound)?;
            state.name(|names| {
                names.remove(from);
                names.insert(to.into(), file);
            });
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call(|state| {
            state.names.get(path).ok_or(io::ErrorKind::NotFound)?;
            state.name(|names| {
                names.remove(path);
            });
            Ok(())
        })
    }

    fn sync_directory(&self, _: &Path) -> io::Result<()> {
        self.call(|state| {
            state.durable_names = state.names.clone();
            state.unsynced_names.clear();
            Ok(())
        })
    }

    fn try_lock(&self, _: &Path) -> io::Result<Locking> {
        Ok(Locking::Locked(Box::new(NoLock)))
    }
}

#[derive(Debug)]
struct NoLock;

impl DiskLock for NoLock {}

#[derive(Debug)]
struct CrashFile {
    disk: CrashDisk,
    file: usize,
}

impl CrashFile {
    fn change(&self, change: Change) -> io::Result<()> {
        self.disk.call(|state| {
            let file = &mut state.files[self.file];
            change.apply(&mut file.now, None);
            file.unsynced.push(change);
            Ok(())
        })
    }
}

impl DiskFile for CrashFile {
    fn len(&self) -> io::Result<u64> {
        self.disk.call(|state| Ok(state.files[self.file].now.len() as u64))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.disk.call(|state| {
            let bytes = &state.files[self.file].now;
            let rest = bytes.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
            let length = rest.len().min(buffer.len());
            buffer[..length].copy_from_slice(&rest[..length]);
            Ok(length)
        })
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.change(Change::Write(usize::try_from(offset).unwrap(), bytes.to_vec()))
    }

    fn sync(&self) -> io::Result<()> {
        // Only what was written before the call is sure to be durable after it, and others write meanwhile.
        let before = self.disk.call(|state| state.files[self.file].unsynced.len());
        thread::yield_now();
        let ignores_syncs = self.disk.0.lock().unwrap().ignores_syncs;
        self.disk.call(|state| {
            let FileState { durable, unsynced, .. } = &mut state.files[self.file];
            if !ignores_syncs {
                unsynced.drain(..before).for_each(|change| change.apply(durable, None));
            }
        });
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.change(Change::Length(usize::try_from(length).unwrap()))
    }
}

fn options(disk: Arc<dyn Disk>) -> ClientOptions {
    let mut options = ClientOptions::persistent("node-a", "n.wal");
    options.disk = disk;
    options.auto_compact = false;
    options
}

/// Some writers, a compaction among their writes, a clean close, and writes after that.
fn workload(disk: &CrashDisk, writers: usize, seed: u64) -> Result<()> {
    for session in 0..2 {
        let client = Client::open(options(Arc::new(disk.clone()))).wait()?;
        thread::scope(|scope| {
            for writer in 0..writers {
                let (client, disk) = (&client, disk);
                scope.spawn(move || {
                    let mut random = Random(seed * 31 + writer as u64 + 1);
                    for n in 0..8_u32 {
                        let key = format!("w{writer}/{}", random.below(3));
                        let value = n + 1 + session * 100;
                        // Long enough for some to take several sectors.
                        let text = format!("{value} {}", "x".repeat(random.below(1_500)));
                        client.put(&*key, text).wait().unwrap();
                        disk.0.lock().unwrap().answered.insert(key, value);
                        if writer == 0 && n == 4 {
                            client.compact().wait().unwrap();
                        }
                    }
                });
            }
        });
        client.close().wait()?;
    }
    Ok(())
}

/// Cuts the power before the call; says what is wrong with what is found after it. None: there is no such call.
fn cut(cut_at: usize, writers: usize, seed: u64, ignores_syncs: bool) -> Option<Result<(), String>> {
    let disk = CrashDisk::new(cut_at, ignores_syncs);
    workload(&disk, writers, seed).unwrap();
    let (state, answered) = disk.0.lock().unwrap().cut.take()?;
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ cut_at as u64 | 1);
    for _ in 0..3 {
        let image = state.image(&mut random);
        let client = match Client::open(options(Arc::new(image.clone()))).wait() {
            Ok(client) => client,
            Err(error) => return Some(Err(format!("does not open: {error:?}"))),
        };
        for (key, least) in &answered {
            let found = client.find(key).unwrap().map(|value| value.to_string());
            let number = found.as_deref().and_then(|text| text.split(' ').next()?.parse::<u32>().ok());
            if number.is_none_or(|number| number < *least) {
                return Some(Err(format!("{key}: {number:?}, and {least} was answered")));
            }
        }
        client.put("after", "the cut").wait().unwrap();
        client.close().wait().unwrap();
        let again = Client::open(options(Arc::new(image))).wait().unwrap();
        if !again.contains("after").unwrap() {
            return Some(Err("a write after the recovery was lost".into()));
        }
    }
    Some(Ok(()))
}

#[test]
fn nothing_answered_is_lost_wherever_the_power_is_cut() {
    let rounds: u64 =
        std::env::var("LARDER_CRASH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(1);
    for seed in 1..=rounds {
        for writers in [1, 3] {
            for cut_at in 1.. {
                match cut(cut_at, writers, seed, false) {
                    Some(result) => result.unwrap_or_else(|what| {
                        panic!("seed {seed}, {writers} writers, power cut before call {cut_at}: {what}")
                    }),
                    None => break,
                }
            }
        }
    }
}

#[test]
fn a_disk_that_ignores_syncs_is_found_out() {
    let failures = (1..200).filter(|cut_at| matches!(cut(*cut_at, 1, 1, true), Some(Err(_)))).count();
    assert!(failures > 50, "{failures}");
}
