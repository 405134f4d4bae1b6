//! The one binary of the integration tests.

#![expect(clippy::unwrap_used, reason = "in a test a broken expectation may panic")]

mod architecture;
mod source;
