//! Addresses of Redis: of one server, or of sentinels that know the current primary.

use std::time::Duration;

use domain::hosts::is_server_name;
use redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, TlsMode, parse_redis_url,
    sentinel::{Sentinel, SentinelNodeConnectionInfo},
};
use tokio::time::timeout;

use crate::{RedisOptions, session::NO_ANSWER};

/// Not an address of Redis. The error does not show what is wrong, because the address may hold a password.
#[derive(Debug, thiserror::Error)]
#[error(
    "is no address of a Redis server (`redis://`, `rediss://` or `unix://`) or of sentinels (`redis+sentinel://` or \
     `rediss+sentinel://`)"
)]
pub struct InvalidUrl;

/// Checks that `url` is an address of Redis. Does not connect.
pub fn check_url(url: &str) -> Result<(), InvalidUrl> {
    Endpoint::read(url, None).map(drop)
}

pub(crate) enum Endpoint {
    Server(Client),
    Sentinels(Sentinels),
}

/// The sentinels of a primary. Any of them is asked. Its answer counts only if the server that it names agrees to be
/// the primary.
pub(crate) struct Sentinels {
    nodes: Vec<ConnectionInfo>,
    primary: String,
    /// Settings of connections to the primary: TLS, credentials, database.
    server: SentinelNodeConnectionInfo,
}

impl Endpoint {
    pub(crate) fn of(options: &RedisOptions) -> Result<Self, InvalidUrl> {
        Self::read(&options.url, options.sentinel_password.as_deref())
    }

    fn read(url: &str, sentinel_password: Option<&str>) -> Result<Self, InvalidUrl> {
        // `#insecure` would be an option that fails only when connecting.
        if url.contains('#') {
            return Err(InvalidUrl);
        }
        let sentinels = [("redis+sentinel://", "redis"), ("rediss+sentinel://", "rediss")];
        for (prefix, scheme) in sentinels {
            if let Some(rest) = url.strip_prefix(prefix) {
                return Sentinels::read(scheme, rest, sentinel_password).map(Self::Sentinels);
            }
        }
        // Options in the URL are supported for `unix:` only.
        if url.starts_with("redis+unix:") || url.contains('?') && !url.starts_with("unix:") {
            return Err(InvalidUrl);
        }
        let client = Client::open(url).map_err(|_| InvalidUrl)?;
        if has_sound_escapes(url) && can_be_reached(client.get_connection_info()) {
            Ok(Self::Server(client))
        } else {
            Err(InvalidUrl)
        }
    }

    /// A client of the current server.
    pub(crate) async fn client(&self) -> Result<Client, String> {
        match self {
            Self::Server(client) => Ok(client.clone()),
            Self::Sentinels(sentinels) => sentinels.primary().await,
        }
    }
}

/// Whether the host and the port, or the path, are valid. The client accepts almost any name and would then fail at
/// every lookup.
fn can_be_reached(server: &ConnectionInfo) -> bool {
    match server.addr() {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            *port != 0 && is_server_name(host.trim_start_matches('[').trim_end_matches(']'))
        }
        ConnectionAddr::Unix(path) => path.is_absolute(),
        _ => false,
    }
}

/// Whether each `%` begins an escape.
fn has_sound_escapes(url: &str) -> bool {
    let is_escape =
        |rest: &str| rest.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    url.split('%').skip(1).all(is_escape)
}

impl Sentinels {
    /// Default port of a sentinel.
    const PORT: u16 = 26379;
    /// Timeout of finding the primary, if sentinels do not answer. Redirects do without Redis meanwhile.
    const TIMEOUT: Duration = Duration::from_secs(3);

