//! The one integration-test binary.

mod fakes;
mod window;
