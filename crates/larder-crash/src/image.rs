//! What the disk may hold after a power cut.
//!
//! The model: what was written before a completed sync of its file is there. Of everything else, any sector of
//! 512 bytes may be there or not, in any combination. A sector that lies beyond the old end of the file and was
//! not written reads as zeros or as rubbish. Names of files come and go in order: some first part of the changes
//! of the directory since its last sync has happened. A write does not damage bytes outside of its range (SQLite
//! assumes that too, as *powersafe overwrite*).

use std::{
    collections::BTreeMap,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::Path,
};

use crate::{
    random::Random,
    trace::{Entry, Trace},
};

/// The unit that a disk writes atomically, in bytes.
const SECTOR: usize = 512;

/// A change to a file that no sync has covered yet.
#[derive(Debug, Clone)]
enum Change {
    Write { offset: usize, data: Vec<u8> },
    Truncate { size: usize },
}

/// One file, by inode: a name may lead to another one later.
#[derive(Debug, Default)]
struct Inode {
    durable: Vec<u8>,
    /// With the number of its entry in the trace.
    pending: Vec<(usize, Change)>,
    /// Changes that a failed sync gave up: later syncs do not write them.
    abandoned: Vec<Change>,
    syncs_directory: bool,
}

/// A change of the directory that no sync has covered yet.
#[derive(Debug, Clone)]
enum NameChange {
    Link { file: usize, inode: usize },
    Unlink { file: usize },
    Rename { file: usize, to: usize },
}

/// What a power cut does to what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// All of it is lost.
    Everything,
    /// Nothing is lost.
    Nothing,
    /// It happened in order up to some point, in the middle of a write.
    Torn,
    /// Each sector is lost or not.
    Scattered,
}

impl Loss {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Everything, Self::Nothing, Self::Torn, Self::Scattered];
}

/// The disk at one point of a trace.
#[derive(Debug, Default)]
pub struct Disk {
    inodes: Vec<Inode>,
    /// What each file number leads to now.
    current: BTreeMap<usize, usize>,
    /// And what it leads to after a power cut that loses every change of the directory.
    durable_names: BTreeMap<usize, usize>,
    name_changes: Vec<NameChange>,
}

impl Disk {
    /// Goes one entry further.
    pub fn apply(&mut self, number: usize, entry: &Entry) {
        match entry {
            Entry::Open { file, creates, syncs_directory } => {
                // Of two connections that open it at once, both may believe that they have created it.
                if *creates && !self.current.contains_key(file) {
                    self.link(*file);
                }
                self.inode(*file).syncs_directory |= *syncs_directory;
            }
            Entry::Write { file, offset, data } => {
                let offset = usize::try_from(*offset).unwrap_or(usize::MAX);
                let change = Change::Write { offset, data: data.clone() };
                self.inode(*file).pending.push((number, change));
            }
            Entry::Truncate { file, size } => {
                let size = usize::try_from(*size).unwrap_or(usize::MAX);
                self.inode(*file).pending.push((number, Change::Truncate { size }));
            }
            Entry::Sync { file, through } => self.sync(*file, *through),
            Entry::SyncFailed { file } => {
                let inode = self.inode(*file);
                let given_up = inode.pending.drain(..).map(|(_, change)| change);
                inode.abandoned.extend(given_up);
            }
            Entry::Delete { file, syncs_directory } => {
                self.current.remove(file);
                self.name_changes.push(NameChange::Unlink { file: *file });
                if *syncs_directory {
                    self.sync_directory();
                }
            }
            Entry::Rename { file, to } => {
                let change = NameChange::Rename { file: *file, to: *to };
                rename(&mut self.current, &change);
                self.name_changes.push(change);
            }
            Entry::SyncDirectory => self.sync_directory(),
        }
    }

    fn link(&mut self, file: usize) -> usize {
        let inode = self.inodes.len();
        self.inodes.push(Inode::default());
        self.current.insert(file, inode);
        self.name_changes.push(NameChange::Link { file, inode });
        inode
    }

    fn inode(&mut self, file: usize) -> &mut Inode {
        let number = match self.current.get(&file) {
            Some(inode) => *inode,
            None => self.link(file),
        };
        &mut self.inodes[number]
    }

    fn sync(&mut self, file: usize, through: usize) {
        let inode = self.inode(file);
        let synced = inode.pending.partition_point(|(number, _)| *number < through);
        let mut written = Vec::new();
        for (_, change) in inode.pending.drain(..synced) {
            perform(&mut inode.durable, &change);
            written.push(change);
        }
        // What was written anew is no longer lost: later changes win over abandoned ones.
        for change in &written {
            inode.abandoned = std::mem::take(&mut inode.abandoned)
                .into_iter()
                .flat_map(|abandoned| without(abandoned, change))
                .collect();
        }
        if std::mem::take(&mut inode.syncs_directory) {
            self.sync_directory();
        }
    }

