//! Rejections: heads that the stream guard refuses, and the requests that stand in for them.

/// Carries the nonce of the process and the token of the [`Rejection`] in a request that replaces a refused one.
/// A head in which a peer sends it is malformed.
pub(crate) const REJECTED_HEADER: &str = "x-signpost-rejected";

/// The path of the requests that stand in for refused ones. Clients may ask for it too; only [`Rejection::from_header`]
/// distinguishes them.
pub(crate) const REJECTED_PATH: &str = "/.rejected";

/// Why a head was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// Not HTTP/1.x, or HTTP/1.x that two readers could understand differently.
    Malformed,
    /// More bytes or more fields than [`WireLimits`](super::WireLimits) allow.
    HeadersTooLarge,
    /// Begun, but not finished in time.
    HeadTimeout,
}

impl Rejection {
    /// All of them, in the order of their numbers.
    pub(super) const ALL: [Self; 3] = [Self::Malformed, Self::HeadersTooLarge, Self::HeadTimeout];

    /// The rejection that a request for [`REJECTED_PATH`] stands for, if this process made that request.
    ///
    /// The nonce never leaves the process, so no client can write a value that passes.
    pub(crate) fn from_header(nonce: &str, value: &[u8]) -> Option<Self> {
        let token = value.strip_prefix(nonce.as_bytes())?.strip_prefix(b" ")?;
        Self::ALL.into_iter().find(|rejection| rejection.token().as_bytes() == token)
    }

    /// The word for it in headers and logs.
    pub(crate) fn token(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::HeadersTooLarge => "headers-too-large",
            Self::HeadTimeout => "head-timeout",
        }
    }

    /// The request that takes the place of the refused one, and is the last of its connection.
    pub(super) fn as_request(self, nonce: &str) -> String {
        let token = self.token();
        format!(
            "GET {REJECTED_PATH} HTTP/1.1\r\n\
             host: rejected.invalid\r\n\
             connection: close\r\n\
             {REJECTED_HEADER}: {nonce} {token}\r\n\
             \r\n"
        )
    }
}
