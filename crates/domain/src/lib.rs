//! The life of a short link, without I/O: what links are, what may happen to them, and what a store
//! must promise.
//!
//! - [`lifecycle`] holds every rule as a total pure function: claim, edit, delete, reactivate, follow.
//! - [`ports`] are the traits a store, a clock and a source of randomness implement.
//! - [`service`] joins both into the verbs of the product.
//!
//! Nothing here knows an async runtime, SQL, HTTP, the clock, a logger, the environment or files.
//!
//! # Embedding it with your own store
//!
//! 1. Implement [`ports::LinkRepository`] and [`ports::IdempotencyRepository`] (and
//!    [`ports::LinkResolver`] if you redirect) for your store.
//! 2. Run the contract suite of the `test-support` crate over it: one case for each MUST.
//! 3. Hand it to [`service::LinkService`] with a clock and a source of randomness.
//!
//! ```
//! use std::sync::Arc;
//!
//! use domain::{
//!     api_key::Caller,
//!     behaviour::Behaviour,
//!     code::CodeLength,
//!     lifecycle::Claim,
//!     ports::RandomCodes,
//!     service::{Call, ClaimRequest, LinkService, Precondition},
//!     target::{Target, TargetPolicy},
//! };
//! # use test_support::{ManualClock, MemoryStore, SeededEntropy};
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let store = Arc::new(MemoryStore::default()); // your store
//! let clock = Arc::new(ManualClock::default()); // your clock
//! let entropy = Arc::new(SeededEntropy::new(7)); // the operating system's, outside examples
//! let codes = Arc::new(RandomCodes::new(CodeLength::default(), entropy.clone()));
//! let links = LinkService::new(store.clone(), store, clock, codes, entropy);
//!
//! let call = Call { caller: Caller::anonymous(), request_id: "example".parse()?, idempotency: None };
//! let request = ClaimRequest {
//!     behaviour: Behaviour::to(Target::parse("https://example.com/", &TargetPolicy::default())?),
//!     alias: None,
//!     force_new: false,
//!     title: None,
//!     tags: Default::default(),
//! };
//!
//! // The first claim creates, a second one finds, and after a deletion the same link comes back.
//! let first = links.claim(&call, &[request.clone()]).await?.claims.remove(0);
//! let Claim::Created(link) = first else { panic!("nothing was there before") };
//! let again = links.claim(&call, &[request.clone()]).await?.claims.remove(0);
//! assert_eq!(again, Claim::Existing(link.clone()));
//!
//! links.delete(&call, &link.code, &Precondition::None).await?;
//! let back = links.claim(&call, &[request]).await?.claims.remove(0);
//! assert!(matches!(back, Claim::Reactivated(same) if same.code == link.code));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod api_key;
pub mod behaviour;
pub mod block;
pub mod code;
pub mod history;
pub mod hosts;
pub mod idempotency;
pub mod lifecycle;
pub mod link;
pub mod ports;
pub mod service;
pub mod target;
pub mod time;
