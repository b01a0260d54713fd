//! Answers that are the same for all clients: held once for the whole process, and compressed once. Also lists, which
//! are compressed as they are made.

use std::{
    io::{self, Read, Write},
    sync::{Arc, OnceLock},
};

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    body::MessageBody,
    http::header::{self, ContentType, HeaderMap, HeaderValue},
    web,
};
use brotli::{BrotliCompress, enc::BrotliEncoderParams};
use bytes::Bytes;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use sha2::{Digest, Sha256};

use super::body::Shared;
use crate::request::{
    accept::{Coding, takes},
    preconditions::names_tag,
    trace::hex,
};

/// An answer of at most so many bytes gains nothing by compression.
const TOO_SMALL: usize = 1024;

/// Most bytes of a list that are compressed as it is made.
const LARGEST_LIST: usize = 128 * 1024;

/// A document that never changes while the process runs.
#[derive(Debug)]
pub(crate) struct Fixed {
    content_type: HeaderValue,
    plain: OnceLock<Bytes>,
    gzip: Option<Bytes>,
    /// Made when the first client asks for it: it is the smallest form, and takes the longest to make.
    brotli: OnceLock<Bytes>,
    /// The entity tag without quotes. A compressed form is another representation, and has another tag.
    tag: String,
}

impl Fixed {
    /// Compresses the document, which takes a moment, unless it is too small to gain by that.
    pub(crate) fn new(content_type: HeaderValue, plain: Bytes) -> Self {
        let gzip = (plain.len() > TOO_SMALL).then(|| compressed(&plain)).filter(|gzip| gzip.len() < plain.len());
        Self { content_type, tag: tag_of(&plain), gzip, brotli: OnceLock::new(), plain: OnceLock::from(plain) }
    }

    /// A document that is compressed already. It is decompressed for the first client that does not accept gzip.
    pub(crate) fn compressed(content_type: HeaderValue, gzip: Bytes) -> Self {
        Self { content_type, plain: OnceLock::new(), tag: tag_of(&gzip), gzip: Some(gzip), brotli: OnceLock::new() }
    }

    /// The answer to a request for it: compressed if the client accepts that, 304 if the client has it already.
    pub(crate) fn answer(&self, request: &HttpRequest) -> HttpResponse {
        let takes = |coding| takes(request.headers(), coding);
        let coded = match (self.brotli.get(), &self.gzip) {
            (Some(brotli), _) if takes(Coding::Brotli) => Some((Coding::Brotli, brotli.clone())),
            (_, Some(gzip)) if takes(Coding::Gzip) => Some((Coding::Gzip, gzip.clone())),
            _ => None,
        };
        let tag = match &coded {
            Some((coding, _)) => format!("\"{}-{}\"", self.tag, coding.name()),
            None => format!("\"{}\"", self.tag),
        };
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
        if let Some((coding, _)) = &coded {
            answer.insert_header((header::CONTENT_ENCODING, coding.name()));
        }
        answer.body(Shared::new(coded.map_or_else(|| self.plain(), |(_, bytes)| bytes)).boxed())
    }

    /// Makes the Brotli form if it is missing and the client accepts it. The first such client waits for it.
    pub(crate) async fn shrink_for(self: &Arc<Self>, headers: &HeaderMap) {
        if self.brotli.get().is_none() && takes(headers, Coding::Brotli) {
            let fixed = Arc::clone(self);
            let making = web::block(move || {
                fixed.brotli.get_or_init(|| shrunk(&fixed.plain()));
            });
            // If that fails, there is still the gzip form.
            let _unmade = making.await;
        }
    }

    fn plain(&self) -> Bytes {
        let decompress = || self.gzip.as_deref().map(decompressed).unwrap_or_default();
        self.plain.get_or_init(decompress).clone()
    }
}

fn shrunk(plain: &[u8]) -> Bytes {
    // A higher quality takes seconds, and gains a tenth.
    let parameters = BrotliEncoderParams { quality: 5, ..BrotliEncoderParams::default() };
    let mut shrunk = Vec::new();
    let written = BrotliCompress(&mut &plain[..], &mut shrunk, &parameters);
    written.expect("memory takes all that is written");
    exact(shrunk)
}

/// The answer with a list in JSON. It is compressed if the client accepts gzip and the list is large enough to gain.
pub(crate) fn list(headers: &HeaderMap, answer: &mut HttpResponseBuilder, json: Vec<u8>) -> HttpResponse {
    answer.content_type(ContentType::json()).insert_header((header::VARY, "accept-encoding"));
    // Compressing larger lists would hold up the worker. There are few of them.
    if json.len() <= TOO_SMALL || json.len() > LARGEST_LIST || !takes(headers, Coding::Gzip) {
        return answer.body(json);
    }
    let mut encoder = GzEncoder::new(Vec::with_capacity(json.len() / 4), Compression::fast());
    let written = encoder.write_all(&json).and_then(|()| encoder.finish());
    answer.insert_header((header::CONTENT_ENCODING, Coding::Gzip.name())).body(written.expect("memory takes all"))
}

fn compressed(plain: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let written = encoder.write_all(plain).and_then(|()| encoder.finish());
    exact(written.expect("memory takes all that is written"))
}

/// Decompresses data that was compressed when this binary was built, and no other.
fn decompressed(gzip: &[u8]) -> Bytes {
    let mut plain = Vec::new();
    let read: io::Result<usize> = GzDecoder::new(gzip).read_to_end(&mut plain);
    read.expect("it was compressed when this was built");
    exact(plain)
}

/// The bytes without spare capacity.
fn exact(bytes: Vec<u8>) -> Bytes {
    Bytes::from(bytes.into_boxed_slice())
}

/// The entity tag of a document, without quotes.
pub(super) fn tag_of(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes)[..12])
}
