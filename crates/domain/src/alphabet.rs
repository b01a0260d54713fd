//! The characters that codes and keys are drawn from.

use crate::entropy::Entropy;

/// Letters and digits without the look-alikes `0 O I l`.
pub const CODE_ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/// Draws `count` characters of [`CODE_ALPHABET`] without modulo bias: it discards bytes that would favour some
/// characters.
pub(crate) fn draw_characters(count: usize, entropy: &dyn Entropy) -> String {
    const UNBIASED: u8 = 4 * 58;
    let mut text = String::with_capacity(count);
    let mut bytes = [0_u8; 64];
    while text.len() < count {
        entropy.fill(&mut bytes);
        let fair = bytes.iter().filter(|byte| **byte < UNBIASED);
        for byte in fair.take(count - text.len()) {
            text.push(char::from(CODE_ALPHABET[usize::from(byte % 58)]));
        }
    }
    text
}
