//! What a handler leaves unread of a body.
//!
//! A client that is answered in the middle of its body may never see the answer: it goes on sending, and a connection
//! that is closed with unread bytes in it is reset. So a body that is no longer than its route allows is read to its
//! end before any answer. A longer one is answered at once. The stream guard then gives the client time to read the
//! answer before the connection ends.

use std::{
    cell::RefCell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use actix_http::Request;
use actix_web::{
    HttpMessage as _,
    dev::Payload,
    error::PayloadError,
    http::header::{self, HeaderMap},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::time::timeout;

use crate::wire::Flow;

/// A body that is handed to a handler. What the handler leaves unread can be read afterwards.
pub(crate) struct Unread {
    body: Rc<RefCell<Body>>,
    announced: Option<usize>,
}

struct Body {
    payload: Payload,
    flow: Option<Rc<Flow>>,
    ended: bool,
    length: usize,
}

impl Unread {
    /// Wraps the body of a request, which keeps it for its handler; `None` if it has none.
    pub(crate) fn of(request: &mut Request) -> Option<Self> {
        let payload = request.take_payload();
        if matches!(payload, Payload::None) {
            return None;
        }
        let announced = announced_length(request.headers());
        let flow = request.conn_data::<Rc<Flow>>().cloned();
        let body = Rc::new(RefCell::new(Body { payload, flow, ended: false, length: 0 }));
        *request.payload() = Payload::Stream { payload: Box::pin(Handed(Rc::clone(&body))) };
        Some(Self { body, announced })
    }

    /// Whether the client waits for `100 Continue` before it sends the body. If it gets an answer instead, it may or
    /// may not send the body, so the next bytes on the connection cannot be interpreted.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.body.borrow().flow.as_ref().is_some_and(|flow| flow.is_waited_for())
    }

    /// Reads the rest within `time`, up to `most` bytes of the whole body. Returns whether the connection can stay.
    pub(crate) async fn drain(self, most: usize, time: Duration) -> bool {
        if self.body.borrow().ended {
            return true;
        }
        if self.announced.is_some_and(|length| length > most) {
            return false;
        }
        let mut rest = Handed(Rc::clone(&self.body));
        let draining = async {
            while rest.0.borrow().length <= most {
                match rest.next().await {
                    Some(Ok(_)) => {}
                    Some(Err(_broken)) => return false,
                    None => return true,
                }
            }
            false
        };
        timeout(time, draining).await.unwrap_or(false)
    }
}

pub(crate) fn announced_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The body as a handler reads it.
struct Handed(Rc<RefCell<Body>>);

impl Stream for Handed {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut body = self.0.borrow_mut();
        if body.ended {
            return Poll::Ready(None);
        }
        let next = body.payload.poll_next_unpin(cx);
        match &next {
            Poll::Ready(Some(Ok(chunk))) => body.length += chunk.len(),
            Poll::Ready(Some(Err(_)) | None) => body.ended = true,
            Poll::Pending => {
                if let Some(flow) = &body.flow {
                    flow.wants_more();
                }
            }
        }
        next
    }
}
