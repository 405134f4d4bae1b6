//! The one integration-test binary.

mod fakes;
mod studio;
mod window;