    /// Reads `[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]]…/PRIMARY[/DATABASE]`.
    fn read(scheme: &str, text: &str, password: Option<&str>) -> Result<Self, InvalidUrl> {
        let (authority, path) = text.split_once('/').ok_or(InvalidUrl)?;
        let (credentials, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (primary, database) = path.split_once('/').unwrap_or((path, ""));
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if primary.is_empty() || !primary.chars().all(is_name) {
            return Err(InvalidUrl);
        }
        // Credentials and database are parsed as in the URL of one server.
        let server = format!("{scheme}://{credentials}@primary/{database}").into_connection_info();
        let server = server.map_err(|_| InvalidUrl)?.redis_settings().clone();
        let mut node = SentinelNodeConnectionInfo::default().set_redis_connection_info(server);
        if scheme == "rediss" {
            node = node.set_tls_mode(TlsMode::Secure);
        }
        let nodes = hosts.split(',').map(|host| Self::node(scheme, host, password)).collect::<Result<_, _>>()?;
        Ok(Self { nodes, primary: primary.to_owned(), server: node })
    }

    fn node(scheme: &str, host: &str, password: Option<&str>) -> Result<ConnectionInfo, InvalidUrl> {
        let mut url = parse_redis_url(&format!("{scheme}://{host}")).ok_or(InvalidUrl)?;
        if !url.has_host() || !matches!(url.path(), "" | "/") || url.query().is_some() {
            return Err(InvalidUrl);
        }
        let port = url.port().unwrap_or(Self::PORT);
        url.set_port(Some(port)).map_err(|()| InvalidUrl)?;
        let node = url.into_connection_info().map_err(|_| InvalidUrl)?;
        if !can_be_reached(&node) {
            return Err(InvalidUrl);
        }
        Ok(match password {
            Some(password) => {
                let settings = node.redis_settings().clone().set_password(password);
                node.set_redis_settings(settings)
            }
            None => node,
        })
    }

    async fn primary(&self) -> Result<Client, String> {
        let asking = async {
            let mut sentinels = Sentinel::build(self.nodes.clone())?;
            sentinels.async_master_for(&self.primary, Some(&self.server)).await
        };
        match timeout(Self::TIMEOUT, asking).await {
            Ok(found) => found.map_err(|error: redis::RedisError| format!("no primary through the sentinels: {error}")),
            Err(_) => Err(format!("no primary through the sentinels: {NO_ANSWER}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked_without_showing_them() {
        for good in [
            "redis://localhost",
            "rediss://:pw@cache.example:6380/2",
            "unix:///run/redis.sock",
            "redis+sentinel://one.example/primary",
            "rediss+sentinel://user:p%40w@one.example:26380,two.example,[::1]:26381/my-primary.1/3",
        ] {
            assert!(check_url(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "localhost:6379",
            "http://localhost",
            "redis://:hunter2@[::1",
            "rediss://:hunter2@h#insecure",
            "redis://h?hunter2",
            "redis+sentinel://:hunter2@h",
            "redis+sentinel://:hunter2@h/",
            "redis+sentinel://:hunter2@h/pri mary",
            "redis+sentinel://:hunter2@h/primary?db=1",
            "redis+sentinel://:hunter2@h/primary/one",
            "redis+sentinel://:hunter2@h,,g/primary",
            "redis+sentinel://:hunter2@h:99999/primary",
            "redis://:hunter2@ho st",
            "redis://:hunter2@<h>",
            "redis://:hunter2@h:0",
            "redis://:hunter2@h:99999",
            "redis://:hunter2@256.1.1.1",
            "redis://:hunter2%zz@h",
            "redis+sentinel://:hunter2@h:0/primary",
            "redis+sentinel://:hunter2@a..b/primary",
        ] {
            let error = check_url(bad).expect_err(bad);
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
    }

    #[test]
    fn sentinels_and_servers_get_their_own_credentials() {
        let url = "rediss+sentinel://user:p%40w@one.example,two.example:1/primary/3";
        let Ok(Endpoint::Sentinels(sentinels)) = Endpoint::read(url, Some("secret")) else {
            panic!("it names sentinels");
        };
        let told: Vec<_> =
            sentinels.nodes.iter().map(|node| (node.addr().to_string(), node.redis_settings())).collect();
        let addresses: Vec<_> = told.iter().map(|(address, _)| address.as_str()).collect();
        assert_eq!(addresses, ["one.example:26379", "two.example:1"]);
        assert!(
            told.iter().all(|(_, settings)| settings.password() == Some("secret") && settings.username().is_none())
        );
        let server = format!("{:?}", sentinels.server);
        assert!(server.contains("Secure") && server.contains("db: 3") && server.contains("user"), "{server}");
    }
}
