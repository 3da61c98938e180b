//! Threads that put, and workers whose handlers do what handlers do.

use std::{
    panic::resume_unwind,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use futures::{channel::oneshot, executor::block_on, future};
use larder::{BoxError, ErrorKind, Expected, NewEvent, Store, Task, TaskBucket, WorkOptions};

use crate::{
    BUCKET, EFFECTS,
    recorder::{Entry, Recorder, Said},
};

const PUTTERS: u64 = 2;
const WORKERS: u64 = 4;
const KEYS: u64 = 6;
pub(crate) const ATTEMPTS: u32 = 4;
const LEASE: Duration = Duration::from_millis(40);
/// One in so many triggers is never handled well.
const POISON: u64 = 12;

/// Puts so often on each thread, and works until everything that was put is handled.
pub(crate) fn run(store: &Store, recorder: &Arc<Recorder>, seed: u64, puts: u64) -> Result<(), BoxError> {
    let bucket = store.task_bucket(BUCKET)?;
    let are_put = Arc::new(AtomicBool::new(false));
    thread::scope(|scope| {
        let spawn_putter = |number| {
            let bucket = bucket.clone();
            scope.spawn(move || put(&bucket, &mut Numbers::new(seed, number), puts))
        };
        let putters: Vec<_> = (0..PUTTERS).map(spawn_putter).collect();
        let spawn_worker = |number| {
            let worker = Worker {
                store: store.clone(),
                bucket: bucket.clone(),
                recorder: recorder.clone(),
                numbers: Arc::new(Mutex::new(Numbers::new(seed, 100 + number))),
                death: Arc::default(),
            };
            let are_put = are_put.clone();
            scope.spawn(move || worker.work_on(&are_put))
        };
        let workers: Vec<_> = (0..WORKERS).map(spawn_worker).collect();
        for putter in putters {
            putter.join().map_err(|_| "a putter panicked")??;
        }
        are_put.store(true, Ordering::SeqCst);
        for worker in workers {
            worker.join().map_err(|_| "a worker panicked")??;
        }
        Ok(())
    })
}

fn put(bucket: &TaskBucket, numbers: &mut Numbers, count: u64) -> larder::Result<()> {
    for number in 0..count {
        let key = format!("key-{}", numbers.below(KEYS));
        let wait = if numbers.below(8) == 0 { numbers.below(20) } else { 0 };
        loop {
            let put = bucket.put(&key, number.to_string()).not_before(Duration::from_millis(wait));
            match put.wait() {
                Err(error) if *error.kind() == ErrorKind::Locked => {}
                ended => {
                    ended?;
                    break;
                }
            }
        }
        if numbers.below(3) == 0 {
            thread::sleep(Duration::from_millis(numbers.below(8)));
        }
    }
    Ok(())
}

/// Tells a worker that it is dead.
type Death = Arc<Mutex<Option<oneshot::Sender<()>>>>;

#[derive(Clone)]
struct Worker {
    store: Store,
    bucket: TaskBucket,
    recorder: Arc<Recorder>,
    numbers: Arc<Mutex<Numbers>>,
    death: Death,
}

impl Worker {
    /// Works until all is put and handled; one that dies comes to life again.
    fn work_on(&self, are_put: &AtomicBool) -> larder::Result<()> {
        loop {
            let is_last = are_put.load(Ordering::SeqCst);
            let (sender, death) = oneshot::channel();
            *self.death.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
            let handler = self.clone();
            let work = self.bucket.work(self.options(), move |task| handler.clone().handle(task));
            match block_on(future::select(work, death)) {
                future::Either::Left((ended, _)) => {
                    ended?;
                    if is_last {
                        return Ok(());
                    }
                    // The others are not kept from putting.
                    thread::sleep(Duration::from_millis(1));
                }
                future::Either::Right(_) => {}
            }
        }
    }

    fn options(&self) -> WorkOptions {
        let mut options = WorkOptions::default();
        (options.concurrency, options.lease, options.max_attempts) = (3, LEASE, ATTEMPTS);
        (options.backoff, options.max_backoff) = (Duration::from_millis(4), Duration::from_millis(20));
        (options.until_empty, options.seed) = (true, Some(self.draw(u64::MAX)));
        options
    }

    fn draw(&self, bound: u64) -> u64 {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner).below(bound)
    }

    async fn handle(self, task: Task) -> Result<(), BoxError> {
        self.say(&task, Said::Begins);
        let is_poison = Numbers::new(0, task.version).below(POISON) == 0;
        match self.draw(40) {
            0..=4 => return Err("it fails".into()),
            5 => resume_unwind(Box::new("it panics")),
            // Longer than the lease, which is renewed meanwhile.
            6..=8 => later(LEASE * 2).await,
            // Longer than the lease, and nothing on this thread is renewed.
            9 => thread::sleep(LEASE * 3 / 2),
            10 => {
                let death = self.death.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(death) = death {
                    // Nobody listens if the worker has ended.
                    let _ = death.send(());
                }
                future::pending::<()>().await;
            }
            11..=17 if !is_poison => return self.acknowledge(&task).await,
            _ => {}
        }
        if is_poison {
            return Err("it is poison".into());
        }
        self.say(&task, Said::Succeeds);
        Ok(())
    }

    /// Acknowledges together with what was done.
    async fn acknowledge(&self, task: &Task) -> Result<(), BoxError> {
        self.say(task, Said::Succeeds);
        let effects = self.store.event_log(EFFECTS)?;
        let mut batch = self.store.batch();
        batch.add(effects.append("all", Expected::Any, [NewEvent::new("Handled", &task.version)]));
        batch.add(task.acknowledge());
        batch.commit().await?;
        Ok(())
    }

    fn say(&self, task: &Task, said: Said) {
        let (trigger, attempt, version) = (task.trigger(), task.attempt, task.version);
        self.recorder.enter(Entry::Handler { trigger, attempt, version, said });
    }
}

/// Waits without keeping the thread.
async fn later(time: Duration) {
    let (sender, receiver) = oneshot::channel();
    thread::spawn(move || {
        thread::sleep(time);
        // A handler that was given up does not listen.
        let _ = sender.send(());
    });
    // It is sent.
    let _ = receiver.await;
}

/// A small deterministic source of numbers (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn new(seed: u64, part: u64) -> Self {
        Self(seed ^ part.wrapping_mul(0xd1b5_4a32_d192_ed03))
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        z % bound
    }
}
