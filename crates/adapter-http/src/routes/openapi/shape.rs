//! What the attributes of the handlers cannot express and generated clients need to be pleasant: closed sets of values,
//! shared answers, and the header fields that every answer has.

use domain::{behaviour::RedirectStatus, history::EventKind};
use serde_json::{Map, Value, json};

use crate::problem::{PROBLEM_JSON, ProblemEntry, ProblemKind};

/// Adds all of that to the document.
pub(super) fn add_to(document: &mut Value) {
    schemas(&mut document["components"]["schemas"]);
    document["components"]["headers"] = headers();
    document["components"]["responses"] = problems();
    share_parameters(document);
    for item in objects(&mut document["paths"]) {
        let methods: Vec<_> = item.keys().cloned().collect();
        for method in methods {
            operation(&method, &mut item[&method]);
        }
    }
    remove_unused(document);
}

/// Values that several operations take under one name: each is one type in a client, not one for each operation.
const SHARED: [(&str, &str, &str, &str); 6] = [
    // where it is, its name, the beginning of its path, its schema
    ("path", "code", "/", "LinkCode"),
    ("path", "id", "/api/v1/keys/", "KeyId"),
    ("path", "id", "/api/v1/blocks/", "BlockId"),
    ("header", "Idempotency-Key", "/", "IdempotencyKey"),
    ("query", "tag", "/", "Tag"),
    ("query", "state", "/api/v1/blocks", "BlockState"),
];

fn share_parameters(document: &mut Value) {
    let mut schemas = document["components"]["schemas"].take();
    for (path, item) in document["paths"].as_object_mut().into_iter().flatten() {
        for operation in item.as_object_mut().into_iter().flatten().map(|(_, operation)| operation) {
            for parameter in operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
                let shared = SHARED.iter().find(|(place, name, beginning, _)| {
                    parameter["in"] == *place && parameter["name"] == *name && path.starts_with(beginning)
                });
                if let Some((.., schema)) = shared {
                    let mut own = std::mem::replace(&mut parameter["schema"], reference("schemas", schema));
                    // A parameter is never null on the wire.
                    own["type"] = "string".into();
                    if schemas.get(schema).is_none() {
                        schemas[schema] = own;
                    }
                }
            }
        }
    }
    document["components"]["schemas"] = schemas;
}

/// Removes components that nothing refers to. They would be no part of a client, and every linter reports them.
pub(super) fn remove_unused(document: &mut Value) {
    let mut is_changed = true;
    // What only an unused one refers to is unused as well.
    while is_changed {
        is_changed = false;
        let text = document.to_string();
        for kind in ["responses", "schemas", "headers"] {
            if let Some(components) = document["components"][kind].as_object_mut() {
                let before = components.len();
                components.retain(|name, _| text.contains(&format!("\"#/components/{kind}/{name}\"")));
                is_changed |= components.len() < before;
            }
        }
    }
}

/// The second media type in which edits may be sent.
const MERGE_PATCH: &str = "application/merge-patch+json";

fn objects(value: &mut Value) -> impl Iterator<Item = &mut Map<String, Value>> {
    value.as_object_mut().into_iter().flatten().filter_map(|(_, value)| value.as_object_mut())
}

fn reference(kind: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/components/{kind}/{name}") })
}

