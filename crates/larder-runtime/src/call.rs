//! A call as a value.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use crate::{owned::Owned, wait::wait};

/// A future whose type is hidden.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A call without options: await it, or [wait](Call::wait) on it.
///
/// ```
/// use larder_runtime::Call;
///
/// let call: Call<i32, String> = Call::new(async { Ok(1) });
/// assert_eq!(call.wait(), Ok(1)); // or `call.await`
/// ```
#[must_use = "a call does nothing until it is awaited or waited on"]
pub struct Call<T, E> {
    future: Owned<BoxFuture<'static, Result<T, E>>>,
}

impl<T, E> Call<T, E> {
    /// A call that runs this future.
    pub fn new(future: impl Future<Output = Result<T, E>> + Send + 'static) -> Self {
        Self { future: Owned::new(Box::pin(future)) }
    }

    /// Runs the call on this thread.
    ///
    /// # Errors
    /// As documented where the call was made.
    pub fn wait(self) -> Result<T, E> {
        wait(self)
    }
}

impl<T, E> Future for Call<T, E> {
    type Output = Result<T, E>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.future.get_mut().as_mut().poll(context)
    }
}

impl<T, E> fmt::Debug for Call<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Call(..)")
    }
}
