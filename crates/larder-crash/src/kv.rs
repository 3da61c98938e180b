//! The same for the key-value client, which brings its own seam to the disk.
//!
//! - [`images`]: power cuts, at every call of a workload with compactions, over several lives of a file
//! - [`kill`]: processes that are killed while they write
//! - [`faults`]: calls to the disk that fail
//! - [`damage`]: a file that is cut, or flipped, at every byte
//!
//! All but the last compare what a reopened client holds with a [`ledger`] of what was submitted and answered.

pub mod damage;
pub mod disk;
pub mod faults;
pub mod images;
pub mod kill;
pub mod ledger;
pub mod reading;
pub mod step;
