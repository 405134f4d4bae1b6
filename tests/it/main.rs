//! The one integration-test binary: the library as its front doors use it.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "in a test a broken expectation may panic")]
#![expect(clippy::print_stderr, reason = "the golden tests tell how close they came, shown with --nocapture")]

mod adapters;
mod architecture;
mod checkpoint;
mod command_line;
mod comparison;
mod fakes;
mod first_light;
mod golden;
mod picture_files;
mod recipe_files;
mod single_files;
mod source;
mod studio;
mod window;
mod window_prompts;
mod window_settings;
