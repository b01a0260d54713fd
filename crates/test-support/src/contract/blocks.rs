//! Blocks: what `BlockRepository` promises, and the blocks service above it.
#![expect(missing_docs, reason = "the name of a case is its promise")]

use domain::{
    actor::Actor,
    address::DomainId,
    block::{Block, Lifted, Subject as Blocked},
    ports::{BlockPosition, Blocking, Revision},
    service::{Followed, ResolveService, ServiceError},
};
use uuid::Uuid;

use super::subject::{Subject, a_link, at_once, call_of_admin, repeatable};

// ---- Storing ----------------------------------------------------------------------------------

pub async fn a_block_is_listed_as_it_was_made(subject: Subject) {
    let longest = format!("{}.example", "a".repeat(63));
    for (kind, value) in [
        ("code", "Abc_-12"),
        ("owner", "acme"),
        ("host", "xn--bcher-kva.example"),
        ("host", &longest),
        ("host", "203.0.113.7"),
        ("host", "[2001:db8::7]"),
    ] {
        subject.clock.advance_micros(1_000_003);
        let reason = format!("{} {}", "ü".repeat(490), kind);
        let block = Block { reason: reason.parse().expect("short enough"), ..a_block(&subject, kind, value) };
        assert_eq!(place(&subject, &block).await, Blocking::Added(block.clone()));
        assert_eq!(list(&subject, false).await.first(), Some(&block));
    }
}

pub async fn what_is_blocked_is_blocked_once(subject: Subject) {
    let (first, second) = (a_block(&subject, "code", "abc"), a_block(&subject, "code", "abc"));
    given(&subject, &first).await;
    assert_eq!(place(&subject, &second).await, Blocking::InForce(first.clone()));
    assert_eq!(list(&subject, true).await, [first]);
    // Codes are case-sensitive, and a code is not an owner.
    for (kind, value) in [("code", "ABC"), ("owner", "abc")] {
        let other = a_block(&subject, kind, value);
        assert_eq!(place(&subject, &other).await, Blocking::Added(other.clone()));
    }
}

pub async fn of_many_blocks_of_one_subject_at_once_one_wins(subject: Subject) {
    let outcomes = at_once(8, |_| {
        let subject = subject.clone();
        async move { place(&subject, &a_block(&subject, "host", "example.com")).await }
    })
    .await;
    let added = outcomes.iter().filter(|outcome| matches!(outcome, Blocking::Added(_))).count();
    assert_eq!((added, list(&subject, true).await.len()), (1, 1));
}

pub async fn a_lifted_block_stays_with_its_first_end(subject: Subject) {
    let block = a_block(&subject, "code", "abc");
    given(&subject, &block).await;
    let end = |seconds| Lifted { at: subject.in_seconds(seconds), by: Actor::System };
    let lifted = Block { lifted: Some(end(1)), ..block.clone() };
    for seconds in [1, 2] {
        assert!(subject.blocks.lift(&block.id, &end(seconds)).await.expect("the store answers"));
    }
    assert_eq!((list(&subject, false).await, list(&subject, true).await), (vec![], vec![lifted.clone()]));
    // The subject can be blocked again, by a new block.
    let again = a_block(&subject, "code", "abc");
    assert_eq!(place(&subject, &again).await, Blocking::Added(again.clone()));
    assert_eq!(list(&subject, true).await.len(), 2);
}

pub async fn an_unknown_block_is_not_lifted(subject: Subject) {
    let end = Lifted { at: subject.now(), by: Actor::System };
    assert!(!subject.blocks.lift(&Uuid::from_u128(7), &end).await.expect("the store answers"));
    assert_eq!(revision(&subject, None).await.map(|revision| revision.subjects), Some(Vec::new()));
}

pub async fn pages_of_blocks_are_walked_newest_first(subject: Subject) {
    let mut made = Vec::new();
    for number in 0..5 {
        // Two blocks have the same time.
        subject.clock.advance_micros(i64::from(number != 2));
        let block = a_block(&subject, "code", &format!("code-{number}"));
        given(&subject, &block).await;
        made.push(block);
    }
    made.sort_by_key(|block| (block.created_at, block.id));
    made.reverse();
    let (mut walked, mut after) = (Vec::new(), None);
    loop {
        let page = subject.blocks.list(false, after.as_ref(), 2).await.expect("the store answers");
        let Some(last) = page.last() else { break };
        after = Some(BlockPosition::from(last));
        walked.extend(page);
    }
    assert_eq!(walked, made);
}

pub async fn each_change_of_blocks_leads_to_another_revision(subject: Subject) {
    let before = revision(&subject, None).await.expect("there is always one");
    assert_eq!(revision(&subject, Some(before.id)).await, None);
    let (one, other) = (a_block(&subject, "host", "[2001:db8::7]"), a_block(&subject, "owner", "acme"));
    given(&subject, &one).await;
    given(&subject, &other).await;
    let both = revision(&subject, Some(before.id)).await.expect("there is more");
    assert_ne!(both.id, before.id);
    assert_eq!((both.subjects.len(), both.subjects.contains(&one.subject)), (2, true));
    // Blocking a blocked subject again changes nothing.
    assert_eq!(place(&subject, &a_block(&subject, "owner", "acme")).await, Blocking::InForce(other.clone()));
    assert_eq!(revision(&subject, Some(both.id)).await, None);
    let end = Lifted { at: subject.now(), by: Actor::System };
    lift(&subject, &one, &end).await;
    let less = revision(&subject, Some(both.id)).await.expect("there is less");
    assert_eq!(less.subjects, [other.subject]);
    lift(&subject, &one, &end).await;
    assert_eq!(revision(&subject, Some(less.id)).await, None);
}

