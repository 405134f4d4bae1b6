//! Workers that do only what a test tells them, one thing at a time, so that nothing depends on the clock.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use calotype::worker::{Inbox, Outbox, Wake, Worker};

/// So long that only a test that hangs ever waits for it.
const FOREVER: Duration = Duration::from_secs(30);

/// How long a thread without orders takes to see that the window is gone.
const A_MOMENT: Duration = Duration::from_millis(20);

/// What the test tells the thread.
enum Order<E> {
    Say(Box<E>),
    Take,
    End,
}

/// The test's end of a scripted worker.
pub struct Script<C, E> {
    orders: SyncSender<Order<E>>,
    taken: Receiver<Option<C>>,
}

impl<C: Send + 'static, E: Send + 'static> Script<C, E> {
    /// A worker and its script.
    pub fn spawn(name: &str, wake: Wake) -> (Worker<C, E>, Self) {
        let (orders, orders_in) = sync_channel::<Order<E>>(0);
        let (taken_out, taken) = sync_channel(1);
        let worker = Worker::spawn(name, wake, move |inbox: &Inbox<C>, outbox: &Outbox<E>| {
            while !inbox.is_closing() {
                match orders_in.recv_timeout(A_MOMENT) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                    Ok(order) => {
                        if !obey(order, inbox, outbox, &taken_out) {
                            return;
                        }
                    }
                }
            }
        })
        .unwrap();
        (worker, Self { orders, taken })
    }

    /// Has the worker report something; it is in the window's hands when this returns.
    pub fn say(&self, event: E) {
        self.orders.send(Order::Say(Box::new(event))).unwrap();
        self.taken.recv_timeout(FOREVER).unwrap();
    }

    /// The next command that the window has sent, if there is one.
    pub fn take(&self) -> Option<C> {
        self.orders.send(Order::Take).unwrap();
        self.taken.recv_timeout(FOREVER).unwrap()
    }

    /// All commands that the window has sent.
    pub fn take_all(&self) -> Vec<C> {
        std::iter::from_fn(|| self.take()).collect()
    }

    /// Ends the thread, as a crash would.
    pub fn end(&self) {
        self.orders.send(Order::End).unwrap();
    }
}

/// Does what the test says; false when that is to end.
fn obey<C, E>(order: Order<E>, inbox: &Inbox<C>, outbox: &Outbox<E>, taken: &SyncSender<Option<C>>) -> bool {
    match order {
        Order::Say(event) => {
            outbox.send(*event);
            let _ = taken.send(None);
        }
        Order::Take => {
            let _ = taken.send(inbox.try_next());
        }
        Order::End => return false,
    }
    true
}
