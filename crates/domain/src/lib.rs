//! The domain of Signpost, without I/O: links, the rules of their lifecycle, and what a store must promise.
//!
//! - [`lifecycle`] holds every rule as a total pure function: claim, edit, delete, reactivate, follow.
//! - [`ports`] are the traits a store, a clock and a source of randomness implement.
//! - [`service`] combines both into the operations of the product.
//!
//! This crate uses no async runtime, SQL, HTTP, system clock, logger, environment variables or files.
//!
//! # Embedding it with your own store
//!
//! 1. Implement [`ports::LinkRepository`], [`ports::LinkResolver`] and [`ports::IdempotencyRepository`] for your store.
//! 2. Run `link_contract_suite!` of the `test-support` crate against it. The suite has one case for each MUST.
//! 3. Pass it to [`service::LinkService`] and [`service::ResolveService`], with a clock, a code generator and a source
//!    of randomness.
//!
//! The example also needs `getrandom`, and `tokio` or another runtime. It uses the store of `test-support` in place of
//! yours.
//!
//! ```
//! use std::{error::Error, sync::Arc, time::SystemTime};
//!
//! use domain::{
//!     address::DomainId,
//!     api_key::Caller,
//!     behaviour::Behaviour,
//!     code::CodeLength,
//!     lifecycle::Claim,
//!     ports::{Clock, Entropy, RandomCodes},
//!     service::{Blocked, Call, ClaimRequest, Followed, LinkService, Precondition, ResolveService},
//!     target::{Target, TargetPolicy},
//!     time::Timestamp,
//! };
//! use test_support::MemoryStore;
//!
//! struct SystemClock;
//!
//! impl Clock for SystemClock {
//!     fn now(&self) -> Timestamp {
//!         let since = SystemTime::UNIX_EPOCH.elapsed().expect("the clock stands behind 1970");
//!         let micros = i64::try_from(since.as_micros()).ok();
//!         micros.and_then(Timestamp::from_unix_micros).expect("the clock stands before the year 10000")
//!     }
//! }
//!
//! struct SystemEntropy;
//!
//! impl Entropy for SystemEntropy {
//!     fn fill(&self, bytes: &mut [u8]) {
//!         getrandom::fill(bytes).expect("the operating system gives randomness");
//!     }
//! }
//!
//! fn main() -> Result<(), Box<dyn Error>> {
//!     tokio::runtime::Builder::new_current_thread().build()?.block_on(lead_a_life())
//! }
//!
//! async fn lead_a_life() -> Result<(), Box<dyn Error>> {
//!     let (store, clock, entropy) = (Arc::new(MemoryStore::default()), Arc::new(SystemClock), Arc::new(SystemEntropy));
//!     let codes = Arc::new(RandomCodes::new(CodeLength::default(), entropy.clone()));
//!     // Redirects, with an empty blocklist.
//!     let visits = ResolveService::new(store.clone(), Blocked::default(), clock.clone());
//!     let links = LinkService::new(store.clone(), store, clock, codes, entropy);
//!
//!     let call = Call { caller: Caller::anonymous(), request_id: "example".parse()?, idempotency: None };
//!     let request = ClaimRequest {
//!         behaviour: Behaviour::to(Target::parse("https://example.com/", &TargetPolicy::default())?),
//!         domain: DomainId::DEFAULT,
//!         alias: None,
//!         force_new: false,
//!         title: None,
//!         tags: Default::default(),
//!     };
//!
//!     // The first claim creates the link, the second finds it. A claim after a deletion reactivates it.
//!     let first = links.claim(&call, &[request.clone()]).await?.claims.remove(0);
//!     let Claim::Created(link) = first else { panic!("nothing was there before") };
//!     let again = links.claim(&call, &[request.clone()]).await?.claims.remove(0);
//!     assert_eq!(again, Claim::Existing(link.clone()));
//!     assert!(matches!(visits.follow(&link.address(), "").await?.followed, Followed::Redirect { .. }));
//!
//!     links.delete(&call, &link.address(), &Precondition::None).await?;
//!     assert!(matches!(visits.follow(&link.address(), "").await?.followed, Followed::Gone(_)));
//!     let back = links.claim(&call, &[request]).await?.claims.remove(0);
//!     assert!(matches!(back, Claim::Reactivated(same) if same.code == link.code));
//!     Ok(())
//! }
//! ```

pub mod access;
pub mod actor;
pub mod address;
mod alphabet;
pub mod api_key;
pub mod behaviour;
pub mod block;
pub mod click;
pub mod code;
mod entropy;
pub mod history;
pub mod hosts;
pub mod idempotency;
mod key_id;
pub mod lifecycle;
pub mod link;
pub mod ports;
pub mod service;
pub mod short_domain;
pub mod target;
pub mod time;
