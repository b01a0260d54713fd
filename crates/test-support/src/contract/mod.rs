//! The contract: one case for each promise of the ports, run over every store.
//!
//! To test a store, write a function that makes a fresh, empty one, together with everything that must live as long (a
//! directory, a database). Name the function in the store's `tests/`:
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use test_support::MemoryStore;
//! async fn fresh() -> (Arc<MemoryStore>, ()) {
//!     (Arc::default(), ())
//! }
//!
//! mod contract {
//!     test_support::contract_suite!(super::fresh);
//! }
//! # fn main() {}
//! ```
//!
//! A store that keeps links alone, without API keys and blocks, uses
//! [`link_contract_suite!`](crate::link_contract_suite) in the same way.
//!
//! Clicks have a suite of their own: [`click_contract_suite!`](crate::click_contract_suite).
//!
//! To add a case, write it as a `pub async fn` in the file of its theme. Its name is a sentence. List the name in
//! the macro of its suite.

use std::{pin::Pin, sync::Arc};

use domain::ports::{
    ApiKeyRepository, BlockRepository, ClickRepository, IdempotencyRepository, LinkRepository, LinkResolver, Ping,
    ShortDomainRepository,
};
use tokio::runtime::{Builder, Runtime};

/// Asserts that an operation was rejected for exactly this reason.
macro_rules! assert_refused {
    ($outcome:expr, $reason:pat) => {
        match $outcome {
            Err($reason) => {}
            other => panic!("expected `{}`, got {other:?}", stringify!($reason)),
        }
    };
}

pub mod api_keys;
pub mod blocks;
pub mod change;
pub mod claim;
mod click_figures;
mod click_load;
pub mod click_sequences;
mod click_subject;
pub mod clicks;
pub mod crowds;
pub mod history;
pub mod idempotency;
pub mod list;
pub mod resolve;
mod sequences;
pub mod services;
pub mod short_domains;
mod subject;

/// The seed of the randomness of every case.
const SEED: u64 = 7;

pub use click_figures::{Figure, click_figures, click_load_figures};
pub use click_subject::ClickSubject;
pub use clicks::unreadable_days_begin_anew;
pub use sequences::random_sequences_agree;
pub use subject::{LinkDraft, Subject, a_link};

/// All ports of a store of links.
pub trait LinkStore: LinkRepository + LinkResolver + IdempotencyRepository {}

impl<T: LinkRepository + LinkResolver + IdempotencyRepository> LinkStore for T {}

/// All ports of a full store.
pub trait Store: LinkStore + ApiKeyRepository + BlockRepository + ShortDomainRepository + Ping {}

impl<T: LinkStore + ApiKeyRepository + BlockRepository + ShortDomainRepository + Ping> Store for T {}

/// Runs one case over a fresh store, on its own runtime. The value that was made with the store is kept until both are
/// dropped.
pub fn run<S, G, Made, Done>(fresh: impl FnOnce() -> Made, case: impl FnOnce(Subject) -> Done)
where
    S: Store + 'static,
    Made: Future<Output = (Arc<S>, G)>,
    Done: Future<Output = ()> + 'static,
{
    run_over(fresh, |store| case(Subject::over(store, SEED)));
}

/// The same, over a store that keeps links alone.
pub fn run_for_links<S, G, Made, Done>(fresh: impl FnOnce() -> Made, case: impl FnOnce(Subject) -> Done)
where
    S: LinkStore + 'static,
    Made: Future<Output = (Arc<S>, G)>,
    Done: Future<Output = ()> + 'static,
{
    run_over(fresh, |store| case(Subject::over_links(store, SEED)));
}

