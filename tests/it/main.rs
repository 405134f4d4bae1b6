//! The one integration-test binary: the library as its front doors use it.

mod architecture;
mod checkpoint;
mod golden;
mod source;
