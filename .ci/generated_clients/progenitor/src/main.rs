//! Walks a link's whole life with the client that progenitor generates.

#[allow(clippy::all, dead_code, unused_imports)]
mod client {
    include!(concat!(env!("OUT_DIR"), "/client.rs"));
}

use client::{types, types::ProblemCode, Client, Error, ResponseValue};
use reqwest::header::{HeaderMap, HeaderValue};
use std::{collections::BTreeSet, env, fmt::Debug};

const ME: &str = "progenitor";

fn client_for(key: &str) -> Client {
    let mut headers = HeaderMap::new();
    headers.insert("x-api-key", HeaderValue::from_str(key).expect("a key is ASCII"));
    let inner = reqwest::Client::builder().default_headers(headers).build().expect("a client can be built");
    Client::new_with_client(&env::var("SIGNPOST_ADDRESS").expect("SIGNPOST_ADDRESS is set"), inner)
}

/// The problem of an answer, if it is the expected one.
fn refused<T: Debug>(
    answer: Result<ResponseValue<T>, Error<types::Problem>>,
    status: u16,
    code: ProblemCode,
) -> types::Problem {
    let Err(Error::ErrorResponse(answer)) = answer else {
        panic!("{answer:?} instead of {status}");
    };
    assert_eq!(answer.status(), status);
    assert_eq!(answer.headers()["x-request-id"], answer.request_id);
    let problem = answer.into_inner();
    assert_eq!(problem.code, code);
    problem
}

async fn claims(client: &Client) -> Result<String, Error<types::Problem>> {
    let claim = || {
        types::Claim::builder()
            .url("https://example.com/progenitor?a=1")
            .alias(ME.parse::<types::ClaimAlias>().expect("a code"))
            .title("Progenitor".parse::<types::ClaimTitle>().expect("a title"))
            .tags(vec![ME.parse().expect("a tag")])
            .redirect(types::RedirectStatus::try_from(308).expect("a status of a redirect"))
    };
    let answer = client.claim_link().idempotency_key("progenitor-1").body(claim()).send().await?;
    assert_eq!(answer.status(), 201);
    assert_eq!(answer.headers()["etag"], "\"1\"");
    assert_eq!(answer.headers()["location"], format!("/api/v1/links/{ME}"));
    let made: types::ClaimedLink = answer.into_inner();
    // No branch is left over: the outcomes are an enumeration.
    match made.outcome {
        types::Outcome::Created => {}
        types::Outcome::Existing | types::Outcome::Reactivated => panic!("{:?}", made.outcome),
    }
    assert_eq!(made.code.as_str(), ME);
    assert_eq!(made.state, types::LinkState::Active);
    assert_eq!(*made.redirect, 308);
    assert!(made.expires_at.is_none());

    let again = client.claim_link().body(claim()).send().await?;
    assert_eq!(again.status(), 200);
    assert_eq!(again.outcome, types::Outcome::Existing);
    assert_eq!(again.id, made.id);

    let read: types::Link = client.get_link().code(made.code.as_str()).send().await?.into_inner();
    assert_eq!(read.url, "https://example.com/progenitor?a=1");
    assert_eq!(read.tags, [ME]);

    let other = types::Claim::builder()
        .url("https://example.com/progenitor/other")
        .alias(ME.parse::<types::ClaimAlias>().expect("a code"));
    refused(client.claim_link().body(other).send().await, 409, ProblemCode::AliasTaken);
    Ok(made.code.to_string())
}

async fn batch(client: &Client) -> Result<(), Error<types::Problem>> {
    let claim = |url: &str| -> types::Claim {
        types::Claim::builder().url(url).tags(vec![ME.parse().expect("a tag")]).try_into().expect("a claim")
    };
    let body = types::Batch::builder().links(vec![
        claim("https://example.com/progenitor/1"),
        claim("ftp://example.com/progenitor/2"),
        claim("https://example.com/progenitor/3"),
    ]);
    let answer = client.claim_links().body(body).send().await?.into_inner();
    assert_eq!((answer.summary.created, answer.summary.failed), (2, 1));
    let [first, second, third] = answer.results.as_slice() else {
        panic!("{answer:?}");
    };
    assert_eq!((first.outcome, third.outcome), (Some(types::Outcome::Created), Some(types::Outcome::Created)));
    assert!(first.link.as_ref().is_some_and(|link| link.tags == [ME]));
    assert!(second.link.is_none() && second.outcome.is_none());
    assert!(second.problem.as_ref().is_some_and(|problem| problem.code == ProblemCode::ValidationFailed));
    Ok(())
}

