//! `larder-crash`: the crash-safety harnesses, for as long as you like. See docs/crash-testing.md.

use std::{env, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use larder_crash::{
    Failure,
    child::{self, ChildOptions, Chore},
    faults,
    faulty::{Kind, Way},
    flips, fresh_seed, images, kill, kv,
    kv::reading::Checksums,
    projections,
};

/// Tries to make a Larder store lose or garble what it acknowledged.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    harness: Harness,
}

#[derive(Debug, Subcommand)]
enum Harness {
    /// Power cuts: reopens what may be on the disk after one, at any moment of a workload
    Images {
        /// How many images
        #[arg(long, default_value_t = 5_000)]
        images: u64,
        /// Threads that write; with 1, a seed gives the same images each time
        #[arg(long, default_value_t = 4)]
        writers: u32,
        /// Replays a run
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Kills: ends a writing process with SIGKILL, over and over
    Kill {
        /// How many processes
        #[arg(long, default_value_t = 200)]
        rounds: u32,
        /// Replays a run, as far as threads allow
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Faults: fails every call to the disk, once and from then on, and fills the disk
    Faults {
        /// How many workloads
        #[arg(long, default_value_t = 1)]
        rounds: u32,
        /// Fail only every so-manieth call
        #[arg(long, default_value_t = 1)]
        every: u64,
        /// Power cuts after each fault
        #[arg(long, default_value_t = 4)]
        images: u64,
        /// Only this kind of call
        #[arg(long)]
        kind: Option<Kind>,
        /// Replays a run
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Bit flips: damages a stored file, and compares everything it answers
    Flips {
        /// How many stores
        #[arg(long, default_value_t = 2)]
        rounds: u32,
        /// How many times each is damaged, spread evenly over the file
        #[arg(long, default_value_t = 5_000)]
        flips: u64,
        /// Replays a run
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Projections: ends a process that appends and projects with SIGKILL, over and over
    Projections {
        /// How many processes
        #[arg(long, default_value_t = 200)]
        rounds: u32,
        /// Replays a run, as far as threads allow
        #[arg(long)]
        seed: Option<u64>,
    },
    /// The key-value client: power cuts at every call of a workload with compactions
    KvImages {
        /// How many images
        #[arg(long, default_value_t = 20_000)]
        images: u64,
        /// Threads that write
        #[arg(long, default_value_t = 3)]
        writers: u32,
        /// Replays a run
        #[arg(long)]
        seed: Option<u64>,
    },
    /// The key-value client: ends a writing process with SIGKILL, over and over
    KvKill {
        /// How many processes
        #[arg(long, default_value_t = 200)]
        rounds: u32,
        /// Replays a run, as far as threads allow
        #[arg(long)]
        seed: Option<u64>,
    },
    /// The key-value client: fails every call to the disk, once and from then on, and fills the disk
    KvFaults {
        /// How many workloads
        #[arg(long, default_value_t = 4)]
        rounds: u32,
        /// Replays a run
        #[arg(long)]
        seed: Option<u64>,
    },
    /// The key-value client: cuts its file at every byte, and flips every byte
    KvDamage {
        /// How many files
        #[arg(long, default_value_t = 4)]
        rounds: u32,
        /// Only every so-manieth byte
        #[arg(long, default_value_t = 1)]
        every: usize,
        /// Replays a run
        #[arg(long)]
        seed: Option<u64>,
    },
    /// What `projections` kills
    #[command(hide = true)]
    ProjectionsChild {
        #[arg(long)]
        path: PathBuf,
        #[arg(long)]
        seed: u64,
        #[arg(long)]
        task: projections::Task,
        #[arg(long)]
        owns: bool,
        #[arg(long)]
        splits: bool,
    },
    /// What `kv-kill` kills
    #[command(hide = true)]
    KvChild {
        #[arg(long)]
        path: PathBuf,
        #[arg(long)]
        seed: u64,
        #[arg(long, value_delimiter = ',')]
        next: Vec<u64>,
        #[arg(long)]
        buffered: bool,
        #[arg(long)]
        answers_early: bool,
    },
    /// What `kill` kills
    #[command(hide = true)]
    Child {
        #[arg(long)]
        path: PathBuf,
        #[arg(long)]
        seed: u64,
        #[arg(long)]
        life: u32,
        #[arg(long)]
        writers: u32,
        #[arg(long)]
        chore: Chore,
        #[arg(long)]
        answers_early: bool,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().harness) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(harness: Harness) -> Result<(), Failure> {
    match harness {
        Harness::Images { images, writers, seed } => {
            let options = images::Options { writers, ..images::Options::new(announced(seed), images) };
            println!("{:#?}", images::run(&options)?);
        }
        Harness::Kill { rounds, seed } => {
            let program = env::current_exe()?;
            println!("{:#?}", kill::run(&kill::Options::new(program, announced(seed), rounds))?);
        }
        Harness::Faults { rounds, every, images, kind, seed } => {
            let seed = announced(seed);
            let kinds = kind.map_or(Kind::ALL.to_vec(), |kind| vec![kind]);
            for kind in kinds {
                let full = if kind == Kind::Write { &[Way::Full][..] } else { &[] };
                let ways = [&[Way::Once, Way::Sticky], full].concat();
                let options =
                    faults::Options { rounds, every, images, ..faults::Options::new(seed, &[kind], &ways) };
                println!("{kind:?}: {:#?}", faults::run(&options)?);
            }
        }
        Harness::Flips { rounds, flips, seed } => {
            let options = flips::Options { rounds, ..flips::Options::new(announced(seed), flips) };
            println!("{:#?}", flips::run(&options)?);
        }
        Harness::Projections { rounds, seed } => {
            let options = projections::Options::new(env::current_exe()?, announced(seed), rounds);
            println!("{:#?}", projections::run(&options)?);
        }
        Harness::ProjectionsChild { path, seed, task, owns, splits } => {
            projections::child(&projections::ChildOptions { path, seed, task, owns, splits })?;
        }
        Harness::KvImages { images, writers, seed } => {
            let options =
                kv::images::Options { writers, ..kv::images::Options::new(announced(seed), images) };
            println!("{:#?}", kv::images::run(&options)?);
        }
        Harness::KvKill { rounds, seed } => {
            let options = kv::kill::Options::new(env::current_exe()?, announced(seed), rounds);
            println!("{:#?}", kv::kill::run(&options)?);
        }
        Harness::KvFaults { rounds, seed } => {
            println!("{:#?}", kv::faults::run(&kv::faults::Options::new(announced(seed), rounds))?);
        }
        Harness::KvDamage { rounds, every, seed } => {
            let options =
                kv::damage::Options { seed: announced(seed), rounds, every, checksums: Checksums::Compared };
            println!("{:#?}", kv::damage::run(&options)?);
        }
        Harness::KvChild { path, seed, next, buffered, answers_early } => {
            kv::kill::child(&kv::kill::ChildOptions { path, seed, next, buffered, answers_early })?;
        }
        Harness::Child { path, seed, life, writers, chore, answers_early } => {
            child::run(&ChildOptions { path, seed, life, writers, chore, answers_early })?;
        }
    }
    Ok(())
}

/// The seed to use, shown before anything can go wrong.
fn announced(seed: Option<u64>) -> u64 {
    let seed = seed.unwrap_or_else(fresh_seed);
    println!("seed {seed}");
    seed
}