    fn sync_directory(&mut self) {
        for change in std::mem::take(&mut self.name_changes) {
            rename(&mut self.durable_names, &change);
        }
    }

    /// An image of the disk after a power cut here: the contents of each file, by number.
    pub fn image(&self, loss: Loss, random: &mut Random) -> BTreeMap<usize, Vec<u8>> {
        let happened = match loss {
            Loss::Everything => 0,
            Loss::Nothing => self.name_changes.len(),
            Loss::Torn | Loss::Scattered => random.index(self.name_changes.len() + 1),
        };
        let mut names = self.durable_names.clone();
        for change in &self.name_changes[..happened] {
            rename(&mut names, change);
        }
        names.into_iter().map(|(file, inode)| (file, self.inodes[inode].after(loss, random))).collect()
    }
}

impl Inode {
    fn after(&self, loss: Loss, random: &mut Random) -> Vec<u8> {
        let mut content = self.durable.clone();
        let abandoned = self.abandoned.iter();
        let pending: Vec<&Change> = abandoned.chain(self.pending.iter().map(|(_, change)| change)).collect();
        match loss {
            Loss::Everything => {}
            Loss::Nothing => pending.iter().for_each(|change| perform(&mut content, change)),
            Loss::Torn => {
                let happened = random.index(pending.len() + 1);
                pending[..happened].iter().for_each(|change| perform(&mut content, change));
                if let Some(Change::Write { offset, data }) = pending.get(happened) {
                    let size = random.index(data.len() / SECTOR + 1) * SECTOR;
                    let torn = sector_end(*offset, size).saturating_sub(*offset).min(data.len());
                    perform(&mut content, &Change::Write { offset: *offset, data: data[..torn].to_vec() });
                }
            }
            Loss::Scattered => scatter(&mut content, &pending, random),
        }
        content
    }
}

/// The sector boundary at or below `offset + size`.
fn sector_end(offset: usize, size: usize) -> usize {
    (offset + size) / SECTOR * SECTOR
}

/// Performs each sector of each change, or not.
fn scatter(content: &mut Vec<u8>, pending: &[&Change], random: &mut Random) {
    // From "hardly any" to "nearly all".
    let kept = 1 + random.below(9);
    let rubbish = random.once_in(3);
    for change in pending {
        match change {
            Change::Truncate { .. } => {
                if random.below(10) < kept {
                    perform(content, change);
                }
            }
            Change::Write { offset, data } => {
                let mut done = 0;
                while done < data.len() {
                    let at = offset + done;
                    let size = (SECTOR - at % SECTOR).min(data.len() - done);
                    if random.below(10) < kept {
                        extend(content, at, rubbish, random);
                        let piece = data[done..done + size].to_vec();
                        perform(content, &Change::Write { offset: at, data: piece });
                    }
                    done += size;
                }
            }
        }
    }
}

/// Makes the file reach `size`; what was never written reads as zeros, or as rubbish.
fn extend(content: &mut Vec<u8>, size: usize, rubbish: bool, random: &mut Random) {
    while content.len() < size {
        content.push(if rubbish { random.next_u64().to_le_bytes()[0] } else { 0 });
    }
}

fn perform(content: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Truncate { size } => content.resize(*size, 0),
        Change::Write { offset, data } => {
            let end = offset + data.len();
            if content.len() < end {
                content.resize(end, 0);
            }
            content[*offset..end].copy_from_slice(data);
        }
    }
}

fn rename(names: &mut BTreeMap<usize, usize>, change: &NameChange) {
    match change {
        NameChange::Link { file, inode } => names.insert(*file, *inode),
        NameChange::Unlink { file } => names.remove(file),
        NameChange::Rename { file, to } => names.remove(file).and_then(|inode| names.insert(*to, inode)),
    };
}

/// What is left of an abandoned change where a later, synced one has not overwritten it.
fn without(abandoned: Change, later: &Change) -> Vec<Change> {
    let Change::Write { offset, data } = &abandoned else { return Vec::new() };
    let (start, end) = match later {
        Change::Write { offset, data } => (*offset, offset + data.len()),
        Change::Truncate { size } => (*size, usize::MAX),
    };
    let own_end = offset + data.len();
    if end <= *offset || start >= own_end {
        return vec![abandoned];
    }
    let mut left = Vec::new();
    if start > *offset {
        left.push(Change::Write { offset: *offset, data: data[..start - offset].to_vec() });
    }
    if end < own_end {
        left.push(Change::Write { offset: end, data: data[end - offset..].to_vec() });
    }
    left
}

/// A number that tells images apart.
#[must_use]
pub fn fingerprint(image: &BTreeMap<usize, Vec<u8>>) -> u64 {
    let mut hasher = DefaultHasher::new();
    image.hash(&mut hasher);
    hasher.finish()
}

