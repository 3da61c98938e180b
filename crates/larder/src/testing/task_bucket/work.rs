//! Workers: tb_03 and tb_04.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use super::{Told, bucket, claim, on_a_thread, once, until};
use crate::{
    error::ErrorKind,
    event_log::Expected,
    task_bucket::WorkOptions,
    testing::{
        fixture::Fixture,
        support::{CaseResult, backend, event, orders, refused},
    },
};

pub(in crate::testing) fn tb_03_success_acknowledges(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let bucket = bucket(&store)?;
    for n in 0..20 {
        bucket.put(format!("key-{n:02}"), n.to_string()).wait()?;
    }
    let told = Told::default();
    let tell = told.clone();
    let work = |tell: Told| {
        bucket.work(once(), move |task| {
            tell.tell(format!("{} {} {}", task.key, task.attempt, task.text().unwrap_or("?")));
            async { Ok(()) }
        })
    };
    work(tell).wait()?;
    let mut lines = told.take();
    lines.sort();
    let expected: Vec<_> = (0..20).map(|n| format!("key-{n:02} 1 {n}")).collect();
    assert_eq!(lines, expected);
    fixture.clock().advance(Duration::from_secs(3_600));
    work(told.clone()).wait()?;
    assert_eq!(told.lines(), [""; 0]);
    Ok(())
}

pub(in crate::testing) fn tb_03_failures_are_repeated_then_dead_letters(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let bucket = bucket(&store)?;
    bucket.put("bad", "x").wait()?;
    bucket.put("worse", "x").wait()?;
    let told = Told::default();
    let mut options = once();
    options.max_attempts = 3;
    for _ in 0..3 {
        let tell = told.clone();
        let work = bucket.work(options.clone(), move |task| {
            tell.tell(format!("{} {}", task.key, task.attempt));
            async move {
                assert!(task.key != "worse", "it is worse");
                Err("it is bad".into())
            }
        });
        work.wait()?;
        fixture.clock().advance(options.max_backoff);
    }
    let mut lines = told.lines();
    lines.sort();
    assert_eq!(lines, ["bad 1", "bad 2", "bad 3", "worse 1", "worse 2", "worse 3"]);
    let letters = bucket.dead_letters().wait()?.items;
    let errors: Vec<_> =
        letters.iter().map(|letter| (letter.key.as_str(), letter.attempts, letter.error.as_str())).collect();
    let panicked = "the handler panicked: it is worse";
    assert_eq!(errors, [("bad", 3, "it is bad"), ("worse", 3, panicked)]);
    assert_eq!(bucket.redrive(None).wait()?, 2);
    bucket.work(options, |_| async { Ok(()) }).wait()?;
    assert_eq!(store.stats().wait()?.task_buckets[0].triggers, 0);
    assert_eq!(bucket.dead_letters().wait()?.items, []);
    Ok(())
}

pub(in crate::testing) fn tb_03_backoff_goes_by_the_clock(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let bucket = bucket(&store)?;
    bucket.put("a", "x").wait()?;
    let attempts = Arc::new(AtomicUsize::new(0));
    let counter = attempts.clone();
    let options = WorkOptions {
        until_empty: true,
        backoff: Duration::from_secs(3_600),
        max_backoff: Duration::from_secs(36_000),
        seed: Some(3),
        ..WorkOptions::default()
    };
    let work = on_a_thread(bucket.work(options, move |_| {
        let attempt = counter.fetch_add(1, Ordering::SeqCst);
        async move { if attempt < 2 { Err("again".into()) } else { Ok(()) } }
    }));
    for attempt in 1..=2 {
        until("an attempt", || attempts.load(Ordering::SeqCst) == attempt)?;
        until("its failure", || wait_for_failure(&store).is_ok_and(|waits| waits))?;
        thread::sleep(Duration::from_millis(30));
        assert_eq!(attempts.load(Ordering::SeqCst), attempt, "it came before its time");
        fixture.clock().advance(Duration::from_secs(7_200));
    }
    until("the end", || work.is_finished())?;
    work.join().map_err(|_| "the worker panicked")??;
    assert_eq!(attempts.load(Ordering::SeqCst), 3);
    Ok(())
}

