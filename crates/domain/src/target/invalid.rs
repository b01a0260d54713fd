//! Why a URL cannot be a target.

/// Maximum number of bytes of a target that any policy allows.
pub(super) const MAX_LENGTH: usize = 32_768;

/// Why a text may not be a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTarget {
    /// The text is empty.
    #[error("must not be empty")]
    Empty,
    /// More bytes than the policy allows, once it is encoded.
    #[error("must have at most {most} bytes once it is encoded, and has {bytes}")]
    TooLong {
        /// How many bytes are allowed.
        most: usize,
        /// How many it has.
        bytes: usize,
    },
    /// A control character, a tab or a line break inside the text.
    #[error("must not contain control characters, tabs or ends of lines")]
    Control,
    /// No scheme, as in `example.com/page`.
    #[error("must begin with https:// or http://, as in https://example.com/page")]
    NoScheme,
    /// The WHATWG parser does not accept it as a URL.
    #[error("must be an absolute URL")]
    NotAUrl,
    /// A host that is neither a name nor an address.
    #[error("must have a host that is a name or an address")]
    Host,
    /// A port that is not valid.
    #[error("must have a port from 0 to 65535, if any")]
    Port,
    /// `https://https://…`, a common mistake when pasting.
    #[error("must begin with https:// or http:// once")]
    TwoSchemes,
    /// Neither `http` nor `https`.
    #[error("must begin with https:// or http://")]
    Scheme,
    /// `user:password@`, which is common in phishing.
    #[error("must not contain a user name or password")]
    UserInfo,
    /// It leads back to this service: a loop.
    #[error("must not lead back to this service")]
    OwnHost,
    /// A private, loopback, link-local or otherwise special address.
    #[error("must not lead to a private or special-purpose address")]
    PrivateAddress,
    /// A name that only means something inside a network.
    #[error("must not lead to an internal host name")]
    InternalName,
    /// A host that the operator refuses.
    #[error("must not lead to a host that is refused here")]
    RefusedHost,
}
