//! The port for randomness, from which codes and keys are drawn.

/// Gives random bytes.
pub trait Entropy: Send + Sync {
    /// Fills `bytes`. Outside tests they MUST come from a cryptographically secure generator.
    fn fill(&self, bytes: &mut [u8]);
}