fn schemas(schemas: &mut Value) {
    // One object instead of two parts, which could not refuse other fields.
    let mut new_domain = schemas["DomainSettings"].clone();
    new_domain["properties"]["host"] = schemas["NewDomain"]["allOf"][1]["properties"]["host"].clone();
    new_domain["required"] = json!(["host"]);
    new_domain["description"] = schemas["NewDomain"]["description"].clone();
    schemas["NewDomain"] = new_domain;
    for closed in ["Claim", "Edit", "Batch", "NewApiKey", "NewBlock", "NewDomain", "DomainSettings"] {
        schemas[closed]["additionalProperties"] = false.into();
    }
    schemas["Claim"]["not"] = json!({
        "required": ["expires_at", "expires_in"],
        "properties": { "expires_at": { "type": "string" }, "expires_in": { "type": "string" } },
    });
    let mut closed_set = |name: &str, values: Value, description: &str| {
        let kind = if values[0].is_number() { "integer" } else { "string" };
        schemas[name] = json!({ "type": kind, "enum": values, "description": description });
    };
    closed_set("RedirectStatus", json!(RedirectStatus::ALL.map(RedirectStatus::as_u16)), "The status of a redirect.");
    closed_set("LinkState", json!(["active", "deleted"]), "Whether a link leads anywhere.");
    closed_set("Outcome", json!(["created", "existing", "reactivated"]), "What a claim did.");
    closed_set("LinkEventKind", json!(EventKind::ALL.map(EventKind::name)), "What happened to a link.");
    let codes = ProblemKind::ALL.map(|kind| kind.entry().code);
    closed_set("ProblemCode", json!(codes), "The stable name of a kind of problem.");
    closed_set(
        "BlockState",
        json!(["in_force", "all"]),
        "Which blocks are listed: those in force, or lifted ones too.",
    );
    // Names for generated constants, where the values are no valid names.
    schemas["LinkSort"]["x-enum-varnames"] = json!(["NEWEST_FIRST", "OLDEST_FIRST"]);
    schemas["RedirectStatus"]["x-enum-varnames"] =
        json!(["MOVED_PERMANENTLY", "FOUND", "TEMPORARY_REDIRECT", "PERMANENT_REDIRECT"]);
    let scopes = schemas["Scope"]["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let names: Vec<_> = scopes.map(|scope| scope.replace(':', "_").to_uppercase()).collect();
    schemas["Scope"]["x-enum-varnames"] = json!(names);
    for (schema, field, set) in [
        ("Link", "state", "LinkState"),
        ("Link", "redirect", "RedirectStatus"),
        ("Preview", "redirect", "RedirectStatus"),
        ("BatchResult", "outcome", "Outcome"),
        ("LinkEvent", "event", "LinkEventKind"),
        ("Problem", "code", "ProblemCode"),
        ("Link", "code", "LinkCode"),
        ("Preview", "code", "LinkCode"),
        ("ApiKey", "id", "KeyId"),
    ] {
        schemas[schema]["properties"][field] = reference("schemas", set);
    }
    schemas["ClaimedLink"]["allOf"][1]["properties"]["outcome"] = reference("schemas", "Outcome");
    schemas["ApiKey"]["properties"]["scopes"]["items"] = reference("schemas", "Scope");
}

fn headers() -> Value {
    let header = |description: &str, kind: &str, example: &str| {
        let example =
            if kind == "integer" { example.parse::<u64>().map_or(Value::Null, Value::from) } else { example.into() };
        json!({ "description": description, "schema": { "type": kind }, "example": example })
    };
    json!({
        "X-Request-Id": header("The name of the request, as in the log", "string", "4c57a95f-9cf4-4570-a38e-cb5d2ca5950f"),
        "Retry-After": header("In how many seconds another try is worth it", "integer", "2"),
        "RateLimit": header("What is left of the tightest limit, and when there is more", "string", "\"claim\";r=99;t=1"),
        "RateLimit-Policy": header("The tightest limit", "string", "\"claim\";q=100;w=10"),
        "WWW-Authenticate": header("How a key is sent", "string", "Bearer"),
        "ETag": header("The generation of the link, to be sent as If-Match", "string", "\"1\""),
        "Location": header("Where what was made can be read", "string", "/api/v1/links/h7RkQ2mX"),
        "Link": header("The next page, if there is one (RFC 8288)", "string", "</api/v1/links?cursor=AAZh>; rel=\"next\""),
    })
}

/// One answer for each status that problems have, and one for any other.
fn problems() -> Value {
    let mut responses = Map::new();
    let answer = |description: &str, headers: &[&str], kind: ProblemKind| {
        let headers: Map<_, _> = headers.iter().map(|name| ((*name).to_owned(), reference("headers", name))).collect();
        let ProblemEntry { code, status, title, meaning } = kind.entry();
        let example = json!({
            "type": format!("/docs/errors#{code}"),
            "title": title,
            "status": status,
            "detail": meaning,
            "instance": "/api/v1/links",
            "code": code,
            "request_id": "4c57a95f-9cf4-4570-a38e-cb5d2ca5950f",
        });
        let content = json!({ PROBLEM_JSON: { "schema": reference("schemas", "Problem"), "example": example } });
        json!({ "description": description, "headers": headers, "content": content })
    };
    for status in ProblemKind::ALL.map(|kind| kind.entry().status) {
        let of_status: Vec<_> = ProblemKind::ALL.into_iter().filter(|kind| kind.entry().status == status).collect();
        let entries = of_status.iter().map(|kind| kind.entry());
        let told: Vec<_> = entries.map(|ProblemEntry { code, title, .. }| format!("{title} (`{code}`)")).collect();
        let headers: &[&str] = match status {
            401 => &["X-Request-Id", "WWW-Authenticate"],
            429 => &["X-Request-Id", "Retry-After", "RateLimit", "RateLimit-Policy"],
            503 => &["X-Request-Id", "Retry-After"],
            _ => &["X-Request-Id"],
        };
        responses.insert(problem_name(&status.to_string()), answer(&told.join(", or "), headers, of_status[0]));
    }
    responses.insert(problem_name(""), answer("Any other problem", &["X-Request-Id"], ProblemKind::Internal));
    responses.into()
}

fn problem_name(status: &str) -> String {
    format!("Problem{status}")
}

fn operation(method: &str, operation: &mut Value) {
    let is_public = operation.get("security").is_none();
    if is_public {
        operation["security"] = json!([]);
    }
    if operation.get("description").is_none() {
        operation["description"] = operation["summary"].clone();
    }
    if method == "head" {
        operation["description"] = "The head of the answer to GET, and nothing behind it.".into();
    }
    // A header field is present or not; it is never null on the wire.
    for parameter in operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
        if parameter["in"] == "header" && parameter["schema"].get("$ref").is_none() {
            parameter["schema"]["type"] = "string".into();
        }
    }
    if let Some(body) = operation.get_mut("requestBody").filter(|body| body["content"].get(MERGE_PATCH).is_some()) {
        // The server reads both media types. A generated client uses one of them, and always sends a body.
        body["content"] = json!({ "application/json": body["content"]["application/json"] });
        body["required"] = true.into();
    }
    let example = operation["operationId"].as_str().and_then(example);
    if let (Some(example), Some(body)) = (example, operation.get_mut("requestBody")) {
        body["content"]["application/json"]["example"] = example;
    }
    for (status, response) in operation["responses"].as_object_mut().into_iter().flatten() {
        if response.get("content").is_some_and(|content| content.get(PROBLEM_JSON).is_some()) {
            *response = reference("responses", &problem_name(status));
        } else {
            name_headers(response, !is_public);
        }
    }
    operation["responses"]["default"] = if method == "head" {
        json!({ "description": "Any other problem" })
    } else {
        reference("responses", &problem_name(""))
    };
}

