//! Why options cannot be used.

use std::error::Error;

/// The options cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidOptions {
    /// The URL is none. The driver's own words are left out: of a password with unescaped characters they may
    /// show a piece.
    #[error(
        "the PostgreSQL URL cannot be read: special characters in user and password have to be percent-encoded, \
         and options to be those of libpq"
    )]
    Url,
    /// No certificate to trust.
    #[error("no trusted certificate authority could be read")]
    Authorities(#[source] Box<dyn Error + Send + Sync>),
    /// The pool cannot be made.
    #[error("the connection pool cannot be made")]
    Pool(#[source] Box<dyn Error + Send + Sync>),
}
