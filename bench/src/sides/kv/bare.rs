//! Bare floors: a file that is overwritten and synced, and a file that is read, checked and put into a map.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{BufWriter, Write},
    os::unix::fs::FileExt,
    path::Path,
};

use anyhow::{Context, Result, ensure};

use super::Pair;

/// A file full of zeros, over which records are written, each synced.
#[derive(Debug)]
pub struct Overwritten {
    file: File,
    at: u64,
}

const FILE_BYTES: u64 = 64 << 20;

impl Overwritten {
    pub fn create(dir: &Path) -> Result<Self> {
        let file = File::options().create_new(true).read(true).write(true).open(dir.join("bare"))?;
        file.write_all_at(&vec![0; FILE_BYTES as usize], 0)?;
        file.sync_all()?;
        Ok(Self { file, at: 0 })
    }

    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let record = [key, value].concat();
        self.file.write_all_at(&record, self.at)?;
        self.at = (self.at + record.len() as u64) % (FILE_BYTES - 4096);
        Ok(self.file.sync_data()?)
    }
}

/// Writes records, each with its lengths and a checksum.
pub fn write_records(dir: &Path, pairs: impl Iterator<Item = Pair>) -> Result<()> {
    let mut file = BufWriter::new(File::create(dir.join("bare.records"))?);
    for (key, value) in pairs {
        let mut record = Vec::with_capacity(12 + key.len() + value.len());
        record.extend_from_slice(&[0; 4]);
        record.extend_from_slice(&u32::try_from(key.len())?.to_le_bytes());
        record.extend_from_slice(&u32::try_from(value.len())?.to_le_bytes());
        record.extend_from_slice(&key);
        record.extend_from_slice(&value);
        let sum = crc32c::crc32c(&record[4..]);
        record[..4].copy_from_slice(&sum.to_le_bytes());
        file.write_all(&record)?;
    }
    file.into_inner().context("flush the records")?.sync_all()?;
    Ok(())
}

/// Reads the file, checks each record and inserts it: what one writes first.
pub fn read_records(dir: &Path) -> Result<HashMap<Box<[u8]>, Box<[u8]>>> {
    let bytes = fs::read(dir.join("bare.records"))?;
    let mut map = HashMap::new();
    let mut rest = &bytes[..];
    while let Some((head, after)) = rest.split_at_checked(12) {
        let number = |at: usize| Ok::<_, anyhow::Error>(u32::from_le_bytes(head[at..at + 4].try_into()?));
        let (key_length, value_length) = (number(4)? as usize, number(8)? as usize);
        let body = after.get(..key_length + value_length).context("a record cut short")?;
        let sum = crc32c::crc32c_append(crc32c::crc32c(&head[4..]), body);
        ensure!(sum == number(0)?, "a damaged record");
        let (key, value) = body.split_at(key_length);
        map.insert(key.into(), value.into());
        rest = &after[body.len()..];
    }
    Ok(map)
}
