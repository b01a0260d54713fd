//! The charge for a code that no link may have.

use domain::address::Address;

use crate::{limits::UnknownCodeCharge, problem::Problem, request::context::Context};

/// Takes the charge for a code that may be unknown.
pub(super) async fn charge_when_known(context: &Context, address: &Address) -> Result<UnknownCodeCharge, Problem> {
    let state = &context.state;
    let existence = || state.services.resolver.existence(address);
    let timeout = state.settings.redirect_timeout / 2;
    UnknownCodeCharge::take_when_known(&state.limits, &context.tally, existence, timeout).await
}
