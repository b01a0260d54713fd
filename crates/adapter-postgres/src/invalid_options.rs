//! Why options cannot be used.

use std::error::Error;

/// The options cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidOptions {
    /// The URL is not valid. The driver's message is left out: if the password has unescaped characters, that message
    /// may show part of it.
    #[error(
        "the PostgreSQL URL cannot be read: special characters in user and password have to be percent-encoded, \
         and options to be those of libpq"
    )]
    Url,
    /// No trusted certificate authority could be read.
    #[error("no trusted certificate authority could be read")]
    Authorities(#[source] Box<dyn Error + Send + Sync>),
    /// The pool cannot be made.
    #[error("the connection pool cannot be made")]
    Pool(#[source] Box<dyn Error + Send + Sync>),
}
