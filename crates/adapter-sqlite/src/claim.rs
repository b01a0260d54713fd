//! The claim: the domain's own rule, run inside a transaction in which no other connection writes.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicU32, Ordering},
};

use diesel::{
    AppearsOnTable, QueryResult,
    dsl::{exists, select},
    expression::ValidGrouping,
    prelude::*,
    query_builder::{AstPass, QueryFragment, QueryId},
    result::Error,
    sql_types::Bool,
    sqlite::Sqlite,
};
use domain::{
    address::{Address, DomainId},
    history::{EventKind, LinkEvent},
    idempotency::IdempotentRequest,
    lifecycle::{self, Candidate, Claim, Naming},
    link::Link,
    ports::{Claims, RepositoryError},
};

use crate::{
    error::NEVER_REPLACED,
    idempotency,
    rows::LinkRow,
    schema::{links, short_domains},
    statements::{add_event, at, by_address, update},
    writer::Undo,
};

/// The condition of the partial index. It is spelled as in the index, or SQLite would not use the index. It is an
/// expression type of its own: a statement with a fragment of `sql` is prepared again for each claim, which costs more
/// than running it.
#[derive(Clone, Copy, QueryId, ValidGrouping)]
struct IsDeduplicated;

impl Expression for IsDeduplicated {
    type SqlType = Bool;
}

impl AppearsOnTable<links::table> for IsDeduplicated {}

impl QueryFragment<Sqlite> for IsDeduplicated {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql("deduplicated = 1");
        Ok(())
    }
}

/// The existing link that a claim finds, as [`lifecycle::claim`] defines it.
fn met_by(connection: &mut SqliteConnection, candidate: &Candidate) -> QueryResult<Option<Link>> {
    let wanted = &candidate.link;
    match candidate.naming {
        Naming::Separate => Ok(None),
        Naming::Alias => by_address(connection, &wanted.address()),
        Naming::Shared => {
            let key = wanted.dedup_key();
            let query = links::table
                .filter(links::owner_id.eq(wanted.owner.as_str()))
                .filter(links::dedup_key.eq(key.as_bytes().as_slice()))
                .filter(links::domain_id.eq(i16::from(wanted.domain)))
                .filter(IsDeduplicated)
                .select(LinkRow::as_select());
            query.get_result(connection).optional()?.map(LinkRow::into_link).transpose()
        }
    }
}

/// Number of claims in a row that changed something. When there are many, as in an import, nearly all claims change
/// something. Asking a reader first would only add a wait for one more thread, so the writer looks by itself.
#[derive(Debug, Default)]
pub(crate) struct NewInARow(AtomicU32);

impl NewInARow {
    const MANY: u32 = 16;

    pub(crate) fn are_many(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= Self::MANY
    }

    /// Counts an outcome. A claim that changes nothing resets the count. So does a failed write, because a reader may
    /// still answer then.
    pub(crate) fn note(&self, outcome: &Result<Claims, RepositoryError>) {
        let is_new = |claim: &Claim| match claim {
            Claim::Created(_) | Claim::Reactivated(_) => true,
            Claim::Existing(_) | Claim::AliasTaken => false,
        };
        match outcome {
            Ok(Claims::Settled(claims)) if claims.iter().all(is_new) => {
                // Concurrent increments may be lost: the count is an estimate.
                self.0.store(self.0.load(Ordering::Relaxed).saturating_add(1), Ordering::Relaxed);
            }
            Ok(Claims::Settled(_)) | Err(_) => self.0.store(0, Ordering::Relaxed),
            Ok(Claims::CodeCollision | Claims::UnknownDomain | Claims::Repeated(_)) => {}
        }
    }
}

/// The claim, if settling it writes nothing.
pub(crate) fn unchanged_by(connection: &mut SqliteConnection, candidate: &Candidate) -> QueryResult<Option<Claim>> {
    let met = met_by(connection, candidate)?;
    Ok(match lifecycle::claim(met.as_ref(), candidate) {
        settled @ (Claim::Existing(_) | Claim::AliasTaken) => Some(settled),
        Claim::Created(_) | Claim::Reactivated(_) => None,
    })
}

/// What a claim is expected to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guess {
    Nothing,
    /// No link. The new one is inserted without a lookup; if that is refused, the lookup follows.
    New,
}

/// Settles all claims or none.
pub(crate) fn settle_all(
    connection: &mut SqliteConnection,
    candidates: &[Candidate],
    once: Option<&IdempotentRequest>,
    guess: Guess,
) -> Result<Claims, Undo<Claims>> {
    if let Some(request) = once
        && let Some(before) = idempotency::known_answer(connection, request)?
    {
        return Ok(Claims::Repeated(before));
    }
    let domains: BTreeSet<_> = candidates.iter().map(|candidate| candidate.link.domain).collect();
    for domain in domains.into_iter().filter(|domain| !domain.is_default()) {
        if !exists_domain(connection, domain)? {
            return Err(Undo::Answer(Claims::UnknownDomain));
        }
    }
    let mut claims = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        claims.push(settle(connection, candidate, guess)?);
    }
    if let Some(request) = once {
        idempotency::keep(connection, request, &request.answered_by(claims.clone()))?;
    }
    Ok(Claims::Settled(claims))
}

