//! Callers: an API key at a server, and the verbs of the API.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::{Answer, Request, Signpost, ask, unique};

/// A client with an API key, at one server.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    address: SocketAddr,
    pub(crate) key: String,
    pub(crate) key_id: String,
    pub(crate) owner: String,
}

impl Signpost {
    /// The caller with the key that the server made when it first started.
    pub(crate) fn admin(&self) -> Caller {
        let key = self.admin_key();
        let key_id = key["sgn_".len()..][..12].to_owned();
        Caller { address: self.address(), key, key_id, owner: "default".to_owned() }
    }

    /// A caller with a new key of a new owner, which may read and write links.
    pub(crate) fn caller(&self) -> Caller {
        self.caller_of(&unique("owner"), &["links:read", "links:write"])
    }

    /// A caller with a new key of an owner.
    pub(crate) fn caller_of(&self, owner: &str, scopes: &[&str]) -> Caller {
        let body = json!({"name": "test", "owner": owner, "scopes": scopes});
        let made = self.admin().post("/api/v1/keys", &body).with_status(201).json();
        let text = |field: &str| made[field].as_str().expect("a key has it").to_owned();
        Caller { address: self.address(), key: text("key"), key_id: text("id"), owner: text("owner") }
    }
}

impl Caller {
    /// The same key, at another server on the same store.
    pub(crate) fn at(&self, server: &Signpost) -> Self {
        Self { address: server.address(), ..self.clone() }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// A request with the key.
    pub(crate) fn request(&self, method: &str, target: &str) -> Request {
        Request::new(method, target).key(&self.key)
    }

    /// Sends the request as it is, without adding the key.
    #[track_caller]
    pub(crate) fn ask(&self, request: &Request) -> Answer {
        ask(self.address, request).unwrap_or_else(|error| panic!("{request:?}: {error}"))
    }

    #[track_caller]
    pub(crate) fn get(&self, target: &str) -> Answer {
        self.ask(&self.request("GET", target))
    }

    #[track_caller]
    pub(crate) fn post(&self, target: &str, body: &Value) -> Answer {
        self.ask(&self.request("POST", target).json(body))
    }

    /// The request that claims a link.
    pub(crate) fn claiming(&self, body: &Value) -> Request {
        self.request("POST", "/api/v1/links").json(body)
    }

    #[track_caller]
    pub(crate) fn claim(&self, body: &Value) -> Answer {
        self.ask(&self.claiming(body))
    }

    /// A new link.
    #[track_caller]
    pub(crate) fn link(&self, body: &Value) -> Value {
        self.claim(body).with_status(201).json()
    }

    /// The code of a new link to `url`.
    #[track_caller]
    pub(crate) fn code(&self, url: &str) -> String {
        code_of(&self.link(&json!({"url": url})))
    }

    #[track_caller]
    pub(crate) fn batch(&self, claims: &[Value]) -> Answer {
        self.post("/api/v1/links/batch", &json!({"links": claims}))
    }

    #[track_caller]
    pub(crate) fn read(&self, code: &str) -> Answer {
        self.get(&format!("/api/v1/links/{code}"))
    }

    /// The request that edits a link.
    pub(crate) fn editing(&self, code: &str, body: &Value) -> Request {
        self.request("PATCH", &format!("/api/v1/links/{code}")).json(body)
    }

    #[track_caller]
    pub(crate) fn edit(&self, code: &str, body: &Value) -> Answer {
        self.ask(&self.editing(code, body))
    }

    /// The request that deletes a link.
    pub(crate) fn deleting(&self, code: &str) -> Request {
        self.request("DELETE", &format!("/api/v1/links/{code}"))
    }

    #[track_caller]
    pub(crate) fn delete(&self, code: &str) -> Answer {
        self.ask(&self.deleting(code))
    }

    /// The request that brings a link back.
    pub(crate) fn reactivating(&self, code: &str) -> Request {
        self.request("POST", &format!("/api/v1/links/{code}/reactivate"))
    }

    #[track_caller]
    pub(crate) fn reactivate(&self, code: &str) -> Answer {
        self.ask(&self.reactivating(code))
    }

    /// The first page of a link's history: at most 100 events, newest first.
    #[track_caller]
    pub(crate) fn history(&self, code: &str) -> Vec<Value> {
        let page = self.get(&format!("/api/v1/links/{code}/history?limit=100")).with_status(200).json();
        page["items"].as_array().expect("a page has items").clone()
    }

    /// The whole history of a link, oldest first.
    #[track_caller]
    pub(crate) fn whole_history(&self, code: &str) -> Vec<Value> {
        let mut events = self.walk(&format!("/api/v1/links/{code}/history?limit=100"));
        events.reverse();
        events
    }

    /// Every item of a list, walked through in pages by its `Link` fields.
    #[track_caller]
    pub(crate) fn walk(&self, first: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut next = Some(first.to_owned());
        while let Some(target) = next {
            let page = self.get(&target);
            items.extend(page.with_status(200).json()["items"].as_array().expect("a page has items").clone());
            next = next_page(&page);
        }
        items
    }
}

/// The code in the body of a link.
#[track_caller]
pub(crate) fn code_of(link: &Value) -> String {
    link["code"].as_str().unwrap_or_else(|| panic!("no link: {link}")).to_owned()
}

/// Where the `Link` field of a page leads, which has to be where its `next_cursor` leads.
#[track_caller]
pub(crate) fn next_page(page: &Answer) -> Option<String> {
    let body = page.json();
    let cursor = body["next_cursor"].as_str();
    let next = page.header("link").map(|link| {
        let target = link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\""));
        target.unwrap_or_else(|| panic!("no link to a next page: {link}")).to_owned()
    });
    let named = next.as_deref().and_then(|next| next.split_once("cursor=")).map(|(_, cursor)| cursor);
    assert_eq!(named, cursor, "{page:?}");
    next
}
