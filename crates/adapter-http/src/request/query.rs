//! Query strings: every parameter must be known, given once and valid. All faults are reported at once.

use actix_web::HttpRequest;

use super::json::{Fault, field_problem};
use crate::problem::{FieldProblem, Problem};

/// The parameters of a request, taken one by one.
pub(crate) struct Query {
    parameters: Vec<(String, String)>,
    problems: Vec<FieldProblem>,
}

impl Query {
    pub(crate) fn of(request: &HttpRequest) -> Self {
        let mut query = Self::of_link(request);
        // The short domain of a link is read with its code.
        if request.match_info().get("code").is_some() {
            query.parameters.retain(|(name, _)| name != "domain");
        }
        query
    }

    /// The same with the short domain of a link.
    pub(crate) fn of_link(request: &HttpRequest) -> Self {
        let given = url::form_urlencoded::parse(request.query_string().as_bytes()).into_owned();
        // Forms also send fields that were left empty.
        let parameters = given.filter(|(_, value)| !value.is_empty()).collect();
        Self { parameters, problems: Vec::new() }
    }

    /// The same without any other parameter.
    pub(crate) fn only(mut self, name: &str) -> Self {
        self.parameters.retain(|(given, _)| given == name);
        self
    }

    /// Takes a parameter out and reads it.
    pub(crate) fn take<T>(&mut self, name: &str, read: impl FnOnce(&str) -> Result<T, Fault>) -> Option<T> {
        let index = self.parameters.iter().position(|(given, _)| given == name)?;
        let (_, value) = self.parameters.remove(index);
        if self.parameters.iter().any(|(given, _)| given == name) {
            self.parameters.retain(|(given, _)| given != name);
            self.fault(name, &Fault::new("duplicate", "is given twice"));
            return None;
        }
        read(&value).map_err(|fault| self.fault(name, &fault)).ok()
    }

    /// Reports the parameters that were not taken as unknown in `what`. Fails with everything that is wrong.
    pub(crate) fn finish(mut self, what: &str) -> Result<(), Problem> {
        for (name, _) in std::mem::take(&mut self.parameters) {
            self.fault(&name, &Fault::new("unknown-parameter", format!("is not a parameter of this {what}")));
        }
        if self.problems.is_empty() { Ok(()) } else { Err(Problem::invalid(self.problems)) }
    }

    pub(crate) fn fault(&mut self, name: &str, fault: &Fault) {
        let name: String = name.chars().take(100).collect();
        self.problems.push(field_problem(format!("query/{name}"), fault.code, &fault.detail));
    }
}
