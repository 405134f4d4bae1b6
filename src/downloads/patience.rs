//! How often and after what pauses passing trouble is met again.

use std::time::Duration;

use super::DownloadError;
use super::progress::Progress;

/// Tries without a single new byte before it is given up.
const MOST_TRIES: u32 = 5;
/// Pauses grow from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(30);
/// The longest wait that a server may ask for.
const LONGEST_WAIT: Duration = Duration::from_mins(5);
/// How long a pause goes on before it is looked whether it is still wanted.
const SLICE: Duration = Duration::from_millis(50);

/// Counts the tries of one request.
pub(super) struct Retries {
    tries: u32,
    pause: Duration,
}

impl Retries {
    pub fn new() -> Self {
        Self { tries: 0, pause: FIRST_PAUSE }
    }

    /// New bytes came: the counting starts again.
    pub fn forget(&mut self) {
        *self = Self::new();
    }

    /// Waits before the next try.
    ///
    /// # Errors
    /// Gives the trouble back when it does not pass by waiting, or did so too often.
    pub fn after(&mut self, trouble: DownloadError, progress: &mut Progress<'_>) -> Result<(), DownloadError> {
        progress.check()?;
        if !trouble.is_passing() {
            return Err(trouble);
        }
        self.tries += 1;
        if self.tries >= MOST_TRIES {
            let tries = self.tries;
            let is_here = matches!(trouble, DownloadError::InUse { .. });
            return Err(if is_here { trouble } else { DownloadError::GaveUp { tries, last: Box::new(trouble) } });
        }
        let mut pause = self.pause;
        if let DownloadError::Busy { host, retry_after: Some(wish), .. } = &trouble {
            if *wish > LONGEST_WAIT {
                let minutes = wish.as_secs().div_ceil(60);
                return Err(DownloadError::ComeBackLater { host: host.clone(), minutes });
            }
            pause = pause.max(*wish);
        }
        self.pause = (self.pause * 2).min(LAST_PAUSE);
        progress.waiting(pause, &trouble);
        while !pause.is_zero() {
            let slice = pause.min(SLICE);
            progress.pause(slice);
            pause -= slice;
            progress.check()?;
        }
        Ok(())
    }
}

/// Tries until it works, or trouble that does not pass.
pub(super) fn patiently<T>(
    progress: &mut Progress<'_>,
    mut ask: impl FnMut() -> Result<T, DownloadError>,
) -> Result<T, DownloadError> {
    let mut retries = Retries::new();
    loop {
        match ask() {
            Ok(answer) => return Ok(answer),
            Err(trouble) => retries.after(trouble, progress)?,
        }
    }
}
