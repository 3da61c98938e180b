//! The program as its users run it.

mod flows;
mod help;
mod refusals;
mod support;