fn settle(connection: &mut SqliteConnection, candidate: &Candidate, guess: Guess) -> Result<Claim, Undo<Claims>> {
    let unseen = lifecycle::claim(None, candidate);
    let claim = match &unseen {
        Claim::Created(link) if guess == Guess::New && inserted(connection, link)? => unseen,
        _ => settle_what_is_met(connection, candidate)?,
    };
    let (link, kind) = match &claim {
        Claim::Existing(_) | Claim::AliasTaken => return Ok(claim),
        Claim::Created(link) => (link, EventKind::Created),
        Claim::Reactivated(link) => (link, EventKind::Reactivated),
    };
    let event = LinkEvent { kind, generation: link.generation, provenance: candidate.provenance.clone() };
    add_event(connection, link, &event).map_err(Undo::Half)?;
    Ok(claim)
}

fn settle_what_is_met(connection: &mut SqliteConnection, candidate: &Candidate) -> Result<Claim, Undo<Claims>> {
    let met = met_by(connection, candidate)?;
    let claim = lifecycle::claim(met.as_ref(), candidate);
    match &claim {
        Claim::Existing(_) | Claim::AliasTaken => {}
        Claim::Created(link) => insert(connection, link)?,
        Claim::Reactivated(link) => update(connection, link)?,
    }
    Ok(claim)
}

