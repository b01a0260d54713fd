//! Answers that are the same for all: held once for the whole process, compressed once, and sent from there.

use std::{
    io::{self, Read, Write},
    sync::OnceLock,
};

use actix_web::{
    HttpRequest, HttpResponse,
    body::MessageBody,
    http::header::{self, HeaderValue},
};
use bytes::Bytes;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use sha2::{Digest, Sha256};

use crate::{accept::takes_gzip, answer::Shared, context::hex, preconditions::names_tag};

/// Something that never changes while the process lives.
#[derive(Debug)]
pub(crate) struct Fixed {
    content_type: HeaderValue,
    plain: OnceLock<Bytes>,
    gzip: Option<Bytes>,
    /// Without quotes. What is compressed is another representation, and has another tag.
    tag: String,
}

impl Fixed {
    /// Compresses it, which takes a moment, unless it is too small to gain by that.
    pub(crate) fn new(content_type: HeaderValue, plain: Bytes) -> Self {
        const TOO_SMALL: usize = 1024;
        let gzip = (plain.len() > TOO_SMALL).then(|| compressed(&plain)).filter(|gzip| gzip.len() < plain.len());
        Self { content_type, tag: tag_of(&plain), gzip, plain: OnceLock::from(plain) }
    }

    /// What is compressed already. It is decompressed when the first client asks that cannot do so.
    pub(crate) fn compressed(content_type: HeaderValue, gzip: Bytes) -> Self {
        Self { content_type, plain: OnceLock::new(), tag: tag_of(&gzip), gzip: Some(gzip) }
    }

    /// The answer to a request for it: compressed for those who can read that, and nothing for those who have it.
    pub(crate) fn answer(&self, request: &HttpRequest) -> HttpResponse {
        let gzip = self.gzip.clone().filter(|_| takes_gzip(request.headers()));
        let tag = if gzip.is_some() { format!("\"{}-gzip\"", self.tag) } else { format!("\"{}\"", self.tag) };
        let known = names_tag(request.headers(), &tag);
        let mut answer = if known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
        answer.insert_header((header::ETAG, tag)).insert_header((header::CACHE_CONTROL, "no-cache"));
        if self.gzip.is_some() {
            answer.insert_header((header::VARY, "accept-encoding"));
        }
        if known {
            return answer.finish();
        }
        answer.insert_header((header::CONTENT_TYPE, self.content_type.clone()));
        if gzip.is_some() {
            answer.insert_header((header::CONTENT_ENCODING, "gzip"));
        }
        answer.body(Shared::new(gzip.unwrap_or_else(|| self.plain())).boxed())
    }

    fn plain(&self) -> Bytes {
        let decompress = || self.gzip.as_deref().map(decompressed).unwrap_or_default();
        self.plain.get_or_init(decompress).clone()
    }
}

fn compressed(plain: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let written = encoder.write_all(plain).and_then(|()| encoder.finish());
    exact(written.expect("memory takes all that is written"))
}

/// Only what was compressed when this was built comes here.
fn decompressed(gzip: &[u8]) -> Bytes {
    let mut plain = Vec::new();
    let read: io::Result<usize> = GzDecoder::new(gzip).read_to_end(&mut plain);
    read.expect("it was compressed when this was built");
    exact(plain)
}

/// In no more memory than it needs.
fn exact(bytes: Vec<u8>) -> Bytes {
    Bytes::from(bytes.into_boxed_slice())
}

fn tag_of(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes)[..12])
}
