//! The property of the target `spool`. The tests of `adapter-spool` replay its corpus.

use adapter_spool::{Survey, survey};

/// The size in bytes of the smallest record.
const SMALLEST: u64 = 16;

/// Segments of the click spool: any bytes can be read, and hold no more records than fit into them.
pub fn spool(data: &[u8]) {
    let found = survey(data);
    if let Survey::Segment { clicks, unknown, .. } = found {
        assert!((clicks + unknown) * SMALLEST <= data.len() as u64, "{found:?}");
    }
    assert_eq!(survey(data), found);
}
