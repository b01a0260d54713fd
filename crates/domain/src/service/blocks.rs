//! Blocks: placing and lifting them, and the blocklist that each process holds.

use std::{
    fmt,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use uuid::{Builder, Uuid};

use super::{Call, ServiceError, repeated};
use crate::{
    block::{Block, InForce, Lifted, Reason, Subject},
    idempotency::IdempotencyRecord,
    ports::{BlockPosition, BlockRepository, Blocking, Clock, Entropy, RepositoryError, Revision},
};

/// The blocklist of this process. Its clones share one list. By default it is empty.
#[derive(Clone, Debug, Default)]
pub struct Blocked(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    known: RwLock<Known>,
    /// Whether anything is blocked. If not, readers do not take the lock.
    something: AtomicBool,
    unread: AtomicBool,
    /// Number of reads of the store that were started.
    asked: AtomicU64,
}

#[derive(Debug, Default)]
struct Known {
    /// The number of the read that gave this state.
    asked: u64,
    revision: Option<Uuid>,
    stored: Arc<InForce>,
    /// Blocks of this process alone, in force whatever the store contains.
    local: Arc<InForce>,
    /// The union of `stored` and `local`.
    in_force: Arc<InForce>,
    left_out: usize,
}

impl Blocked {
    /// A blocklist that has not been read yet. Until its first read, no link is followed.
    pub fn unread() -> Self {
        Self(Arc::new(Shared { unread: true.into(), ..Shared::default() }))
    }

    /// The blocks in force; `None` if there are none.
    pub fn in_force(&self) -> Option<Arc<InForce>> {
        let something = self.0.something.load(Ordering::Acquire);
        something.then(|| Arc::clone(&self.0.known.read().unwrap_or_else(PoisonError::into_inner).in_force))
    }

    /// Whether the blocklist has not been read yet.
    pub fn is_unread(&self) -> bool {
        self.0.unread.load(Ordering::Acquire)
    }

    /// Number of blocks that should be in force but are not, because they cannot be read.
    pub fn left_out(&self) -> usize {
        self.0.known.read().unwrap_or_else(PoisonError::into_inner).left_out
    }

    fn revision(&self) -> Option<Uuid> {
        self.0.known.read().unwrap_or_else(PoisonError::into_inner).revision
    }

    /// Applies the result of the read `asked`, unless a later read is applied already: that one has seen everything.
    fn learn(&self, asked: u64, revision: Revision) {
        let stored: InForce = revision.subjects.into_iter().collect();
        let mut known = self.0.known.write().unwrap_or_else(PoisonError::into_inner);
        if asked > known.asked {
            (known.asked, known.revision, known.left_out) = (asked, Some(revision.id), revision.left_out);
            known.stored = Arc::new(stored);
            self.put_together(&mut known);
            self.0.unread.store(false, Ordering::Release);
        }
    }

    /// Replaces the blocks of this process alone. They are in force in addition to the stored blocks.
    pub fn enforce(&self, local: InForce) {
        let mut known = self.0.known.write().unwrap_or_else(PoisonError::into_inner);
        known.local = Arc::new(local);
        self.put_together(&mut known);
    }

    fn put_together(&self, known: &mut Known) {
        known.in_force =
            if known.local.is_empty() { Arc::clone(&known.stored) } else { Arc::new(known.stored.with(&known.local)) };
        self.0.something.store(!known.in_force.is_empty(), Ordering::Release);
    }
}

/// All operations on blocks.
#[derive(Clone)]
pub struct BlockService {
    blocks: Arc<dyn BlockRepository>,
    blocked: Blocked,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl fmt::Debug for BlockService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockService").finish_non_exhaustive()
    }
}

impl BlockService {
    /// A service over these ports. It keeps `blocked` up to date.
    pub fn new(
        blocks: Arc<dyn BlockRepository>,
        blocked: Blocked,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self { blocks, blocked, clock, entropy }
    }

    /// Blocks a subject. Returns the block in force, and whether this call added it.
    pub async fn block(&self, call: &Call, subject: Subject, reason: Reason) -> Result<(Block, bool), ServiceError> {
        let now = self.clock.now();
        let mut random = [0; 10];
        self.entropy.fill(&mut random);
        let milliseconds = u64::try_from(now.unix_micros() / 1_000).unwrap_or_default();
        let id = Builder::from_unix_timestamp_millis(milliseconds, &random).into_uuid();
        let created_by = call.caller.actor.clone();
        let block = Block { id, subject, reason, created_at: now, created_by, lifted: None };
        let outcome = self.blocks.block(&block, call.once(now).as_ref()).await?;
        self.see_it_here().await;
        match outcome {
            Blocking::Added(block) => Ok((block, true)),
            Blocking::InForce(block) => Ok((block, false)),
            Blocking::Repeated(before) => repeated(before, |answer| match answer {
                IdempotencyRecord::Block { block, added } => Some((block, added)),
                IdempotencyRecord::Claims(_)
                | IdempotencyRecord::PartlyRefused { .. }
                | IdempotencyRecord::Link(_)
                | IdempotencyRecord::Domain(_)
                | IdempotencyRecord::ApiKey { .. } => None,
            }),
        }
    }