/// Inserts the link. Returns `false` if an existing link is in the way. Any other failure is an error: it may have
/// ended the transaction, in which nothing may be retried then.
fn inserted(connection: &mut SqliteConnection, link: &Link) -> QueryResult<bool> {
    match diesel::insert_into(links::table).values(LinkRow::from(link)).execute(connection) {
        Ok(_) => Ok(true),
        Err(Error::DatabaseError(_, told)) if told.message().starts_with(NEVER_REPLACED) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Inserts the link. A code is taken once in many millions of claims, so that is checked only after a refusal. If the
/// check itself fails, the error of the insert is returned: it says more.
fn insert(connection: &mut SqliteConnection, link: &Link) -> Result<(), Undo<Claims>> {
    let Err(refused) = diesel::insert_into(links::table).values(LinkRow::from(link)).execute(connection) else {
        return Ok(());
    };
    match refused {
        Error::DatabaseError(..) if is_taken(connection, &link.address()).is_ok_and(|taken| taken) => {
            Err(Undo::Answer(Claims::CodeCollision))
        }
        error => Err(error.into()),
    }
}

fn exists_domain(connection: &mut SqliteConnection, id: DomainId) -> QueryResult<bool> {
    select(exists(short_domains::table.find(i16::from(id)))).get_result(connection)
}

fn is_taken(connection: &mut SqliteConnection, address: &Address) -> QueryResult<bool> {
    select(exists(at!(address).select(links::id))).get_result(connection)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use diesel::{connection::InstrumentationEvent, sql_query, sql_types::Text};
    use domain::{
        actor::Actor,
        behaviour::Behaviour,
        history::Provenance,
        link::{Generation, LinkState, Owner, Tags},
        ports::RepositoryErrorKind,
        target::{Target, TargetPolicy},
        time::Timestamp,
    };
    use tempfile::TempDir;
    use uuid::Uuid;

    use super::*;
    use crate::SqliteFile;

    fn candidate(number: u64, naming: Naming) -> Candidate {
        let at = Timestamp::from_unix_micros(1).expect("in range");
        let target = Target::parse(&format!("https://example.com/{number}"), &TargetPolicy::default()).expect("valid");
        let link = Link {
            id: Uuid::from_u128(number.into()),
            domain: DomainId::DEFAULT,
            code: format!("code-{number}").parse().expect("valid"),
            owner: Owner::default(),
            behaviour: Behaviour::to(target),
            deduplicated: naming == Naming::Shared,
            title: None,
            tags: Tags::default(),
            state: LinkState::Active,
            generation: Generation::FIRST,
            created_at: at,
            updated_at: at,
            reactivated_at: None,
        };
        let provenance = Provenance { actor: Actor::System, request_id: "r".parse().expect("valid"), at };
        Candidate { link, naming, provenance }
    }

    fn fresh() -> (TempDir, SqliteConnection) {
        let folder = tempfile::tempdir().expect("a folder");
        let file = SqliteFile::new(folder.path().join("links.db"));
        file.migrate().expect("a new file");
        let connection = file.connect().expect("a file");
        (folder, connection)
    }

    /// Preparing a statement costs more than running it.
    #[test]
    fn every_statement_of_a_claim_is_prepared_once_and_finds_its_rows_through_an_index() {
        #[derive(QueryableByName)]
        struct Step {
            #[diesel(sql_type = Text)]
            detail: String,
        }
        let (_folder, mut connection) = fresh();
        let (run, kept) = (Arc::new(Mutex::new(0)), Arc::new(Mutex::new(Vec::new())));
        let (counted, noted) = (run.clone(), kept.clone());
        connection.set_instrumentation(move |event: InstrumentationEvent<'_>| match event {
            InstrumentationEvent::StartQuery { .. } => *counted.lock().expect("no panic") += 1,
            InstrumentationEvent::CacheQuery { sql, .. } => noted.lock().expect("no panic").push(sql.to_owned()),
            _ => {}
        });
        for number in 0..3 {
            let settled = settle(&mut connection, &candidate(number, Naming::Shared), Guess::Nothing);
            assert!(matches!(settled, Ok(Claim::Created(_))));
        }
        let statements = std::mem::take(&mut *kept.lock().expect("no panic"));
        assert_eq!(*run.lock().expect("no panic"), 3 * statements.len(), "{statements:?}");
        let limited = statements.iter().find(|sql| sql.contains("LIMIT"));
        assert_eq!(limited, None, "SQLite prepares it anew for each limit that is bound");
        for looking in statements.iter().filter(|sql| sql.starts_with("SELECT")) {
            let plan: Vec<Step> =
                sql_query(format!("EXPLAIN QUERY PLAN {looking}")).load(&mut connection).expect("SQL");
            assert!(plan.iter().all(|step| step.detail.contains("USING INDEX links_dedup_key")), "{looking}");
        }
    }

    #[test]
    fn a_taken_code_is_reported_and_nothing_is_written() {
        let (_folder, mut connection) = fresh();
        let both = [Guess::Nothing, Guess::New];
        for (naming, guess) in [Naming::Shared, Naming::Separate].into_iter().flat_map(|n| both.map(|g| (n, g))) {
            let first = candidate(1, Naming::Separate);
            let second = candidate(2, naming);
            let taken = Candidate { link: Link { code: first.link.code.clone(), ..second.link }, ..second };
            connection.test_transaction::<_, Error, _>(|connection| {
                assert!(matches!(settle(connection, &first, guess), Ok(Claim::Created(_))));
                let settled = settle(connection, &taken, guess);
                assert!(matches!(settled, Err(Undo::Answer(Claims::CodeCollision))));
                assert_eq!(links::table.count().get_result(connection), Ok(1));
                Ok(())
            });
        }
    }

    #[test]
    fn a_wrong_guess_changes_nothing() {
        let (_folder, mut connection) = fresh();
        let shared = |number: u64, code: &str| {
            let candidate = candidate(number, Naming::Shared);
            Candidate { link: Link { code: code.parse().expect("valid"), ..candidate.link }, ..candidate }
        };
        let first = shared(1, "first");
        assert!(matches!(settle(&mut connection, &first, Guess::New), Ok(Claim::Created(_))));
        let again = Candidate { link: Link { id: Uuid::from_u128(9), ..shared(1, "again").link }, ..first.clone() };
        let settled = settle(&mut connection, &again, Guess::New).ok();
        assert_eq!(settled, Some(Claim::Existing(first.link.clone())));
        let gone = lifecycle::delete(&first.link, Timestamp::from_unix_micros(2).expect("in range"));
        let lifecycle::Step::Changed(gone) = gone else { panic!("it is active") };
        update(&mut connection, &gone.after).expect("it is there");
        let back = settle(&mut connection, &again, Guess::New);
        assert!(matches!(back, Ok(Claim::Reactivated(link)) if link.code == first.link.code));
        let alias = Candidate { naming: Naming::Alias, ..shared(3, "first") };
        assert_eq!(settle(&mut connection, &alias, Guess::New).ok(), Some(Claim::AliasTaken));
        assert_eq!(links::table.count().get_result(&mut connection), Ok(1));
    }

    /// A defect must not be taken for a code collision.
    #[test]
    fn a_link_that_is_refused_for_another_reason_is_an_error() {
        let (_folder, mut connection) = fresh();
        let (first, second) = (candidate(1, Naming::Separate), candidate(2, Naming::Separate));
        let same_id = Candidate { link: Link { id: first.link.id, ..second.link }, ..second };
        assert!(matches!(settle(&mut connection, &first, Guess::Nothing), Ok(Claim::Created(_))));
        for guess in [Guess::Nothing, Guess::New] {
            let settled = settle(&mut connection, &same_id, guess);
            assert!(matches!(settled, Err(Undo::Error(Error::DatabaseError(..)))), "{guess:?}");
        }
    }

    #[test]
    fn claims_skip_the_readers_while_all_are_new_and_the_writer_succeeds() {
        let settled = |claim| Ok(Claims::Settled(vec![claim]));
        let new = || settled(Claim::Created(candidate(1, Naming::Shared).link));
        let row = NewInARow::default();
        for _ in 0..NewInARow::MANY {
            assert!(!row.are_many());
            row.note(&new());
        }
        assert!(row.are_many());
        let ends = [
            settled(Claim::Existing(candidate(1, Naming::Shared).link)),
            settled(Claim::AliasTaken),
            Err(RepositoryError::new(RepositoryErrorKind::Unavailable, "claiming")),
        ];
        for end in ends {
            row.note(&end);
            assert!(!row.are_many());
            (0..NewInARow::MANY).for_each(|_| row.note(&new()));
            assert!(row.are_many());
        }
    }
}
