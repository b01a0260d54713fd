//! The operator, who calls the services from the command line.

use domain::{
    actor::Actor,
    api_key::{Caller, Scopes},
    link::Owner,
    service::Call,
};

/// The call of the operator, who needs no API key.
pub(crate) fn operator_call(owner: &Owner) -> Call {
    Call {
        caller: Caller { actor: Actor::System, owner: owner.clone(), scopes: Scopes::admin(), domains: Vec::new() },
        request_id: "command-line".parse().expect("a plain word is a request id"),
        idempotency: None,
    }
}
