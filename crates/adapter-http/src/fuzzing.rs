//! Entry points for the fuzz targets only. They read untrusted input, and are not public otherwise.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use domain::{
    api_key::{Caller, KeyDigest},
    target::TargetPolicy,
    time::Timestamp,
};

use crate::{
    api::{
        cursor::CursorScope,
        links::fields::{Rules, claim},
    },
    limits::{ForwardingField, TrustedProxies},
    request::{domains::Bases, json::Json, public_url::PublicUrl},
};

/// The client of a request that came from `peer` with these fields, if `10.0.0.0/8` is trusted.
pub fn client(peer: &str, forwarded_for: &[u8], forwarded: &[u8]) -> String {
    let proxies = TrustedProxies::new(vec!["10.0.0.0/8".parse().expect("a network")], ForwardingField::Either);
    let mut headers = HeaderMap::new();
    let fields = [(HeaderName::from_static("x-forwarded-for"), forwarded_for), (header::FORWARDED, forwarded)];
    for (name, value) in fields {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name, value);
        }
    }
    let peer: IpAddr = peer.parse().expect("an address");
    proxies.client(Some(SocketAddr::new(peer, 1)), &headers).ip().to_string()
}

/// Whether a text is accepted as a cursor.
pub fn cursor_opens(text: &str) -> bool {
    let caller = KeyDigest::from_stored([7; 32]);
    CursorScope { caller, question: "links".to_owned() }.open::<domain::ports::Position>(text).is_ok()
}

/// Reads the body of a claim. Returns how many fields are wrong; `None` if none is, or if the body is not JSON.
pub fn claim_body(body: &[u8]) -> Option<usize> {
    let json: Json = serde_json::from_slice(body).ok()?;
    let now = Timestamp::from_unix_micros(1_800_000_000_000_000).expect("in range");
    let public = PublicUrl::of("https://sho.rt");
    let bases = Bases::new(&public, Arc::default());
    let rules =
        Rules { targets: &TargetPolicy::default(), blocked: None, bases: &bases, caller: &Caller::anonymous(), now };
    claim(json, "", rules).err().map(|problems| problems.len())
}

#[cfg(test)]
#[expect(unreachable_pub, reason = "it is a crate of its own for the fuzzer")]
#[path = "../../fuzz/src/lib.rs"]
mod targets;

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, panic::catch_unwind, path::Path};

    use crate::fuzzing::targets::TARGETS;

    /// Replays every seed and every former finding in each run of the tests.
    #[test]
    fn no_input_of_the_corpus_shows_a_defect() {
        for (name, body) in TARGETS {
            let seeds = fs::read_dir(fuzz().join("corpus").join(name)).expect("every target has seeds");
            let mut replayed = 0;
            for seed in seeds {
                let file = seed.expect("it is listed").path();
                let bytes = fs::read(&file).expect("it can be read");
                catch_unwind(|| body(&bytes)).unwrap_or_else(|_| panic!("{} shows one", file.display()));
                replayed += 1;
            }
            assert!(replayed > 0, "{name} has no seeds");
        }
    }

    #[test]
    fn every_fuzz_target_is_replayed() {
        // The tests of `adapter-spool` replay the last one.
        let names = TARGETS.iter().map(|(name, _)| *name).chain(["spool"]);
        let replayed: BTreeSet<_> = names.map(str::to_owned).collect();
        let listed = |folder: &str| -> BTreeSet<_> {
            let files = fs::read_dir(fuzz().join(folder)).expect("it is part of the repository");
            let name = |file: fs::DirEntry| file.path().file_stem().expect("it has a name").display().to_string();
            files.map(|file| name(file.expect("it is listed"))).collect()
        };
        assert_eq!(listed("corpus"), replayed);
        assert_eq!(listed("fuzz_targets"), replayed);
    }

    fn fuzz() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
    }
}
