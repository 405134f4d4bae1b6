//! The one integration-test binary: the library as its front doors use it.

mod checkpoint;
mod golden;
