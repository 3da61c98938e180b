//! The program as its users run it.

mod flows;
mod help;
mod kv;
mod refusals;
mod querydb;
mod snapshots;
mod support;
