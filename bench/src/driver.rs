//! The drivers: the same loop of tasks, or of one thread, whatever the side.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;
use tokio::{runtime::Runtime, task::JoinSet};

use crate::harness::{Measurement, Scene};

/// What a driver saw.
#[derive(Debug, Clone, Copy)]
pub struct Driven {
    /// What was done within the window.
    pub measured: Measurement,
    /// What was done in all, warm-up and stragglers included: what the store must hold.
    pub total: u64,
}

/// The runtime that every side's tasks run on.
pub fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

/// When to start counting and when to stop.
#[derive(Debug, Clone, Copy)]
struct Window {
    from: Instant,
    to: Instant,
}

impl Window {
    fn opening_now(scene: &Scene) -> Self {
        let from = Instant::now() + scene.warm_up();
        Self { from, to: from + scene.window() }
    }

    fn driven(self, units: u64, total: u64, processor: Processor) -> Driven {
        let elapsed = self.to - self.from;
        let measured = Measurement { units, elapsed, processor: processor.per_unit(total) };
        Driven { measured, total }
    }
}

/// How much processor time this process had used at some moment.
#[derive(Debug, Clone, Copy)]
struct Processor(Duration);

impl Processor {
    fn now() -> Self {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Self(Duration::try_from(time).unwrap_or_default())
    }

    fn per_unit(self, units: u64) -> Option<Duration> {
        let used = Self::now().0.saturating_sub(self.0);
        (units > 0).then(|| used.div_f64(units as f64))
    }
}

/// Runs `writers` tasks, each repeating `step(writer, n)` for n = 0, 1, …; a step is one unit, counted if it ends
/// within the window.
pub fn tasks<F, S>(runtime: &Runtime, writers: usize, scene: &Scene, step: F) -> Result<Driven>
where
    F: Fn(usize, u64) -> S + Send + Sync + 'static,
    S: Future<Output = Result<()>> + Send,
{
    let (step, window, processor) = (Arc::new(step), Window::opening_now(scene), Processor::now());
    runtime.block_on(async {
        let mut running = JoinSet::new();
        for writer in 0..writers {
            let step = step.clone();
            running.spawn(async move { repeat_step(writer, &*step, window).await });
        }
        let (mut counted, mut total) = (0, 0);
        while let Some(ended) = running.join_next().await {
            let (in_window, all) = ended??;
            counted += in_window;
            total += all;
        }
        Ok(window.driven(counted, total, processor))
    })
}

async fn repeat_step<F, S>(writer: usize, step: &F, window: Window) -> Result<(u64, u64)>
where
    F: Fn(usize, u64) -> S,
    S: Future<Output = Result<()>>,
{
    let (mut counted, mut total) = (0, 0);
    loop {
        step(writer, total).await?;
        total += 1;
        let now = Instant::now();
        if now > window.to {
            return Ok((counted, total));
        }
        counted += u64::from(now >= window.from);
    }
}

/// Repeats `step(n)` on this thread for n = 0, 1, …; a step is one unit, counted if it ends within the window.
pub fn thread(scene: &Scene, mut step: impl FnMut(u64) -> Result<()>) -> Result<Driven> {
    let (window, processor) = (Window::opening_now(scene), Processor::now());
    let (mut counted, mut total) = (0, 0);
    loop {
        step(total)?;
        total += 1;
        let now = Instant::now();
        if now > window.to {
            return Ok(window.driven(counted, total, processor));
        }
        counted += u64::from(now >= window.from);
    }
}

/// As [`tasks`], with a thread for each writer.
pub fn threads<F>(writers: usize, scene: &Scene, step: F) -> Result<Driven>
where
    F: Fn(usize, u64) -> Result<()> + Sync,
{
    let (step, window, processor) = (&step, Window::opening_now(scene), Processor::now());
    std::thread::scope(|scope| {
        let running: Vec<_> =
            (0..writers).map(|writer| scope.spawn(move || repeat_on_thread(writer, step, window))).collect();
        let (mut counted, mut total) = (0, 0);
        for thread in running {
            let (in_window, all) = thread.join().map_err(|_| anyhow::anyhow!("a writer panicked"))??;
            counted += in_window;
            total += all;
        }
        Ok(window.driven(counted, total, processor))
    })
}

fn repeat_on_thread(
    writer: usize,
    step: impl Fn(usize, u64) -> Result<()>,
    window: Window,
) -> Result<(u64, u64)> {
    let (mut counted, mut total) = (0, 0);
    loop {
        step(writer, total)?;
        total += 1;
        let now = Instant::now();
        if now > window.to {
            return Ok((counted, total));
        }
        counted += u64::from(now >= window.from);
    }
}

/// Runs a whole job once for warm-up, then again and again until the window is over; it answers how many units it
/// did.
pub fn whole(scene: &Scene, mut job: impl FnMut() -> Result<u64>) -> Result<Measurement> {
    job()?;
    let (start, processor) = (Instant::now(), Processor::now());
    let mut units = 0;
    loop {
        units += job()?;
        let elapsed = start.elapsed();
        if elapsed >= scene.window() {
            return Ok(Measurement { units, elapsed, processor: processor.per_unit(units) });
        }
    }
}

/// Times a job that runs once.
pub fn once<T>(job: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
    let start = Instant::now();
    let answer = job()?;
    Ok((answer, start.elapsed()))
}