/// The same, over a store of links and the repository of their clicks, which may be the same one.
pub fn run_for_clicks<L, C, G, Made, Done>(fresh: impl FnOnce() -> Made, case: impl FnOnce(ClickSubject) -> Done)
where
    L: LinkStore + 'static,
    C: ClickRepository + 'static,
    Made: Future<Output = (Arc<L>, Arc<C>, G)>,
    Done: Future<Output = ()> + 'static,
{
    let fresh = async || {
        let (links, clicks, guard) = fresh().await;
        (Arc::new(ClickSubject::over(links, clicks, SEED)), guard)
    };
    run_over(fresh, |subject| case(ClickSubject::clone(&subject)));
}

fn run_over<S, G, Made, Done>(fresh: impl FnOnce() -> Made, case: impl FnOnce(Arc<S>) -> Done)
where
    Made: Future<Output = (Arc<S>, G)>,
    Done: Future<Output = ()> + 'static,
{
    let runtime = runtime();
    let (store, guard) = runtime.block_on(fresh());
    let case: Pin<Box<dyn Future<Output = ()>>> = Box::pin(case(store));
    runtime.block_on(case);
    drop(runtime);
    drop(guard);
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("two threads can be started")
}

/// One `#[test]` for each case of the contract, over the stores that the given function makes: see
/// [`contract`](crate::contract).
#[macro_export]
macro_rules! contract_suite {
    ($fresh:path) => {
        $crate::contract_suite!(@links run $fresh);

        $crate::contract_suite! {
            @cases run $fresh;
            idempotency {
                a_key_creation_is_recorded_with_its_effect,
                a_repeated_key_creation_changes_nothing,
                a_key_creation_under_a_reused_key_changes_nothing,
                of_many_equal_key_creations_at_once_one_has_an_effect,
            }
            blocks {
                a_block_is_listed_as_it_was_made,
                what_is_blocked_is_blocked_once,
                of_many_blocks_of_one_subject_at_once_one_wins,
                a_lifted_block_stays_with_its_first_end,
                an_unknown_block_is_not_lifted,
                pages_of_blocks_are_walked_newest_first,
                each_change_of_blocks_leads_to_another_revision,
                a_repeated_block_is_answered_as_the_first_time,
                what_is_taken_down_is_not_followed_until_it_is_lifted,
                pages_of_the_blocks_service_say_whether_there_is_more,
            }
            short_domains {
                a_fresh_store_has_the_default_short_domain_alone,
                a_short_domain_is_read_as_it_was_added,
                a_host_is_taken_once,
                of_many_short_domains_with_one_host_at_once_one_is_added,
                settings_are_changed_in_the_generation_they_start_from,
                the_default_short_domain_has_settings_too,
                a_removed_short_domain_is_gone_and_its_number_stays_free,
                a_short_domain_with_links_is_not_removed,
                a_short_domain_with_blocks_in_force_is_not_removed,
                the_default_short_domain_is_not_removed,
                a_repeated_addition_is_answered_as_the_first_time,
                one_code_leads_elsewhere_on_each_short_domain,
                claims_share_links_within_their_short_domain,
                an_alias_is_taken_on_its_short_domain_only,
                nothing_is_claimed_on_an_unknown_short_domain,
                a_change_of_a_link_leaves_its_namesake_alone,
                lists_may_be_of_one_short_domain,
                a_key_may_be_bound_to_short_domains,
                a_block_of_a_code_is_of_one_short_domain,
                removals_and_claims_at_once_leave_no_link_without_a_short_domain,
            }
            api_keys {
                a_key_is_found_as_it_was_created,
                the_digest_is_kept_byte_for_byte,
                an_unknown_key_is_not_found,
                ids_of_keys_are_compared_letter_by_letter,
                without_keys_the_list_is_empty,
                the_newest_key_comes_first,
                a_page_of_keys_holds_no_more_than_its_limit,
                pages_of_keys_join_without_gap_or_repetition,
                revoked_and_expired_keys_are_still_found_and_listed,
                the_first_revocation_stays,
                revoking_an_unknown_key_says_so,
                revoking_changes_nothing_else,
                of_many_revocations_at_once_one_stays,
                the_last_use_is_never_moved_back,
                of_many_uses_at_once_the_latest_stays,
                a_use_is_noted_for_that_key_only,
                the_first_key_is_added_where_there_is_none,
                a_revoked_key_still_counts_as_there,
                of_many_first_keys_at_once_one_is_added,
                a_new_key_opens_what_it_was_made_for,
                a_key_with_another_secret_opens_nothing,
                an_unknown_key_opens_nothing,
                a_revoked_key_opens_nothing_from_that_moment,
                a_key_opens_nothing_from_the_very_moment_it_expires,
                two_keys_of_one_owner_live_side_by_side,
                a_use_is_worth_noting_once_a_minute,
                a_key_that_would_be_expired_at_once_is_not_made,
                a_repeated_creation_shows_the_same_secret_again,
                another_key_asked_for_in_the_same_request_is_refused,
                equal_creations_at_once_show_one_secret,
                the_first_key_is_an_admin_of_the_default_owner,
                the_service_says_where_the_next_keys_begin,
                a_key_reads_back_from_its_text_and_opens,
            }
            services {
                a_working_store_answers_a_ping,
            }
        }
    };
    (@links $run:ident $fresh:path) => {
        #[test]
        fn random_sequences_of_events_agree_with_the_pure_rules() {
            $crate::contract::random_sequences_agree($fresh);
        }

        $crate::contract_suite! {
            @cases $run $fresh;
            claim {
                claiming_nothing_creates_generation_one,
                a_new_link_is_the_candidate_in_every_field,
                every_field_may_be_as_long_as_the_rules_allow,
                the_shortest_alias_is_kept,
                an_expiry_in_the_year_9999_is_kept_to_the_microsecond,
                tags_keep_their_order_and_every_character,
                titles_keep_every_character,
                codes_are_case_sensitive,
                claiming_an_active_link_returns_it_unchanged,
                title_and_tags_of_an_existing_link_are_left_alone,
                claiming_a_deleted_link_brings_it_back,
                a_link_can_go_and_come_back_many_times,
                spellings_of_one_url_share_a_link_that_keeps_the_first_spelling,
                urls_that_may_differ_are_links_of_their_own,
                the_redirect_status_is_part_of_what_a_link_is,
                forwarding_queries_is_part_of_what_a_link_is,
                the_expiry_is_part_of_what_a_link_is_to_the_microsecond,
                another_owner_gets_a_link_of_its_own,
                a_deleted_link_does_not_come_back_for_another_owner,
                each_separate_claim_is_a_new_link,
                a_separate_link_answers_no_shared_claim,
                a_shared_link_answers_no_separate_claim,
                an_alias_of_another_owner_is_taken,
                an_alias_that_behaves_differently_is_taken,
                a_deleted_alias_stays_taken_for_others_and_for_other_behaviour,
                an_alias_in_another_spelling_of_its_url_is_the_same_link,
                an_alias_answers_no_shared_claim,
                a_known_url_under_a_new_alias_is_a_new_link,
                an_alias_may_name_a_generated_code_of_ones_own,
                an_alias_that_names_a_deleted_generated_code_brings_it_back,
                a_drawn_code_of_another_link_is_a_collision_and_changes_nothing,
                deleted_code_is_never_given_to_another_link,
                a_retargeted_link_keeps_its_code_from_others,
                a_known_url_is_found_whatever_code_was_drawn,
                two_candidates_that_draw_one_code_collide,
                a_collision_anywhere_in_a_call_undoes_all_of_it,
                after_a_collision_the_same_claims_go_through_with_another_code,
                no_candidates_settle_to_no_claims,
                claims_are_answered_in_the_order_given,
                the_second_of_two_equal_candidates_finds_the_first,
                the_second_of_two_equal_candidates_finds_what_the_first_brought_back,
                an_alias_given_twice_in_a_call_is_taken_by_the_first,
                an_alias_sees_a_code_drawn_before_it_in_the_call,
                a_taken_alias_does_not_stop_the_other_candidates,
                candidates_of_different_owners_stay_apart_in_one_call,
                two_hundred_candidates_are_settled_in_one_call,
                an_edit_of_behaviour_frees_the_url_for_a_new_link,
                a_retargeted_link_is_not_found_under_its_new_url,
                a_link_edited_back_stays_out_of_deduplication,
                a_link_edited_to_what_another_does_stands_beside_it,
                a_deleted_retargeted_link_answers_no_claim,
                a_link_that_took_over_a_freed_url_comes_back_for_it,
                a_new_title_or_tag_keeps_a_link_in_deduplication,
                an_edited_alias_is_claimed_by_what_it_does_now,
                a_generated_code_edited_elsewhere_is_claimed_as_alias_by_what_it_does_now,
            }
            crowds {
                of_many_claims_of_one_url_at_once_one_creates,
                of_many_claims_of_a_deleted_link_at_once_one_brings_it_back,
                of_two_owners_who_race_for_an_alias_one_wins,
                of_many_links_that_draw_one_code_at_once_one_gets_it,
                an_alias_and_a_drawn_code_that_race_have_one_winner,
                calls_with_the_same_urls_in_opposite_orders_all_succeed,
                deletions_and_claims_at_once_tell_one_story,
                an_acknowledged_claim_is_seen_by_every_reader,
                a_dropped_call_happened_completely_or_not_at_all,
            }
            change {
                an_unknown_code_is_not_found,
                every_field_of_an_edit_is_stored,
                an_edit_can_clear_what_may_be_absent,
                an_edit_leaves_the_other_fields_alone,
                deleting_changes_state_and_generation_only,
                reactivating_keeps_all_but_state_and_generation,
                the_latest_deletion_and_return_count,
                an_edit_after_a_return_keeps_the_time_of_the_return,
                a_change_of_one_link_leaves_others_alone,
                a_change_of_an_unknown_link_is_missing,
                a_change_from_an_earlier_generation_is_stale,
                a_change_from_a_later_generation_is_stale,
                a_change_is_not_stored_twice,
                a_late_ghost_of_a_deletion_does_not_delete_a_link_that_came_back,
                a_late_ghost_of_a_return_does_not_bring_back_a_link_deleted_since,
                a_change_decided_before_a_claim_brought_the_link_back_is_stale,
                of_many_changes_from_one_generation_one_is_stored,
                changes_of_different_links_at_once_are_all_stored,
                an_acknowledged_change_is_seen_by_every_reader,
                a_dropped_change_happened_completely_or_not_at_all,
            }
            list {
                an_empty_store_lists_nothing,
                a_list_shows_links_as_they_are_found,
                links_are_found_by_their_ids,
                the_newest_link_comes_first,
                the_oldest_link_comes_first_if_asked_for,
                links_of_one_moment_follow_their_ids,
                a_change_does_not_move_a_link_in_the_list,
                a_page_holds_no_more_than_its_limit,
                pages_of_any_size_join_without_gap_or_repetition,
                filtered_pages_join_too,
                a_position_need_not_belong_to_a_link,
                behind_the_last_link_there_is_nothing,
                a_list_sees_every_acknowledged_change,
                a_walk_shows_every_link_once_while_others_are_claimed,
                a_walk_shows_every_link_once_while_it_changes,
                a_walk_shows_every_link_once_in_the_middle_of_traffic,
                an_owner_sees_only_its_own_links,
                access_to_all_shows_everybodys_links,
                a_filter_does_not_widen_access,
                without_a_filter_deleted_links_are_listed_too,
                the_state_filter_tells_active_from_deleted,
                expired_links_count_as_active,
                text_is_found_in_code_target_and_title_only,
                text_is_found_whatever_the_case_of_ascii_letters,
                text_does_not_reach_from_one_field_into_the_next,
                text_keeps_the_case_of_letters_beyond_ascii,
                a_percent_sign_in_text_stands_for_itself,
                an_underscore_in_text_stands_for_itself,
                quotes_and_backslashes_in_text_stand_for_themselves,
                a_tag_matches_whole_and_letter_by_letter,
                a_tag_may_have_any_character,
                a_target_matches_byte_for_byte,
                a_retargeted_link_is_listed_under_its_new_target,
                the_bounds_of_creation_times_are_exclusive,
                all_conditions_must_hold,
                filters_select_what_the_pure_filter_matches,
            }
            history {
                each_change_leaves_one_entry_of_its_generation,
                an_entry_says_who_when_and_in_which_request,
                a_claim_that_brings_a_link_back_is_told_in_its_own_name,
                earlier_entries_never_change,
                histories_of_links_are_apart,
                each_link_of_one_call_has_its_own_entry,
                a_claim_that_finds_an_active_link_leaves_no_entry,
                a_taken_alias_leaves_no_entry,
                a_stale_or_missing_change_leaves_no_entry,
                a_collision_leaves_no_entry,
                an_unknown_code_has_no_history,
                the_newest_entry_comes_first,
                the_order_follows_generations_where_the_clock_went_back,
                a_page_of_history_holds_no_more_than_its_limit,
                history_continues_below_a_generation,
                changes_at_once_leave_one_entry_for_each_generation,
            }
            resolve {
                an_unknown_code_resolves_to_nothing,
                a_resolution_says_what_the_link_does,
                every_kind_of_link_resolves,
                codes_resolve_letter_by_letter,
                a_resolution_follows_every_change_at_once,
                a_code_that_resolved_to_nothing_resolves_once_it_is_claimed,
                a_link_brought_back_by_a_claim_resolves_as_active,
                an_expired_link_still_resolves,
                a_reader_is_never_behind_what_was_acknowledged,
                an_active_link_redirects_with_its_status_to_its_target,
                a_query_is_forwarded_where_the_link_says_so,
                an_unknown_code_leads_nowhere,
                a_deleted_link_is_gone_until_it_comes_back,
                a_link_is_gone_from_the_very_moment_it_expires,
                a_deleted_link_is_told_as_deleted_even_where_it_is_expired,
                an_expired_link_redirects_again_once_its_expiry_is_cleared,
                no_answer_may_be_reused_past_the_expiry,
                a_retargeted_link_leads_to_its_new_target_at_once,
                a_preview_shows_a_link_without_following_it,
            }
            idempotency {
                nothing_is_recalled_of_a_new_request,
                a_recorded_answer_is_recalled,
                the_answer_recorded_first_stays,
                a_key_used_for_another_request_is_told,
                callers_may_use_the_same_key_for_different_things,
                keys_are_compared_letter_by_letter,
                an_answer_is_kept_for_24_hours,
                a_key_is_free_for_another_request_after_24_hours,
                a_new_answer_under_an_old_key_is_kept_for_24_hours_again,
                answers_up_to_a_moment_are_forgotten_and_counted,
                more_old_answers_than_one_step_deletes_are_forgotten_in_one_call,
                forgetting_an_answer_does_not_undo_its_effect,
                of_many_answers_recorded_at_once_one_stays,
                a_claim_is_recorded_with_its_effect,
                a_repeated_claim_changes_nothing,
                a_repeated_claim_gives_the_link_as_it_was,
                a_claim_that_finds_an_active_link_is_recorded_too,
                a_refused_alias_is_recorded_too,
                a_claim_under_a_reused_key_changes_nothing,
                a_repeated_claim_is_told_before_a_collision,
                a_collision_leaves_no_record,
                a_claim_has_its_effect_anew_after_24_hours,
                of_many_equal_claims_at_once_one_has_an_effect,
                of_many_equal_claims_at_once_after_24_hours_one_has_an_effect,
                of_two_requests_that_race_under_one_key_one_has_an_effect,
                a_dropped_claim_can_be_repeated_with_one_effect,
                a_change_is_recorded_with_its_effect,
                a_repeated_change_changes_nothing,
                a_repetition_is_told_even_where_the_change_would_go_through,
                a_change_under_a_reused_key_changes_nothing,
                a_stale_or_missing_change_leaves_no_record,
                of_many_equal_changes_at_once_one_has_an_effect,
                a_claim_can_be_repeated_after_its_expiry,
                a_claim_repeated_at_the_service_gets_the_same_answer,
                another_body_under_the_same_key_is_refused_at_the_service,
                an_answer_of_another_verb_is_no_answer,
                a_repeated_reactivation_does_not_undo_a_later_deletion,
                a_reactivation_without_effect_is_recorded_too,
                a_failed_change_can_be_repeated_once_it_may_succeed,
                a_claim_that_found_no_code_can_be_repeated,
                a_repetition_is_answered_although_its_codes_collide,
                equal_requests_at_once_get_equal_answers,
                equal_requests_of_two_callers_are_two_requests,
            }
            services {
                a_claim_belongs_to_its_caller,
                a_claim_tells_what_became_of_each_request,
                claiming_again_finds_and_claiming_after_deletion_brings_back,
                force_new_gives_a_link_of_its_own,
                an_expiry_that_is_not_in_the_future_cannot_be_claimed,
                an_expired_link_cannot_be_claimed_again_by_accident,
                a_collision_is_hidden_and_counted,
                six_collisions_end_a_claim,
                five_collisions_do_not_end_a_claim,
                a_tiny_code_space_is_used_up_and_never_given_out_again,
                an_alias_needs_no_free_code,
                claims_at_once_in_a_crowded_code_space_share_no_code,
                a_link_of_another_owner_is_not_found_by_any_verb,
                an_unknown_code_is_not_found_by_any_verb,
                an_admin_sees_and_changes_links_of_every_owner,
                an_admin_claims_for_its_own_owner,
                an_owner_finds_its_own_link_deleted_or_not,
                an_edit_is_stored_and_told,
                an_edit_that_changes_nothing_writes_nothing,
                a_deleted_link_cannot_be_edited,
                an_edit_cannot_set_an_expiry_that_is_not_in_the_future,
                an_expired_link_can_still_be_edited_and_deleted,
                deleting_twice_is_deleting_once,
                reactivating_an_active_link_changes_nothing,
                the_whole_life_of_a_link_keeps_its_code_and_id,
                a_change_goes_ahead_in_the_expected_generation,
                a_change_of_another_generation_is_stale,
                an_empty_precondition_never_holds,
                a_precondition_counts_even_where_nothing_would_change,
                of_many_edits_guarded_by_one_generation_one_succeeds,
                edits_at_once_without_a_precondition_all_succeed,
                deletions_at_once_delete_once,
                a_page_of_links_says_where_the_next_one_begins,
                a_page_that_ends_with_the_last_link_names_no_next_one,
                a_page_of_history_says_where_the_next_one_begins,
            }
        }
    };
    (@cases $run:ident $fresh:path; $($theme:ident { $($case:ident,)* })*) => {$($(
        #[test]
        fn $case() {
            $crate::contract::$run($fresh, $crate::contract::$theme::$case);
        }
    )*)*};
}