/// Whether the trigger waits for its time, under no lease: a claim finds nothing, and it is due within ten hours.
fn wait_for_failure(store: &crate::Store) -> crate::Result<bool> {
    let backend = backend(store)?;
    let due = crate::wait(backend.next_due("mails".into()))?;
    let now = crate::clock::micros_since_epoch(backend.clock().now());
    Ok(due.is_some_and(|due| due > now + 60_000_000))
}

pub(in crate::testing) fn tb_03_a_lease_is_kept_while_the_handler_runs(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let bucket = bucket(&store)?;
    bucket.put("a", "x").wait()?;
    let (release, released) = futures_channel::oneshot::channel::<()>();
    let slot = Arc::new(std::sync::Mutex::new(Some(released)));
    let started = Told::default();
    let tell = started.clone();
    let mut options = WorkOptions { until_empty: true, ..WorkOptions::default() };
    options.lease = Duration::from_secs(30);
    let work = on_a_thread(bucket.work(options, move |task| {
        tell.tell(task.attempt.to_string());
        let released = slot.lock().expect("nobody panics with it").take();
        async move {
            released.ok_or("a second attempt")?.await?;
            Ok(())
        }
    }));
    until("the handler", || !started.lines().is_empty())?;
    let backend = backend(&store)?;
    for _ in 0..10 {
        let before = crate::wait(backend.next_due("mails".into()))?;
        fixture.clock().advance(Duration::from_secs(11));
        until("a renewal", || crate::wait(backend.next_due("mails".into())).is_ok_and(|due| due > before))?;
        assert_eq!(claim(&backend, 1)?, []);
    }
    release.send(()).map_err(|()| "the handler is gone")?;
    until("the end", || work.is_finished())?;
    work.join().map_err(|_| "the worker panicked")??;
    assert_eq!(started.lines(), ["1"]);
    Ok(())
}

pub(in crate::testing) fn tb_03_a_lost_lease_ends_the_handler(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let bucket = bucket(&store)?;
    bucket.put("a", "x").wait()?;
    let told = Told::default();
    let tell = told.clone();
    let options = WorkOptions { until_empty: true, ..WorkOptions::default() };
    let work = on_a_thread(bucket.work(options, move |task| {
        tell.tell(task.attempt.to_string());
        async move { if task.attempt == 1 { std::future::pending().await } else { Ok(()) } }
    }));
    until("the handler", || !told.lines().is_empty())?;
    // The process was away for an hour: the lease ran out before it could be renewed.
    fixture.clock().advance(Duration::from_secs(3_600));
    until("the end", || work.is_finished())?;
    work.join().map_err(|_| "the worker panicked")??;
    assert_eq!(told.lines(), ["1", "2"]);
    Ok(())
}

pub(in crate::testing) fn tb_03_an_acknowledgement_commits_with_the_effects(
    fixture: &dyn Fixture,
) -> CaseResult {
    let store = fixture.store()?;
    let (log, bucket) = (orders(&store)?, bucket(&store)?);
    bucket.put("a", "x").wait()?;
    let (handler_store, handler_log, clock) = (store.clone(), log.clone(), fixture.clock().clone());
    let mut options = once();
    options.concurrency = 1;
    let work = bucket.work(options, move |task| {
        let (store, log, clock) = (handler_store.clone(), handler_log.clone(), clock.clone());
        async move {
            if task.attempt == 1 {
                // Away for longer than the lease.
                clock.advance(Duration::from_secs(31));
            }
            let mut batch = store.batch();
            batch.add(log.append("done", Expected::Any, [event("Done")]));
            let ended = batch.add(task.acknowledge());
            match batch.commit().await {
                Err(error) if task.attempt == 1 => {
                    assert_eq!((error.kind(), error.index()), (&ErrorKind::LeaseLost, Some(ended.index())));
                    Ok(())
                }
                committed => Ok(committed.map(drop)?),
            }
        }
    });
    work.wait()?;
    assert_eq!(log.head("done").wait()?, 1);
    assert_eq!(store.stats().wait()?.task_buckets[0].triggers, 0);
    Ok(())
}

