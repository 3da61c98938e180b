//! The conformance suite: what every backend must do, as named cases.
