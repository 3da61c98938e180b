//! The readers of the key-value store's file; what has to hold is in `src/record_reader.rs`, which ordinary tests run
//! as well.

#![no_main]

#[path = "../src/record_reader.rs"]
mod record_reader;

libfuzzer_sys::fuzz_target!(|data: &[u8]| record_reader::check(data));