pub(in crate::testing) fn tb_03_concurrency_is_limited(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let bucket = bucket(&store)?;
    for n in 0..12 {
        bucket.put(format!("key-{n}"), "x").wait()?;
    }
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counter, highest) = (now, most.clone());
    let options = WorkOptions { concurrency: 3, ..once() };
    let work = bucket.work(options, move |_| {
        let (counter, highest) = (counter.clone(), highest.clone());
        async move {
            highest.fetch_max(counter.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let mut yields = 3;
            std::future::poll_fn(|context| {
                yields -= 1;
                context.waker().wake_by_ref();
                if yields == 0 { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
            })
            .await;
            counter.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        }
    });
    work.wait()?;
    assert_eq!(most.load(Ordering::SeqCst), 3);
    Ok(())
}

pub(in crate::testing) fn tb_03_work_wakes_for_puts_and_ends_with_the_store(
    fixture: &dyn Fixture,
) -> CaseResult {
    let store = fixture.store()?;
    let bucket = bucket(&store)?;
    let told = Told::default();
    let tell = told.clone();
    let work = on_a_thread(bucket.work(WorkOptions::default(), move |task| {
        tell.tell(task.key);
        async { Ok(()) }
    }));
    for n in 1..=3 {
        bucket.put(format!("key-{n}"), "x").wait()?;
        until("the task", || told.lines().len() == n)?;
    }
    bucket.put("later", "x").not_before(Duration::from_secs(60)).wait()?;
    thread::sleep(Duration::from_millis(20));
    assert_eq!(told.lines().len(), 3);
    fixture.clock().advance(Duration::from_secs(60));
    until("the later task", || told.lines().len() == 4)?;
    store.close().wait()?;
    until("the end", || work.is_finished())?;
    work.join().map_err(|_| "the worker panicked")??;
    Ok(())
}

pub(in crate::testing) fn tb_03_options_are_checked(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let bucket = bucket(&store)?;
    let work = |change: fn(&mut WorkOptions)| {
        let mut options = once();
        change(&mut options);
        bucket.work(options, |_| async { Ok(()) }).wait()
    };
    let none = work(|options| options.concurrency = 0);
    refused!(none, ErrorKind::InvalidArgument { field: "concurrency", .. });
    let many = work(|options| options.concurrency = 1_025);
    refused!(many, ErrorKind::InvalidArgument { field: "concurrency", .. });
    let short = work(|options| options.lease = Duration::ZERO);
    refused!(short, ErrorKind::InvalidArgument { field: "lease", .. });
    let never = work(|options| options.max_attempts = 0);
    refused!(never, ErrorKind::InvalidArgument { field: "max attempts", .. });
    Ok(())
}

pub(in crate::testing) fn tb_04_a_failing_key_holds_back_no_other(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let bucket = bucket(&store)?;
    for text in ["1", "2", "3"] {
        bucket.put("bad", text).wait()?;
        bucket.put("good", text).wait()?;
    }
    let told = Told::default();
    for _ in 0..4 {
        let tell = told.clone();
        let mut options = once();
        options.max_attempts = 2;
        let work = bucket.work(options.clone(), move |task| {
            tell.tell(format!("{} {} {}", task.key, task.version, task.attempt));
            let fails = task.key == "bad" && task.version == 1;
            async move { if fails { Err("no".into()) } else { Ok(()) } }
        });
        work.wait()?;
        fixture.clock().advance(options.max_backoff);
    }
    let lines = told.lines();
    let of = |key: &str| lines.iter().filter(|line| line.starts_with(key)).cloned().collect::<Vec<_>>();
    let (bad, good) = (of("bad"), of("good"));
    assert_eq!((bad.len(), good.len()), (4, 3), "{lines:?}");
    assert!(bad[0] == "bad 1 1" && bad[1] == "bad 1 2", "{bad:?}");
    let last_good = lines.iter().rposition(|line| line.starts_with("good"));
    let second_bad = lines.iter().position(|line| line == "bad 1 2");
    assert!(last_good < second_bad, "{lines:?}");
    Ok(())
}