    /// Lifts a block. Its links work as before, unless another block applies to them too.
    pub async fn lift(&self, call: &Call, id: &Uuid) -> Result<(), ServiceError> {
        let lifted = Lifted { at: self.clock.now(), by: call.caller.actor.clone() };
        if !self.blocks.lift(id, &lifted).await? {
            return Err(ServiceError::NotFound);
        }
        self.see_it_here().await;
        Ok(())
    }

    /// One page of blocks, newest first, and the position where the next page begins.
    pub async fn list(
        &self,
        lifted_too: bool,
        after: Option<&BlockPosition>,
        limit: u32,
    ) -> Result<(Vec<Block>, Option<BlockPosition>), RepositoryError> {
        let mut blocks = self.blocks.list(lifted_too, after, limit + 1).await?;
        let more = blocks.len() > limit as usize;
        blocks.truncate(limit as usize);
        let next = blocks.last().filter(|_| more).map(BlockPosition::from);
        Ok((blocks, next))
    }

    /// Reads what other processes blocked and lifted. Call it about once a second. While it fails, the last known
    /// blocks stay in force.
    pub async fn refresh(&self) -> Result<(), RepositoryError> {
        let asked = self.blocked.0.asked.fetch_add(1, Ordering::AcqRel) + 1;
        if let Some(revision) = self.blocks.in_force(self.blocked.revision()).await? {
            self.blocked.learn(asked, revision);
        }
        Ok(())
    }

    /// Refreshes the blocklist after a change. It ignores a failure, because the next refresh follows within a second.
    async fn see_it_here(&self) {
        let _later = self.refresh().await;
    }

    /// The blocklist of this process.
    pub fn blocked(&self) -> &Blocked {
        &self.blocked
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        behaviour::Behaviour,
        lifecycle::Resolution,
        link::{Generation, LinkState, Owner},
    };

    fn of_code(code: &str) -> Subject {
        Subject::Address(code.parse().expect("a code"))
    }

    fn revision(number: u128, code: &str, left_out: usize) -> Revision {
        Revision { id: Uuid::from_u128(number), subjects: vec![of_code(code)], left_out }
    }

    fn blocks_code(blocked: &Blocked, code: &str) -> bool {
        let target = "https://example.com/".to_owned().try_into().expect("a target");
        let resolution = Resolution {
            id: Uuid::from_u128(1),
            owner: Owner::default(),
            behaviour: Behaviour::to(target),
            state: LinkState::Active,
            generation: Generation::FIRST,
        };
        blocked.in_force().is_some_and(|blocked| blocked.block(&code.parse().expect("an address"), &resolution))
    }

    #[test]
    fn a_blocklist_is_unread_until_its_first_read() {
        let blocked = Blocked::unread();
        assert!(blocked.is_unread() && !Blocked::default().is_unread());
        assert_eq!((blocked.revision(), blocked.left_out()), (None, 0));
        blocked.learn(1, revision(7, "abc", 2));
        assert!(!blocked.is_unread() && blocks_code(&blocked, "abc"));
        assert_eq!((blocked.revision(), blocked.left_out()), (Some(Uuid::from_u128(7)), 2));
    }

    #[test]
    fn the_result_of_an_earlier_read_is_ignored() {
        let blocked = Blocked::default();
        blocked.learn(2, revision(7, "abc", 0));
        for asked in [1, 2] {
            blocked.learn(asked, revision(6, "def", 0));
            assert!(blocks_code(&blocked, "abc") && !blocks_code(&blocked, "def"));
        }
        blocked.learn(3, revision(8, "def", 0));
        assert!(!blocks_code(&blocked, "abc") && blocks_code(&blocked, "def"));
    }

    #[test]
    fn local_blocks_stay_in_force_whatever_the_store_contains() {
        let blocked = Blocked::unread();
        blocked.enforce([of_code("here")].into_iter().collect());
        assert!(blocked.is_unread() && blocks_code(&blocked, "here"));
        blocked.learn(1, revision(1, "abc", 0));
        assert!(blocks_code(&blocked, "here") && blocks_code(&blocked, "abc"));
        blocked.enforce(InForce::default());
        assert!(!blocks_code(&blocked, "here") && blocks_code(&blocked, "abc"));
        blocked.learn(2, Revision { id: Uuid::from_u128(2), subjects: Vec::new(), left_out: 0 });
        assert!(blocked.in_force().is_none(), "nothing is looked up while nothing is blocked");
        blocked.enforce(InForce::default().with_keys(["SSnBEMJK7Gb7".parse().expect("an id")]));
        assert!(blocked.in_force().is_some_and(|blocked| blocked.block_key(&"SSnBEMJK7Gb7".parse().expect("an id"))));
    }
}