async fn pages(client: &Client, code: &str) -> Result<(), Error<types::Problem>> {
    let mut codes = Vec::new();
    let mut cursor = None;
    loop {
        let ask = client.list_links().tag(ME).state(types::LinkState::Active);
        // `CreatedXat` is `created_at`: the generator finds no better name beside `-created_at`.
        let mut ask = ask.sort(types::LinkSort::CreatedXat).limit(2u32);
        if let Some(cursor) = cursor {
            ask = ask.cursor::<String>(cursor);
        }
        let answer = ask.send().await?;
        assert_eq!(answer.headers().contains_key("link"), answer.next_cursor.is_some());
        let page: types::LinkPage = answer.into_inner();
        codes.extend(page.items.into_iter().map(|link| link.code));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(codes.first().map(|code| code.as_str()), Some(code));
    assert_eq!((codes.len(), codes.iter().collect::<BTreeSet<_>>().len()), (3, 3));
    refused(client.list_links().cursor("x").send().await, 400, ProblemCode::InvalidCursor);
    Ok(())
}

async fn changes(client: &Client, code: &str) -> Result<(), Error<types::Problem>> {
    // Not walked: taking the title away. `"title": null` and no title at all are both `None` here, and are never sent.
    let tags = vec![ME.parse().expect("a tag"), "edited".parse().expect("a tag")];
    let edit = || types::Edit::builder().tags(tags.clone());
    let answer = client.edit_link().code(code).if_match("\"1\"").body(edit()).send().await?;
    assert_eq!(answer.headers()["etag"], "\"2\"");
    assert_eq!(answer.tags, [ME, "edited"]);
    assert_eq!(answer.generation.get(), 2);
    refused(client.edit_link().code(code).if_match("\"1\"").body(edit()).send().await, 412, ProblemCode::Stale);

    let deleted = client.delete_link().code(code).if_match("\"2\"").send().await?;
    assert_eq!(deleted.state, types::LinkState::Deleted);
    assert!(deleted.deleted_at.is_some());
    refused(client.edit_link().code(code).body(edit()).send().await, 409, ProblemCode::LinkDeleted);
    let back = client.reactivate_link().code(code).send().await?;
    assert_eq!(back.state, types::LinkState::Active);
    assert!(back.reactivated_at.is_some());

    let page: types::HistoryPage = client.list_link_events().code(code).send().await?.into_inner();
    let events: Vec<_> = page.items.iter().map(|item| item.event).collect();
    use types::LinkEventKind::{Created, Deleted, Edited, Reactivated};
    assert_eq!(events, [Reactivated, Deleted, Edited, Created]);
    assert!(page.next_cursor.is_none());
    Ok(())
}

async fn problems(client: &Client) {
    let claim = types::Claim::builder().url("http://localhost/progenitor");
    let problem = refused(client.claim_link().body(claim).send().await, 422, ProblemCode::ValidationFailed);
    let wrong: Vec<_> = problem.errors.iter().map(|error| (error.pointer.as_str(), error.code.as_str())).collect();
    assert_eq!(wrong, [("/url", "internal-name")]);

    refused(client.get_link().code("missing").send().await, 404, ProblemCode::NotFound);
    refused(client_for("sgn_wrong").list_links().send().await, 401, ProblemCode::Unauthenticated);
}

async fn keys(client: &Client) -> Result<(), Error<types::Problem>> {
    let owner = ME.parse::<types::NewApiKeyOwner>().expect("an owner");
    let body = types::NewApiKey::builder().name(ME).owner(owner).scopes(vec![types::Scope::LinksRead]);
    let answer = client.create_key().body(body).send().await?;
    assert_eq!(answer.status(), 201);
    let issued: types::IssuedKey = answer.into_inner();
    assert!(issued.key.starts_with("sgn_"));
    assert_eq!(issued.scopes, [types::Scope::LinksRead]);
    let limited = client_for(&issued.key);
    assert!(limited.list_links().send().await?.items.is_empty());
    let claim = types::Claim::builder().url("https://example.com/");
    refused(limited.claim_link().body(claim).send().await, 403, ProblemCode::Forbidden);

    assert!(client.get_key().id(issued.id.as_str()).send().await?.revoked_at.is_none());
    assert_eq!(client.revoke_key().id(issued.id.as_str()).send().await?.status(), 204);
    assert!(client.get_key().id(issued.id.as_str()).send().await?.revoked_at.is_some());
    refused(limited.list_links().send().await, 401, ProblemCode::Unauthenticated);
    Ok(())
}

async fn blocks(client: &Client) -> Result<(), Error<types::Problem>> {
    let body =
        || types::NewBlock::builder().kind(types::BlockKind::Host).value(format!("{ME}.example")).reason("A test.");
    let block = client.create_block().body(body()).send().await?;
    assert_eq!(block.status(), 201);
    assert!(block.lifted_at.is_none());
    let again = client.create_block().body(body()).send().await?;
    assert_eq!((again.status().as_u16(), again.id), (200, block.id));
    let claim = types::Claim::builder().url(format!("https://www.{ME}.example/"));
    refused(client.claim_link().body(claim).send().await, 422, ProblemCode::ValidationFailed);

    assert_eq!(client.lift_block().id(block.id).send().await?.status(), 204);
    let page = client.list_blocks().state(types::BlockState::All).send().await?;
    assert!(page.items.iter().any(|held| held.id == block.id && held.lifted_at.is_some()));
    Ok(())
}

async fn walk() -> Result<(), Error<types::Problem>> {
    let client = client_for(&env::var("SIGNPOST_ADMIN_KEY").expect("SIGNPOST_ADMIN_KEY is set"));
    let code = claims(&client).await?;
    batch(&client).await?;
    pages(&client, &code).await?;
    changes(&client, &code).await?;
    problems(&client).await;
    keys(&client).await?;
    blocks(&client).await
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be built");
    if let Err(error) = runtime.block_on(walk()) {
        panic!("{error:?}");
    }
}
