//! Projections: a process that appends and projects is killed; the read model is that of one clean run.

mod child;
mod kill;
mod model;
mod split;

pub use self::{
    child::{ChildOptions, Task, child},
    kill::{Options, Report, run},
};
