//! Requests, connections and limits.

use adapter_http::metrics::{LimitDecision, MethodClass, RequestTotals, RouteClass, StatusClass};

use super::{Label, Metric, counter, gauge, histogram, label};

const ROUTE: Label = label("http_route", || RouteClass::ALL.iter().map(|class| class.name()).collect());
const METHOD: Label = label("http_request_method", || MethodClass::ALL.iter().map(|class| class.name()).collect());
const STATUS: Label = label("status_class", || StatusClass::ALL.iter().map(|class| class.name()).collect());
const PROBLEM: Label = label("code", RequestTotals::problem_codes);
const POLICY: Label = label("policy", RequestTotals::policies);
const DECISION: Label = label("decision", || LimitDecision::ALL.iter().map(|decision| decision.name()).collect());
const REASON: Label = label("reason", || vec!["malformed", "headers-too-large", "head-timeout"]);
const STAGE: Label = label("stage", || vec!["open", "head", "body", "answer"]);
const CALLS: Label = label("calls", || vec!["api", "lists"]);

#[rustfmt::skip]
pub(super) static ROWS: &[Metric] = &[
    counter("signpost_http_requests_total", &[ROUTE, METHOD, STATUS],
        "Requests to the main listener that have ended, by what they were for; aborted means that the client left before there was an answer",
        "The share of 5xx by route is the availability",
        |it, out| {
            for (route, methods) in RouteClass::ALL.iter().zip(&it.requests.requests) {
                for (method, statuses) in MethodClass::ALL.iter().zip(methods) {
                    for (status, count) in StatusClass::ALL.iter().zip(statuses) {
                        out.with([route.name(), method.name(), status.name()], *count);
                    }
                }
            }
        }),
    histogram("http_server_request_duration_seconds", &[ROUTE],
        "Time from the head of a request to the head of its answer",
        "Redirects above 50 ms; claims above 250 ms",
        |it, out| {
            for (route, durations) in RouteClass::ALL.iter().zip(&it.requests.durations) {
                out.histogram([route.name()], durations.sum.as_secs_f64(), durations.buckets());
            }
        }),
    gauge("http_server_active_requests", &[],
        "Requests that have no answer yet",
        "A rise without more requests: the store is slow",
        |it, out| out.one(it.requests.active)),
    counter("signpost_problems_total", &[PROBLEM],
        "Answers that are problems, by their code (docs/ERRORS.md)",
        "internal: a defect; unavailable, outcome-unknown, storage-full: the store",
        |it, out| out.each(it.requests.problems())),
    counter("signpost_limit_decisions_total", &[POLICY, DECISION],
        "Requests that were charged to the quota of a policy; of the policy unknown only those that it rejected",
        "Many rejections of one policy: an attack, or a quota that is too narrow (limits.*)",
        |it, out| {
            for (policy, decision, count) in it.requests.limits() {
                out.with([policy, decision.name()], count);
            }
        }),
    gauge("signpost_concurrency_in_flight", &[],
        "Calls of the API to the store that are in flight",
        "Near the limit: the store is overloaded",
        |it, out| out.one(it.concurrency.in_flight)),
    gauge("signpost_concurrency_limit", &[],
        "How many such calls the concurrency limiter admits outside of bursts",
        "A fall: the store completes fewer calls",
        |it, out| out.one(it.concurrency.limit)),
    counter("signpost_concurrency_rejections_total", &[CALLS],
        "Requests that were rejected because too many calls were in flight",
        "Any sustained rate: RUNBOOK, overload",
        |it, out| out.each([("api", it.concurrency.rejected), ("lists", it.concurrency.rejected_lists)])),
    gauge("signpost_connections_open", &[],
        "Connections of clients that are open",
        "Near the maximum: further clients wait",
        |it, out| out.one(it.connections.open)),
    gauge("signpost_connections_max", &[],
        "How many may be open (http.max_connections)",
        "",
        |it, out| out.one(it.connections.max)),
    counter("signpost_connections_accepted_total", &[],
        "Connections that were accepted",
        "A rate near that of requests: a proxy does not keep connections alive",
        |it, out| out.one(it.connections.accepted)),
    counter("signpost_connection_rejections_total", &[REASON],
        "Request heads that the stream guard refused",
        "malformed: a scanner, or a proxy that writes heads of its own",
        |it, out| out.each(it.connections.rejected.iter().copied())),
    counter("signpost_connection_timeouts_total", &[STAGE],
        "Clients that were too slow, by what they were to send or to read",
        "body, answer: slow clients or a slowloris attack",
        |it, out| out.each(it.connections.timed_out.iter().copied())),
    gauge("signpost_answers_untaken_bytes", &[],
        "Bytes of answers that clients have not read yet",
        "",
        |it, out| out.one(it.untaken_bytes)),
];
