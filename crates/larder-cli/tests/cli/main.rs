//! The program as its users run it.

mod flows;
mod help;
mod kv;
mod projections;
mod querydb;
mod refusals;
mod snapshots;
mod support;
mod tasks;
mod transfer;