/// One `#[test]` for each case of the contract that is about links, over the stores that the given function makes. Each
/// is a [`LinkStore`](crate::contract::LinkStore): a repository of links and of idempotency records, and a resolver.
///
/// ```no_run
/// # use std::sync::Arc;
/// # use test_support::MemoryStore;
/// // A fresh, empty store, and what must live as long: a directory, a database.
/// async fn fresh() -> (Arc<MemoryStore>, ()) {
///     (Arc::default(), ())
/// }
///
/// mod contract {
///     test_support::link_contract_suite!(super::fresh);
/// }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! link_contract_suite {
    ($fresh:path) => {
        $crate::contract_suite!(@links run_for_links $fresh);
    };
}

/// One `#[test]` for each case of the contract that is about clicks, over what the given function makes: a store of
/// links, the repository of their clicks, which may be the same one, and what must live as long.
///
/// ```no_run
/// # use std::sync::Arc;
/// # use test_support::MemoryStore;
/// async fn fresh() -> (Arc<MemoryStore>, Arc<MemoryStore>, ()) {
///     let store = Arc::<MemoryStore>::default();
///     (store.clone(), store, ())
/// }
///
/// mod clicks {
///     test_support::click_contract_suite!(super::fresh);
/// }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! click_contract_suite {
    ($fresh:path) => {
        $crate::contract_suite! {
            @cases run_for_clicks $fresh;
            clicks {
                of_a_new_stream_nothing_is_counted,
                a_click_is_in_every_count,
                people_and_bots_are_counted_apart,
                a_link_that_only_bots_follow_has_no_people,
                a_batch_that_is_stored_again_is_counted_once,
                a_batch_from_another_number_changes_nothing_and_tells_the_number,
                streams_are_counted_apart,
                a_batch_without_clicks_moves_the_number,
                clicks_of_missing_links_are_left_out_and_told,
                clicks_of_a_deleted_link_are_counted,
                a_forgotten_stream_is_counted_up_to_nothing,
                five_thousand_clicks_are_counted_in_one_batch,
                two_shippers_of_one_stream_count_it_once,
                shippers_of_the_same_links_at_once_add_up,
                a_dropped_batch_happened_completely_or_not_at_all,
                values_beyond_the_limit_count_as_other,
                stored_values_are_kept_before_new_ones_over_many_batches,
                one_batch_with_too_many_values_keeps_the_limit,
                shippers_that_reach_the_limit_at_once_keep_it,
                values_are_told_apart_byte_by_byte,
                breakdowns_agree_with_days_wherever_a_range_begins_and_ends,
                hours_and_days_are_those_of_the_range_in_order,
                clicks_of_another_owner_are_not_in_those_of_an_owner,
                clicks_of_some_links_are_added_up,
                links_without_a_click_have_no_totals,
                late_clicks_count_on_their_day,
                the_last_click_is_the_latest_whatever_the_order,
                a_visitor_counts_once_a_day_over_all_batches,
                visitors_of_shippers_at_once_are_all_counted,
                every_caller_gets_the_first_salt_of_a_day,
                old_salts_are_deleted_and_no_others,
                forgotten_hours_stay_in_days_and_totals,
                many_hours_are_forgotten,
                an_erased_link_has_no_counts_and_its_owner_keeps_them,
                the_most_clicked_links_come_first,
                visits_that_led_nowhere_are_added_up_by_day_short_domain_and_reason,
            }
            click_sequences {
                random_batches_are_counted_like_their_clicks,
            }
        }
    };
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_case_that_is_written_is_in_the_suite() {
        let suite = include_str!("mod.rs");
        let themes = [
            include_str!("api_keys.rs"),
            include_str!("blocks.rs"),
            include_str!("change.rs"),
            include_str!("claim.rs"),
            include_str!("click_sequences.rs"),
            include_str!("clicks.rs"),
            include_str!("history.rs"),
            include_str!("idempotency.rs"),
            include_str!("list.rs"),
            include_str!("resolve.rs"),
            include_str!("services.rs"),
            include_str!("short_domains.rs"),
        ];
        let written = themes.iter().flat_map(|theme| theme.split("\npub async fn ").skip(1));
        // What takes more than a subject is called by the tests of each store.
        let cases = written.filter_map(|case| case.split_once(')')?.0.split_once('('));
        let cases = cases.filter(|(_, parameters)| !parameters.contains(','));
        let names: Vec<_> = cases.map(|(name, _)| name).collect();
        assert!(names.len() >= 105, "{}", names.len());
        for name in names {
            assert!(suite.contains(&format!("\n                {name},\n")), "{name}");
        }
    }
}
