//! Short messages at the window's foot: good news leaves by itself, errors wait for the user.

/// How long good news stays.
pub const GOOD_NEWS_SECS: f64 = 5.0;
/// How many messages are kept; the oldest goes first.
const MOST: usize = 5;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoticeKind {
    /// Something was done.
    GoodNews,
    /// Something went wrong.
    Error,
    /// What was asked could not be; the next press of Generate says so again, or not.
    Refusal,
}

/// One message.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    /// Its name.
    pub id: u64,
    /// What it is.
    pub kind: NoticeKind,
    /// The text.
    pub text: String,
    /// When it was said, on the window's clock.
    pub since_secs: f64,
}

/// The messages, the oldest first.
#[derive(Debug, Default)]
pub struct Notices {
    shown: Vec<Notice>,
    last_id: u64,
}

impl Notices {
    /// Says that something was done.
    pub fn tell(&mut self, text: impl Into<String>, now_secs: f64) {
        self.push(NoticeKind::GoodNews, text.into(), now_secs);
    }

    /// Says that something went wrong.
    pub fn complain(&mut self, text: impl Into<String>, now_secs: f64) {
        self.push(NoticeKind::Error, text.into(), now_secs);
    }

    /// Says why what was asked could not be.
    pub fn refuse(&mut self, text: impl Into<String>, now_secs: f64) {
        self.push(NoticeKind::Refusal, text.into(), now_secs);
    }

    /// Takes the refusals away: something new was asked.
    pub fn forget_refusals(&mut self) {
        self.shown.retain(|notice| notice.kind != NoticeKind::Refusal);
    }

    fn push(&mut self, kind: NoticeKind, text: String, since_secs: f64) {
        // The same words again say nothing new.
        self.shown.retain(|notice| notice.text != text);
        self.last_id += 1;
        self.shown.push(Notice { id: self.last_id, kind, text, since_secs });
        let surplus = self.shown.len().saturating_sub(MOST);
        self.shown.drain(..surplus);
    }

    /// Takes one away.
    pub fn dismiss(&mut self, id: u64) {
        self.shown.retain(|notice| notice.id != id);
    }

    /// Lets old good news go; gives back in how many seconds the next goes.
    pub fn expire(&mut self, now_secs: f64) -> Option<f64> {
        let left = |notice: &Notice| notice.since_secs + GOOD_NEWS_SECS - now_secs;
        self.shown.retain(|notice| notice.kind != NoticeKind::GoodNews || left(notice) > 0.0);
        let news = self.shown.iter().filter(|notice| notice.kind == NoticeKind::GoodNews);
        news.map(left).min_by(f64::total_cmp)
    }

    /// Those to show.
    #[must_use]
    pub fn shown(&self) -> &[Notice] {
        &self.shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_news_leaves_and_errors_stay() {
        let mut notices = Notices::default();
        notices.tell("copied", 1.0);
        notices.complain("no disk", 1.0);
        assert_eq!(notices.expire(2.0), Some(GOOD_NEWS_SECS - 1.0));
        assert_eq!(notices.expire(20.0), None);
        assert_eq!(notices.shown().len(), 1);
    }

    #[test]
    fn the_oldest_goes_when_there_are_too_many_and_repetitions_are_one() {
        let mut notices = Notices::default();
        for number in 0..9 {
            notices.complain(format!("error {number}"), 0.0);
            notices.complain(format!("error {number}"), 0.0);
        }
        assert_eq!(notices.shown().len(), MOST);
        assert_eq!(notices.shown()[0].text, "error 4");
    }
}
