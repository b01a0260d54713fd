//! The document in the words of OpenAPI 3.0, for generators that know no later version.

use serde_json::{Value, json};

/// Rewrites a document of version 3.1.
pub(super) fn rewrite(document: &mut Value) {
    document["openapi"] = "3.0.3".into();
    if let Some(license) = document["info"]["license"].as_object_mut() {
        license.remove("identifier");
        license.insert("url".to_owned(), "https://www.gnu.org/licenses/gpl-3.0.html".into());
    }
    schema(document);
}

/// Nullable types, and what is excluded, wherever they stand.
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
                    // It can as well be left out.
                    object.remove(keyword);
                    match others.as_slice() {
                        [Value::Object(one)] => object.extend(one.clone()),
                        _ => drop(object.insert(keyword.to_owned(), others.into())),
                    }
                }
            }
            if object.get("$ref").is_some_and(Value::is_string) && object.len() > 1 {
                // Beside a reference nothing else is read.
                let target = object.remove("$ref").unwrap_or_default();
                object.insert("allOf".to_owned(), json!([{ "$ref": target }]));
            }
            object.values_mut().for_each(schema);
        }
        Value::Array(values) => values.iter_mut().for_each(schema),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