/// An example of a body that works as it is, for trying the operation out.
fn example(operation: &str) -> Option<Value> {
    Some(match operation {
        "claim_link" => json!({"url": "https://example.com/handbook", "title": "Handbook", "tags": ["docs"]}),
        "claim_links" => {
            json!({"links": [{"url": "https://example.com/1"}, {"url": "https://example.com/2", "title": "Two"}]})
        }
        "edit_link" => json!({"url": "https://example.com/handbook/v2", "title": "Handbook"}),
        "create_key" => json!({"name": "ci", "owner": "team-a", "scopes": ["links:read", "links:write"]}),
        "create_block" => json!({"kind": "host", "value": "evil.example", "reason": "phishing, ticket 7"}),
        _ => return None,
    })
}

fn name_headers(response: &mut Value, is_limited: bool) {
    let named: Vec<String> = response
        .get("headers")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(name, _)| name.clone())
        .collect();
    for name in named {
        if ["ETag", "Location", "Link"].contains(&name.as_str()) {
            response["headers"][&name] = reference("headers", &name);
        }
    }
    response["headers"]["X-Request-Id"] = reference("headers", "X-Request-Id");
    if is_limited {
        for name in ["RateLimit", "RateLimit-Policy"] {
            response["headers"][name] = reference("headers", name);
        }
    }
}
