//! Declares the kinds of [`Write`](crate::Write)s of a surface: what each answers.

macro_rules! write_kind {
    ($(#[$doc:meta] $kind:ident => $outcome:ty, $pattern:pat => $found:expr;)*) => {$(
        #[$doc]
        #[derive(Debug)]
        pub enum $kind {}

        impl $crate::page::sealed::Sealed for $kind {}

        impl $crate::operation::WriteKind for $kind {
            type Outcome = $outcome;

            fn outcome(outcome: &$crate::backend::Outcome) -> Option<&$outcome> {
                match outcome {
                    $pattern => Some($found),
                    _ => None,
                }
            }
        }
    )*};
}

pub(crate) use write_kind;
