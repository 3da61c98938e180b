//! The worker: claims what is due, runs handlers, and waits for more.

use std::{
    any::Any,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use super::{
    TaskBucket,
    kind::Claim,
    options::{Jitter, WorkOptions},
    put::micros,
    task::{Held, Task},
};
use crate::{
    backend::{BoxFuture, Claimed, Operation, TaskBucketOperation},
    bus::Listener,
    clock::micros_since_epoch,
    error::{BoxError, Error, ErrorKind, Result},
    operation::Write,
    timer::{Sleep, Timer},
};

/// After what could not be done just now, as on a locked store, it is tried again.
const PAUSE: Duration = Duration::from_millis(250);
/// No wait is longer: a clock that was set back is noticed.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// What a look at the bucket found.
enum Look {
    Claimed(Vec<Claimed>),
    /// Nothing is due before this time.
    DueAt(u64),
    Empty,
}

struct Worker<F> {
    bucket: TaskBucket,
    options: WorkOptions,
    handler: Arc<F>,
    jitter: Arc<Mutex<Jitter>>,
    timer: Timer,
    listener: Listener,
    /// Handlers that run, and what follows on them.
    running: Vec<BoxFuture<'static, Result<()>>>,
    looking: Option<BoxFuture<'static, Result<Look>>>,
    /// Whether something may have become due since the last look.
    look_again: bool,
    sleep: Option<Sleep>,
}

pub(super) async fn run<F, Fut>(bucket: TaskBucket, options: WorkOptions, handler: F) -> Result<()>
where
    F: Fn(Task) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    options.check()?;
    let backend = bucket.store.backend().await?;
    let timer = bucket.store.timer().await?;
    let listener = backend.bus().listen(&format!("bucket/{}", bucket.name));
    let jitter = Arc::new(Mutex::new(Jitter::new(options.seed)));
    let mut worker = Worker {
        bucket,
        options,
        handler: Arc::new(handler),
        jitter,
        timer,
        listener,
        running: Vec::new(),
        looking: None,
        look_again: true,
        sleep: None,
    };
    poll_fn(|context| worker.poll(context)).await
}

impl<F, Fut> Worker<F>
where
    F: Fn(Task) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<()>> {
        loop {
            if self.bucket.store.is_closed() {
                return Poll::Ready(Ok(()));
            }
            self.poll_running(context)?;
            let has_room = self.running.len() < self.options.concurrency;
            if self.looking.is_none() && self.look_again && has_room {
                self.look_again = false;
                self.sleep = None;
                self.listener.observe();
                self.looking = Some(self.look());
            }
            if let Some(looking) = &mut self.looking {
                let Poll::Ready(look) = looking.as_mut().poll(context) else { return Poll::Pending };
                self.looking = None;
                if self.found(look)? {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            // While every place is taken, only a handler that ends is worth waking up for.
            if !has_room {
                self.look_again = true;
                return Poll::Pending;
            }
            let changed = self.listener.poll_changed(context).is_ready();
            let rang = self.sleep.as_mut().is_some_and(|sleep| Pin::new(sleep).poll(context).is_ready());
            if !changed && !rang {
                return Poll::Pending;
            }
            self.look_again = true;
        }
    }

    /// Polls every handler. One that ends makes room, and may have been what others waited for.
    fn poll_running(&mut self, context: &mut Context<'_>) -> Result<()> {
        let mut failed = None;
        let before = self.running.len();
        self.running.retain_mut(|running| match running.as_mut().poll(context) {
            Poll::Pending => true,
            Poll::Ready(ended) => {
                failed = failed.take().or(ended.err());
                false
            }
        });
        self.look_again |= self.running.len() < before;
        failed.map_or(Ok(()), Err)
    }

    /// Looks without writing first: a claim takes the writer's lock.
    fn look(&self) -> BoxFuture<'static, Result<Look>> {
        let (bucket, timer) = (self.bucket.clone(), self.timer.clone());
        let operation = TaskBucketOperation::Claim {
            bucket: bucket.name.clone(),
            limit: self.options.concurrency - self.running.len(),
            lease: micros(self.options.lease),
            max_attempts: self.options.max_attempts,
        };
        Box::pin(async move {
            let backend = bucket.store.backend().await?;
            match backend.next_due(bucket.name.clone()).await? {
                None => Ok(Look::Empty),
                Some(due_at) if due_at > micros_since_epoch(timer.now()) => Ok(Look::DueAt(due_at)),
                Some(_) => {
                    let operation = Ok(Operation::TaskBucket(operation));
                    Ok(Look::Claimed(Write::<Claim>::new(bucket.store.clone(), operation).await?))
                }
            }
        })
    }

    /// Answers whether the work is done.
    fn found(&mut self, look: Result<Look>) -> Result<bool> {
        let is_idle = self.running.is_empty();
        match look {
            Ok(Look::Claimed(claimed)) => {
                // There may be more, or nothing but what became a dead letter: the next look tells.
                self.look_again = true;
                for claimed in claimed {
                    self.start(claimed);
                }
            }
            Ok(Look::DueAt(_)) if is_idle && self.options.once => return Ok(true),
            Ok(Look::DueAt(due_at)) => {
                let due_at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_micros(due_at));
                let latest = self.timer.now() + LONGEST_SLEEP;
                self.sleep = Some(self.timer.sleep_until(due_at.map_or(latest, |due_at| due_at.min(latest))));
            }
            Ok(Look::Empty) => return Ok(is_idle && (self.options.until_empty || self.options.once)),
            Err(error) if error.is_retryable() => {
                tracing::warn!(%error, bucket = self.bucket.name(), "tasks could not be claimed, trying again");
                self.sleep = Some(self.timer.sleep(PAUSE));
            }
            Err(error) => return Err(error),
        }
        Ok(false)
    }

    fn start(&mut self, claimed: Claimed) {
        let held = Held::new(self.bucket.store.clone(), self.bucket.name.clone(), claimed.lease);
        let one = One {
            bucket: self.bucket.clone(),
            options: self.options.clone(),
            handler: self.handler.clone(),
            jitter: self.jitter.clone(),
            timer: self.timer.clone(),
            held,
        };
        self.running.push(Box::pin(one.run(claimed)));
    }
}

