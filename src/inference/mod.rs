//! The thread that owns the model: requests in, previews and pictures out.

pub mod cancel;
pub mod device;
mod engine;
pub mod message;

use self::device::{DeviceChoice, Precision};
use self::message::{Command, Event};
use crate::worker::{Wake, Worker};

/// Starts the inference thread; it waits for its first model.
///
/// # Errors
/// When the operating system gives no thread.
pub fn spawn(device: DeviceChoice, precision: Precision, wake: Wake) -> std::io::Result<Worker<Command, Event>> {
    Worker::spawn("inference", wake, move |inbox, outbox| engine::run(device, precision, inbox, outbox))
}
