//! The listening socket: opened at the start, and closed to new connections shortly before the end.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use anyhow::Context;
use slog::{Logger, warn};
use tokio::net::TcpSocket;

use crate::config::Config;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// The listener ignores new connections for this long before it closes. In that time, connections that wait in the
/// backlog are accepted and answered. A connection that is closed unread is reset, and its client cannot know whether
/// its request was served.
pub(crate) const LAST_CALL: Duration = Duration::from_millis(500);

/// Opens the listener on `http.bind`.
pub(crate) fn bind(config: &Config) -> anyhow::Result<TcpListener> {
    let bind = config.http.bind;
    listen(bind).with_context(|| format!("cannot listen on {bind} (http.bind)"))
}

/// Opens the ops listener on `ops.bind`; `None` if there is to be none. An address that the operator has not chosen may
/// be taken, as by another process on this machine: that is logged, and the process goes on without it.
pub(crate) fn bind_ops(config: &Config, log: &Logger) -> anyhow::Result<Option<TcpListener>> {
    let Some(bind) = config.ops.bind else {
        return Ok(None);
    };
    match listen(bind) {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if config.ops.is_set => Err(error).with_context(|| format!("cannot listen on {bind} (ops.bind)")),
        Err(error) => {
            warn!(log, "no metrics: cannot listen on {}, the default of ops.bind", bind;
                "event.name" => "ops.bind_failed", "server.address" => %bind, "error.message" => error.to_string());
            Ok(None)
        }
    }
}

fn listen(bind: SocketAddr) -> io::Result<TcpListener> {
    let socket = if bind.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(bind)?;
    socket.listen(BACKLOG)?.into_std()
}

/// Drops the SYN of every new connection from now on. The client repeats it a second later and is refused by then: a
/// proxy goes on to the next server, because it has not sent the request yet.
#[cfg(target_os = "linux")]
pub(crate) fn ignore_new_connections(listener: &TcpListener) -> io::Result<()> {
    use socket2::{SockFilter, SockRef};

    // A classic BPF program over the TCP header, see the kernel's Documentation/networking/filter.rst. It drops
    // segments that open a connection, which have SYN without ACK (RFC 9293 §3.5).
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

/// Other systems have no such filter: connections that arrive last are reset.
#[cfg(not(target_os = "linux"))]
pub(crate) fn ignore_new_connections(_: &TcpListener) -> io::Result<()> {
    Ok(())
}