// ---- The service above ------------------------------------------------------------------------

pub async fn a_repeated_block_is_answered_as_the_first_time(subject: Subject) {
    let service = subject.block_service();
    let code = |text: &str| Blocked::parse("code", text, DomainId::DEFAULT).expect("valid");
    let call = repeatable(call_of_admin(), "one", b"body");
    let first = service.block(&call, code("abc"), "why".parse().expect("valid")).await.expect("it is blocked");
    service.lift(&call_of_admin(), &first.0.id).await.expect("it is lifted");
    let again = service.block(&call, code("abc"), "why".parse().expect("valid")).await.expect("it is answered");
    assert_eq!(again, first);
    assert_eq!(list(&subject, false).await, []);
    let other = repeatable(call_of_admin(), "one", b"another body");
    let reused = service.block(&other, code("xyz"), "why".parse().expect("valid")).await;
    assert_refused!(reused, ServiceError::IdempotencyKeyReused);
}

pub async fn what_is_taken_down_is_not_followed_until_it_is_lifted(subject: Subject) {
    let link = subject.given(&a_link().to("https://www.example.com/a").of("acme")).await;
    let (here, elsewhere) = (subject.block_service(), subject.block_service());
    let follow = |blocks: &domain::service::BlockService| {
        ResolveService::new(subject.resolver.clone(), blocks.blocked().clone(), subject.clock.clone())
    };
    for (kind, value) in [("code", link.code.as_str()), ("host", "example.com"), ("owner", "acme")] {
        let subject_of_block = Blocked::parse(kind, value, DomainId::DEFAULT).expect("valid");
        let (block, added) =
            here.block(&call_of_admin(), subject_of_block, "why".parse().expect("valid")).await.expect("it is blocked");
        assert!(added);
        let followed = follow(&here).follow(&link.address(), "").await.expect("the store answers").followed;
        assert_eq!(followed, Followed::Blocked, "{kind}");
        // Another process sees the block after a refresh.
        elsewhere.refresh().await.expect("the store answers");
        let followed = follow(&elsewhere).follow(&link.address(), "").await.expect("the store answers").followed;
        assert_eq!(followed, Followed::Blocked, "{kind}");
        here.lift(&call_of_admin(), &block.id).await.expect("it is lifted");
        elsewhere.refresh().await.expect("the store answers");
        for process in [&here, &elsewhere] {
            let followed = follow(process).follow(&link.address(), "").await.expect("the store answers").followed;
            assert!(matches!(followed, Followed::Redirect { .. }), "{kind}: {followed:?}");
        }
    }
    assert_refused!(here.lift(&call_of_admin(), &Uuid::from_u128(7)).await, ServiceError::NotFound);
}

pub async fn pages_of_the_blocks_service_say_whether_there_is_more(subject: Subject) {
    for number in 0..3 {
        given(&subject, &a_block(&subject, "code", &format!("code-{number}"))).await;
    }
    let service = subject.block_service();
    let (page, next) = service.list(false, None, 2).await.expect("the store answers");
    assert_eq!(page.len(), 2);
    let (page, next) = service.list(false, next.as_ref(), 2).await.expect("the store answers");
    assert_eq!((page.len(), next), (1, None));
    // A page that holds all of them is the last one.
    let (page, next) = service.list(false, None, 3).await.expect("the store answers");
    assert_eq!((page.len(), next), (3, None));
}

fn a_block(subject: &Subject, kind: &str, value: &str) -> Block {
    Block {
        id: subject.draw_id(),
        subject: Blocked::parse(kind, value, DomainId::DEFAULT).expect("valid"),
        reason: "phishing".parse().expect("valid"),
        created_at: subject.now(),
        created_by: Actor::System,
        lifted: None,
    }
}

async fn place(subject: &Subject, block: &Block) -> Blocking {
    subject.blocks.block(block, None).await.expect("the store answers")
}

/// Places a block on a subject that was not blocked before.
async fn given(subject: &Subject, block: &Block) {
    assert_eq!(place(subject, block).await, Blocking::Added(block.clone()));
}

/// Lifts a block, which must exist.
async fn lift(subject: &Subject, block: &Block, end: &Lifted) {
    assert!(subject.blocks.lift(&block.id, end).await.expect("the store answers"));
}

async fn list(subject: &Subject, lifted_too: bool) -> Vec<Block> {
    subject.blocks.list(lifted_too, None, 100).await.expect("the store answers")
}

async fn revision(subject: &Subject, known: Option<Uuid>) -> Option<Revision> {
    subject.blocks.in_force(known).await.expect("the store answers")
}
