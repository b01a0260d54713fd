//! The listening socket: opened at the start, and closed to new callers a moment before the end.

use std::{io, net::TcpListener, time::Duration};

use anyhow::Context;
use tokio::net::TcpSocket;

use crate::config::Config;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// So long before the listener is closed no connection is begun any more: what waits to be accepted meanwhile is accepted, and
/// what was accepted is answered. A connection that is closed unread is reset, and its caller cannot know what became of
/// its request.
pub(crate) const LAST_CALL: Duration = Duration::from_millis(500);

/// Opens it.
pub(crate) fn bind(config: &Config) -> anyhow::Result<TcpListener> {
    let bind = config.http.bind;
    let listening = || {
        let socket = if bind.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(bind)?;
        socket.listen(BACKLOG)?.into_std()
    };
    listening().with_context(|| format!("cannot listen on {bind} (http.bind)"))
}

/// From now on it takes no new connection. Those who ask for one hear nothing, ask again a second later, and are refused by then:
/// proxies go on to the next server, with the request still in their hands.
#[cfg(target_os = "linux")]
pub(crate) fn ignore_new_connections(listener: &TcpListener) -> io::Result<()> {
    use socket2::{SockFilter, SockRef};

    // A classic BPF program over the TCP header, see the kernel's Documentation/networking/filter.rst. A segment that opens a
    // connection has SYN without ACK (RFC 9293 §3.5).
    const LOAD_BYTE: u16 = 0x30;
    const JUMP_IF_SET: u16 = 0x45;
    const RETURN: u16 = 0x06;
    const FLAGS: u32 = 13;
    const SYN: u32 = 0x02;
    const ACK: u32 = 0x10;
    let program = [
        SockFilter::new(LOAD_BYTE, 0, 0, FLAGS),
        SockFilter::new(JUMP_IF_SET, 1, 0, ACK),
        SockFilter::new(JUMP_IF_SET, 1, 0, SYN),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ];
    SockRef::from(listener).attach_filter(&program)
}

/// Other systems have no such filter: their last callers are reset.
#[cfg(not(target_os = "linux"))]
pub(crate) fn ignore_new_connections(_: &TcpListener) -> io::Result<()> {
    Ok(())
}