/// Writes an image into a directory, under the files' own names.
///
/// # Errors
/// Those of the file system.
pub fn write_image(trace: &Trace, image: &BTreeMap<usize, Vec<u8>>, directory: &Path) -> io::Result<()> {
    for (file, content) in image {
        let name = Path::new(&trace.files[*file]).file_name().unwrap_or_default();
        fs::write(directory.join(name), content)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(file: usize, offset: u64, byte: u8, size: usize) -> Entry {
        Entry::Write { file, offset, data: vec![byte; size] }
    }

    fn disk(entries: &[Entry]) -> Disk {
        let mut disk = Disk::default();
        entries.iter().enumerate().for_each(|(number, entry)| disk.apply(number, entry));
        disk
    }

    #[test]
    fn what_was_synced_is_in_every_image_and_the_rest_is_not() {
        let disk = disk(&[
            Entry::Open { file: 0, creates: true, syncs_directory: true },
            write(0, 0, 1, 1024),
            Entry::Sync { file: 0, through: 2 },
            write(0, 512, 2, 1024),
        ]);
        let mut seen = std::collections::HashSet::new();
        for seed in 0..200 {
            for loss in Loss::ALL {
                let image = disk.image(loss, &mut Random::new(seed));
                assert_eq!(image[&0][..512], [1; 512]);
                seen.insert(image[&0].clone());
            }
        }
        let lost = disk.image(Loss::Everything, &mut Random::new(0));
        assert_eq!(lost[&0], vec![1; 1024]);
        // The second sector old or new, the third absent or new.
        assert!(seen.len() >= 4, "only {} images", seen.len());
    }

    #[test]
    fn a_sync_covers_only_what_was_written_before_it_began() {
        let disk = disk(&[
            Entry::Open { file: 0, creates: true, syncs_directory: true },
            write(0, 0, 1, 10),
            write(0, 0, 2, 10),
            Entry::Sync { file: 0, through: 2 },
        ]);
        assert_eq!(disk.image(Loss::Everything, &mut Random::new(0))[&0], vec![1; 10]);
        assert_eq!(disk.image(Loss::Nothing, &mut Random::new(0))[&0], vec![2; 10]);
    }

    #[test]
    fn a_file_is_created_once() {
        let disk = disk(&[
            Entry::Open { file: 0, creates: true, syncs_directory: true },
            write(0, 0, 1, 10),
            Entry::Open { file: 0, creates: true, syncs_directory: true },
            write(0, 10, 1, 10),
            Entry::Sync { file: 0, through: 4 },
        ]);
        assert_eq!(disk.image(Loss::Everything, &mut Random::new(0))[&0], vec![1; 20]);
    }

    #[test]
    fn names_come_and_go_in_order() {
        let disk = disk(&[
            Entry::Open { file: 0, creates: true, syncs_directory: false },
            Entry::Open { file: 1, creates: true, syncs_directory: true },
            Entry::Sync { file: 1, through: 2 },
            Entry::Delete { file: 1, syncs_directory: false },
            Entry::Open { file: 2, creates: true, syncs_directory: false },
        ]);
        let names = |loss, seed| {
            let image = disk.image(loss, &mut Random::new(seed));
            image.keys().copied().collect::<Vec<_>>()
        };
        assert_eq!(names(Loss::Everything, 0), [0, 1]);
        assert_eq!(names(Loss::Nothing, 0), [0, 2]);
        assert!(
            (0..50).all(|seed| names(Loss::Torn, seed) != [0, 1, 2]),
            "a later change before an earlier one"
        );
    }

    #[test]
    fn a_renamed_file_is_under_the_one_name_or_the_other() {
        let disk = disk(&[
            Entry::Open { file: 0, creates: true, syncs_directory: false },
            write(0, 0, 1, 1),
            Entry::Sync { file: 0, through: 2 },
            Entry::Open { file: 1, creates: true, syncs_directory: false },
            write(1, 0, 2, 1),
            Entry::Sync { file: 1, through: 5 },
            Entry::SyncDirectory,
            Entry::Rename { file: 1, to: 0 },
            write(0, 1, 3, 1),
            Entry::Sync { file: 0, through: 9 },
        ]);
        let image = |loss| disk.image(loss, &mut Random::new(0)).into_iter().collect::<Vec<_>>();
        assert_eq!(image(Loss::Everything), [(0, vec![1]), (1, vec![2, 3])]);
        assert_eq!(image(Loss::Nothing), [(0, vec![2, 3])]);
    }

    #[test]
    fn a_later_sync_does_not_save_what_a_failed_one_gave_up() {
        let mut entries = vec![
            Entry::Open { file: 0, creates: true, syncs_directory: true },
            write(0, 0, 1, 10),
            Entry::SyncFailed { file: 0 },
            Entry::Sync { file: 0, through: 3 },
        ];
        assert_eq!(disk(&entries).image(Loss::Everything, &mut Random::new(0))[&0], Vec::<u8>::new());
        entries.extend([write(0, 0, 2, 10), Entry::Sync { file: 0, through: 5 }]);
        for loss in Loss::ALL {
            assert_eq!(disk(&entries).image(loss, &mut Random::new(0))[&0], vec![2; 10]);
        }
    }
}
