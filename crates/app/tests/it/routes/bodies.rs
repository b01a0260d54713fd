//! Every kind of body that the API sends, whole. What differs with each run is redacted.

use insta::{Settings, allow_duplicates, assert_json_snapshot};
use serde_json::{Value, json};

use crate::support::{Request, Signpost, code_of, unique};

on_both_stores! {
    a_claimed_link,
    a_page_of_links,
    a_page_of_history,
    a_batch,
    a_new_key,
    a_page_of_keys,
    a_block,
    a_preview,
    a_problem,
}

/// Ids, codes, owners and times are what their names say, unless they are null. A code that was drawn has eight
/// characters; those of problems are no names of links. Fields are in the order of their names.
fn redacted(assert: impl FnOnce()) {
    let mut settings = Settings::clone_current();
    settings.set_sort_maps(true);
    for (selector, word) in [
        (".**.id", "[id]"),
        (".**.short_url", "[short_url]"),
        (".**.owner", "[owner]"),
        (".**.created_at", "[time]"),
        (".**.updated_at", "[time]"),
        (".**.deleted_at", "[time]"),
        (".**.lifted_at", "[time]"),
        (".**.last_used_at", "[time]"),
        (".**.at", "[time]"),
        (".**.actor", "[actor]"),
        (".**.created_by", "[actor]"),
        (".**.request_id", "[request_id]"),
        (".**.key", "[key]"),
        (".**.next_cursor", "[cursor]"),
    ] {
        settings.add_dynamic_redaction(selector, move |value, _| if value.is_nil() { value } else { word.into() });
    }
    settings.add_dynamic_redaction(".**.code", |value, _| {
        let is_drawn =
            value.as_str().is_some_and(|code| code.len() == 8 && code.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        if is_drawn { "[code]".into() } else { value }
    });
    // Both stores send the same.
    settings.bind(|| allow_duplicates! { assert() });
}

fn a_claimed_link(server: &Signpost) {
    let claimed = server.caller().link(&json!({"url": "https://example.com", "title": "Größe", "tags": ["a", "b"]}));
    redacted(|| {
        assert_json_snapshot!(claimed, @r#"
    {
      "code": "[code]",
      "created_at": "[time]",
      "deleted_at": null,
      "domain": "sho.test",
      "expired": false,
      "expires_at": null,
      "forward_query": false,
      "generation": 1,
      "id": "[id]",
      "outcome": "created",
      "owner": "[owner]",
      "reactivated_at": null,
      "redirect": 302,
      "short_url": "[short_url]",
      "state": "active",
      "tags": [
        "a",
        "b"
      ],
      "title": "Größe",
      "updated_at": "[time]",
      "url": "https://example.com/"
    }
    "#);
    });
}

fn a_page_of_links(server: &Signpost) {
    let caller = server.caller();
    let codes = ["https://example.com/1", "https://example.com/2"].map(|url| caller.code(url));
    caller.delete(&codes[1]).with_status(200);
    let page = caller.get("/api/v1/links?limit=1").with_status(200).json();
    redacted(|| {
        assert_json_snapshot!(page, @r#"
    {
      "items": [
        {
          "code": "[code]",
          "created_at": "[time]",
          "deleted_at": "[time]",
          "domain": "sho.test",
          "expired": false,
          "expires_at": null,
          "forward_query": false,
          "generation": 2,
          "id": "[id]",
          "owner": "[owner]",
          "reactivated_at": null,
          "redirect": 302,
          "short_url": "[short_url]",
          "state": "deleted",
          "tags": [],
          "title": null,
          "updated_at": "[time]",
          "url": "https://example.com/2"
        }
      ],
      "next_cursor": "[cursor]"
    }
    "#);
    });
}

fn a_page_of_history(server: &Signpost) {
    let caller = server.caller();
    let code = caller.code("https://example.com/history");
    caller.delete(&code).with_status(200);
    let page = caller.get(&format!("/api/v1/links/{code}/history")).with_status(200).json();
    redacted(|| {
        assert_json_snapshot!(page, @r#"
    {
      "items": [
        {
          "actor": "[actor]",
          "at": "[time]",
          "event": "deleted",
          "generation": 2,
          "request_id": "[request_id]"
        },
        {
          "actor": "[actor]",
          "at": "[time]",
          "event": "created",
          "generation": 1,
          "request_id": "[request_id]"
        }
      ],
      "next_cursor": null
    }
    "#);
    });
}

fn a_batch(server: &Signpost) {
    let claims = [json!({"url": "https://example.com/batch"}), json!({"url": "mailto:a@example.com", "colour": "red"})];
    let answer = server.caller().batch(&claims).with_status(200).json();
    redacted(|| {
        assert_json_snapshot!(answer, @r#"
    {
      "results": [
        {
          "index": 0,
          "link": {
            "code": "[code]",
            "created_at": "[time]",
            "deleted_at": null,
            "domain": "sho.test",
            "expired": false,
            "expires_at": null,
            "forward_query": false,
            "generation": 1,
            "id": "[id]",
            "owner": "[owner]",
            "reactivated_at": null,
            "redirect": 302,
            "short_url": "[short_url]",
            "state": "active",
            "tags": [],
            "title": null,
            "updated_at": "[time]",
            "url": "https://example.com/batch"
          },
          "outcome": "created"
        },
        {
          "index": 1,
          "problem": {
            "code": "validation-failed",
            "detail": "`/links/1/url` must begin with https:// or http://. `errors` names all 2 wrong fields.",
            "errors": [
              {
                "code": "scheme",
                "detail": "must begin with https:// or http://",
                "pointer": "/links/1/url"
              },
              {
                "code": "unknown-field",
                "detail": "is not a field of this body",
                "pointer": "/links/1/colour"
              }
            ],
            "request_id": "[request_id]",
            "status": 422,
            "title": "Validation failed",
            "type": "/docs/errors#validation-failed"
          }
        }
      ],
      "summary": {
        "created": 1,
        "existing": 0,
        "failed": 1,
        "reactivated": 0
      }
    }
    "#);
    });
}

fn a_new_key(server: &Signpost) {
    let body =
        json!({"name": "snapshot", "scopes": ["links:read", "links:write"], "expires_at": "2099-01-02T03:04:05Z"});
    let made = server.admin().post("/api/v1/keys", &body).with_status(201).json();
    redacted(|| {
        assert_json_snapshot!(made, @r#"
    {
      "created_at": "[time]",
      "created_by": "[actor]",
      "domains": [],
      "expires_at": "2099-01-02T03:04:05.000000Z",
      "id": "[id]",
      "key": "[key]",
      "last_used_at": null,
      "name": "snapshot",
      "owner": "[owner]",
      "revoked_at": null,
      "revoked_by": null,
      "scopes": [
        "links:read",
        "links:write"
      ]
    }
    "#);
    });
}

fn a_page_of_keys(server: &Signpost) {
    let body = json!({"name": "listed", "owner": "elsewhere", "scopes": ["admin"]});
    server.admin().post("/api/v1/keys", &body).with_status(201);
    let page = server.admin().get("/api/v1/keys?limit=100").with_status(200).json();
    let listed = page["items"].as_array().expect("items").iter().find(|key| key["name"] == "listed");
    redacted(|| {
        assert_json_snapshot!(listed, @r#"
    {
      "created_at": "[time]",
      "created_by": "[actor]",
      "domains": [],
      "expires_at": null,
      "id": "[id]",
      "last_used_at": null,
      "name": "listed",
      "owner": "[owner]",
      "revoked_at": null,
      "revoked_by": null,
      "scopes": [
        "admin"
      ]
    }
    "#);
    });
}

fn a_block(server: &Signpost) {
    let body = json!({"kind": "owner", "value": unique("blocked"), "reason": "ticket 7"});
    let block = server.admin().post("/api/v1/blocks", &body).with_status(201).json();
    redacted(|| {
        assert_json_snapshot!(block, { ".value" => "[value]" }, @r#"
    {
      "created_at": "[time]",
      "created_by": "[actor]",
      "domain": null,
      "id": "[id]",
      "kind": "owner",
      "lifted_at": null,
      "lifted_by": null,
      "reason": "ticket 7",
      "value": "[value]"
    }
    "#);
    });
}

fn a_preview(server: &Signpost) {
    let code = code_of(&server.caller().link(&json!({"url": "https://xn--bcher-kva.example/", "redirect": 307})));
    let asking = Request::get(&format!("/{code}+")).header("Accept", "application/json");
    let preview = server.ask(&asking).with_status(200).json();
    redacted(|| {
        assert_json_snapshot!(preview, @r#"
    {
      "code": "[code]",
      "expires_at": null,
      "forward_query": false,
      "host": "bücher.example",
      "mixes_scripts": false,
      "redirect": 307,
      "short_url": "[short_url]",
      "url": "https://xn--bcher-kva.example/"
    }
    "#);
    });
}

fn a_problem(server: &Signpost) {
    let problem: Value = server.caller().claim(&json!({"url": 7, "colour": "red"})).with_status(422).json();
    redacted(|| {
        assert_json_snapshot!(problem, @r#"
    {
      "code": "validation-failed",
      "detail": "`/url` must be a string. `errors` names all 2 wrong fields.",
      "errors": [
        {
          "code": "wrong-type",
          "detail": "must be a string",
          "pointer": "/url"
        },
        {
          "code": "unknown-field",
          "detail": "is not a field of this body",
          "pointer": "/colour"
        }
      ],
      "instance": "/api/v1/links",
      "request_id": "[request_id]",
      "status": 422,
      "title": "Validation failed",
      "type": "/docs/errors#validation-failed"
    }
    "#);
    });
}
