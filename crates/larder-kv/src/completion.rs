//! An answer that somebody waits for.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
    thread,
};

use crate::error::{Error, Result};

/// Where the answer to a call is put, and who is told when it is there.
#[derive(Debug)]
pub(crate) struct Completion<T> {
    state: Mutex<State<T>>,
}

#[derive(Debug)]
enum State<T> {
    Open(Option<Waker>),
    Done(T),
    Taken,
}

impl<T> Completion<T> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State::Open(None)) })
    }

    /// Puts the answer there, unless there is one already.
    pub(crate) fn complete(&self, answer: T) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State::Open(waker) = &mut *state else { return };
        let waker = waker.take();
        *state = State::Done(answer);
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn poll(&self, context: &Context<'_>) -> Poll<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::Open(waker) = &mut *state {
            match waker {
                Some(waker) => waker.clone_from(context.waker()),
                None => *waker = Some(context.waker().clone()),
            }
            return Poll::Pending;
        }
        match std::mem::replace(&mut *state, State::Taken) {
            State::Done(answer) => Poll::Ready(answer),
            State::Open(_) | State::Taken => panic!("polled after it was done"),
        }
    }
}

/// The answer, awaited.
pub(crate) struct Answer<T>(pub(crate) Arc<Completion<T>>);

impl<T> Future for Answer<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        self.0.poll(context)
    }
}

/// Runs what blocks on a thread of its own, so that it can be awaited anywhere.
pub(crate) async fn on_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let completion = Completion::new();
    let answer = Answer(completion.clone());
    let spawned = thread::Builder::new().name(name.into()).spawn(move || {
        let dropped = AnswerOnDrop(completion);
        let answer = work();
        dropped.0.complete(answer);
    });
    spawned.map_err(Error::io)?;
    answer.await
}

/// Lets nobody wait for a thread that has panicked.
struct AnswerOnDrop<T>(Arc<Completion<Result<T>>>);

impl<T> Drop for AnswerOnDrop<T> {
    fn drop(&mut self) {
        self.0.complete(Err(Error::io(std::io::Error::other("the thread that did this has panicked"))));
    }
}
