//! The one integration-test binary: the library as its front doors use it.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "in a test a broken expectation may panic")]
#![expect(clippy::print_stderr, reason = "the golden tests tell how close they came, shown with --nocapture")]

mod accelerations;
mod adapters;
mod architecture;
mod bench_command;
mod checkpoint;
mod command_line;
mod companions;
mod comparison;
mod download_desk;
mod downloads;
mod downloads_cancelled;
mod downloads_command;
mod downloads_hub;
mod fakes;
mod first_light;
mod formats;
mod golden;
mod hostile_headers;
mod hostile_models;
mod library;
mod library_command;
mod loopback;
mod picture_files;
mod prompt_command;
mod recipe_files;
mod single_files;
mod source;
mod studio;
mod switches;
mod taesd;
mod window;
mod window_downloads;
mod window_loading;
mod window_models;
mod window_parts;
mod window_previews;
mod window_prompts;
mod window_settings;
