//! The tests that the examples' deciders carry with them, in given/when/then form.

#![expect(dead_code, reason = "the programs around the deciders are run by `examples.rs`")]

#[path = "../examples/course_decider.rs"]
mod course_decider;
#[path = "../examples/orders.rs"]
mod orders;
