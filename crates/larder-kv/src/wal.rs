//! The write-ahead log: its bytes, writing, reading, recovery and repair.
//!
//! What the bytes mean is written down in `docs/formats/kv-wal.md`. [`header`], [`frame`] and [`record`] are pure:
//! bytes in, values out, for tools and fuzzers as much as for the client.

pub mod frame;
pub mod header;
pub mod record;

pub(crate) mod reader;
pub(crate) mod recovery;
pub(crate) mod repair;
pub(crate) mod writer;

#[cfg(test)]
mod crash;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;
