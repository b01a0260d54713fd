//! The document as OpenAPI 3.0, for generators that know no later version. Most of them give an operation one type for
//! its success and one for its failure, and make a function of each method. What they cannot handle is left out.

use serde_json::{Value, json};

use super::shape::remove_unused;

/// Rewrites a document of version 3.1.
pub(super) fn rewrite(document: &mut Value) {
    document["openapi"] = "3.0.3".into();
    if let Some(license) = document["info"]["license"].as_object_mut() {
        license.remove("identifier");
        license.insert("url".to_owned(), "https://www.gnu.org/licenses/gpl-3.0.html".into());
    }
    leave_out(document);
    remove_unused(document);
    schema(document);
}

/// Removes what only doubles a client: `HEAD`, and the `default` answers. Also removes `/health`, whose failures are no
/// problems: it is for probes.
fn leave_out(document: &mut Value) {
    let Some(paths) = document["paths"].as_object_mut() else {
        return;
    };
    paths.remove("/health");
    for operations in paths.values_mut().filter_map(Value::as_object_mut) {
        operations.remove("head");
        for operation in operations.values_mut() {
            // If an operation has no success, as with redirects, the `default` answer stands for one.
            if let Some(responses) = operation["responses"].as_object_mut()
                && responses.keys().any(|status| status.starts_with('2'))
            {
                responses.remove("default");
            }
        }
    }
}

/// Rewrites nullable types, and references with other keywords beside them, wherever they stand.
fn schema(value: &mut Value) {
    match value {
        Value::Object(object) => {
            if let Some(Value::Array(types)) = object.get("type").cloned() {
                let mut others = types.iter().filter(|kind| *kind != "null");
                if let (Some(one), None) = (others.next(), others.next()) {
                    object.insert("type".to_owned(), one.clone());
                }
                if types.iter().any(|kind| kind == "null") {
                    object.insert("nullable".to_owned(), true.into());
                }
            }
            for keyword in ["oneOf", "anyOf"] {
                let Some(Value::Array(choices)) = object.get(keyword) else {
                    continue;
                };
                let others: Vec<_> = choices.iter().filter(|choice| choice["type"] != "null").cloned().collect();
                if others.len() < choices.len() {
                    // A `null` choice is dropped: the value can be left out instead.
                    object.remove(keyword);
                    match others.as_slice() {
                        [Value::Object(one)] => object.extend(one.clone()),
                        _ => drop(object.insert(keyword.to_owned(), others.into())),
                    }
                }
            }
            if object.get("$ref").is_some_and(Value::is_string) && object.len() > 1 {
                // OpenAPI 3.0 ignores everything beside a reference.
                let target = object.remove("$ref").unwrap_or_default();
                object.insert("allOf".to_owned(), json!([{ "$ref": target }]));
            }
            object.values_mut().for_each(schema);
        }
        Value::Array(values) => values.iter_mut().for_each(schema),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
