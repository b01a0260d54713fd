//! Generates the client from the document that `SIGNPOST_OPENAPI` names: the rendering in OpenAPI 3.0.

use progenitor_impl::{GenerationSettings, Generator, InterfaceStyle};
use serde_json::{Map, Value};
use std::{env, fs, path::PathBuf};

fn main() {
    println!("cargo::rerun-if-env-changed=SIGNPOST_OPENAPI");
    let document = env::var("SIGNPOST_OPENAPI").expect("SIGNPOST_OPENAPI names the document");
    println!("cargo::rerun-if-changed={document}");
    let document = fs::read(document).expect("the document can be read");
    let mut document = serde_json::from_slice(&document).expect("the document is JSON");
    call_problems_json(&mut document);
    let document = serde_json::from_value(document).expect("the document is OpenAPI 3.0");

    let mut settings = GenerationSettings::default();
    settings.with_interface(InterfaceStyle::Builder);
    let client = Generator::new(&settings).generate_tokens(&document).expect("a client can be generated");
    let client = prettyplease::unparse(&syn::parse2(client).expect("the client is Rust"));
    let place = PathBuf::from(env::var_os("OUT_DIR").expect("cargo names a directory"));
    fs::write(place.join("client.rs"), client).expect("the client can be written");
}

/// progenitor 0.15.1 knows the type of `application/json` alone: all else is a stream of bytes, problems too.
fn call_problems_json(document: &mut Value) {
    for response in object(&mut document["components"]["responses"]).values_mut() {
        let content = object(&mut response["content"]);
        if let Some(problem) = content.remove("application/problem+json") {
            content.insert("application/json".to_owned(), problem);
        }
    }
}

fn object(value: &mut Value) -> &mut Map<String, Value> {
    value.as_object_mut().expect("an object is here")
}