/// One attempt at one trigger.
struct One<F> {
    bucket: TaskBucket,
    options: WorkOptions,
    handler: Arc<F>,
    jitter: Arc<Mutex<Jitter>>,
    timer: Timer,
    held: Held,
}

impl<F, Fut> One<F>
where
    F: Fn(Task) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    async fn run(self, claimed: Claimed) -> Result<()> {
        let (attempt, key) = (claimed.attempt, claimed.key.clone());
        let handled = match self.task(claimed).await {
            Ok(task) => match self.handle(task).await {
                Some(handled) => Ok(handled),
                None => {
                    tracing::warn!(
                        bucket = self.bucket.name(),
                        key,
                        "the lease was lost, the handler is given up"
                    );
                    return Ok(());
                }
            },
            Err(error) if *error.kind() == ErrorKind::Corrupted => Ok(Err(error.to_string())),
            // No failure of the handler's.
            Err(error) => Err(error),
        };
        let ended = match handled {
            Err(error) => Err(error),
            Ok(Ok(())) => self.held.acknowledge().await,
            Ok(Err(error)) => {
                let retry_after = (attempt < self.options.max_attempts).then(|| self.wait_after(attempt));
                tracing::warn!(%error, bucket = self.bucket.name(), key, attempt, "a task failed");
                self.held.fail(error, retry_after).await
            }
        };
        match ended {
            Ok(()) => Ok(()),
            Err(error) if *error.kind() == ErrorKind::LeaseLost => {
                if !self.held.is_left_to_handler() {
                    tracing::warn!(
                        bucket = self.bucket.name(),
                        key,
                        "the lease ran out while it was handled"
                    );
                }
                Ok(())
            }
            // The lease runs out, and then it is attempted again.
            Err(error) if error.is_retryable() => {
                tracing::warn!(%error, bucket = self.bucket.name(), key, "a task could not be ended");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Runs the handler, renewing the lease meanwhile; `None` if that was lost. The error is told as text.
    async fn handle(&self, task: Task) -> Option<Result<(), String>> {
        let handler = self.handler.clone();
        let mut handling = match catch_unwind(AssertUnwindSafe(|| Box::pin(handler(task)))) {
            Ok(handling) => handling,
            Err(panic) => return Some(Err(told(&*panic))),
        };
        let mut renewing = self.renewals();
        poll_fn(|context| {
            let polled = catch_unwind(AssertUnwindSafe(|| handling.as_mut().poll(context)));
            match polled {
                Err(panic) => return Poll::Ready(Some(Err(told(&*panic)))),
                Ok(Poll::Ready(handled)) => {
                    return Poll::Ready(Some(handled.map_err(|error| chain(&*error))));
                }
                Ok(Poll::Pending) => {}
            }
            renewing.as_mut().poll(context).map(|()| None)
        })
        .await
    }

    /// The trigger with its object as it is now.
    async fn task(&self, claimed: Claimed) -> Result<Task> {
        let object = match claimed.kind {
            super::TaskKind::ObjectCreated => {
                let backend = self.bucket.store.backend().await?;
                backend.read_object(self.bucket.name.clone(), claimed.key.clone()).await?
            }
            super::TaskKind::ObjectRemoved => None,
        };
        Ok(Task::new(self.held.clone(), claimed, object))
    }

    /// Renews the lease again and again; ends when it is lost. What else goes wrong is tried again.
    fn renewals(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            loop {
                self.timer.sleep(self.options.lease / 3).await;
                match self.held.renew(micros(self.options.lease)).await {
                    Ok(()) => {}
                    Err(error) if *error.kind() == ErrorKind::LeaseLost => {
                        if !self.held.is_left_to_handler() {
                            return;
                        }
                        // The handler has ended the trigger itself, and has something left to do.
                        std::future::pending::<()>().await;
                    }
                    Err(error) => tracing::warn!(%error, "a lease could not be renewed"),
                }
            }
        })
    }

    /// How long to wait after a failed attempt, in microseconds.
    fn wait_after(&self, attempt: u32) -> u64 {
        let mut jitter = self.jitter.lock().unwrap_or_else(PoisonError::into_inner);
        jitter.below(micros(self.options.longest_wait(attempt)))
    }
}

/// What a panic said.
fn told(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the handler panicked: {}", text.unwrap_or("it did not say why"))
}

/// An error with its causes. One of the store tells its own.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = if error.is::<Error>() { None } else { error.source() };
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
